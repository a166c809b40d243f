"""Secret files: who may read them is checked before they are read; they are written whole, private, durable."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from agencybus.errors import KeyringError

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO  # what group and others may do: nothing


def read_private(path: Path, *, limit: int, missing: str, folder_too: bool = True) -> bytes:
    """Read a small secret file, if nobody else can read or replace it.

    Args:
        path: the file. A link is followed; what it leads to is what is checked.
        limit: the most bytes it may have.
        missing: the code to raise if there is no such file.
        folder_too: check its folder as well.

    Raises:
        KeyringError: `missing`, keyring-permissions, or keyring-invalid if it is too large.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe in its place must not hang us
    except FileNotFoundError:
        raise KeyringError(missing, "no such file", where=str(path)) from None
    except OSError as error:
        raise KeyringError("keyring-permissions", error.strerror or "not readable", where=str(path)) from error
    try:
        if folder_too:
            for folder in {path.absolute().parent, path.resolve().parent}:  # of the link, and of what it leads to
                _check(folder.stat(), folder)
        info = os.fstat(handle)  # of the handle, not of the name, which may mean another file by now
        if not stat.S_ISREG(info.st_mode):
            raise KeyringError(missing, "not a regular file", where=str(path))
        _check(info, path)
        with open(handle, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(data) > limit:
        raise KeyringError("keyring-invalid", f"the file is larger than {limit} bytes", where=str(path))
    return data


def _check(info: os.stat_result, path: Path) -> None:
    if info.st_mode & OTHERS:
        raise KeyringError("keyring-permissions", f"mode is {stat.S_IMODE(info.st_mode):04o}", where=str(path))
    if info.st_uid not in (0, os.geteuid()):
        raise KeyringError("keyring-permissions", f"it belongs to user {info.st_uid}", where=str(path))


def write_private(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a secret file (0600, in a folder of 0700): after a crash there is the old one or the new one, whole.

    Args:
        path: the file.
        data: its bytes.
        replace: a file that is there is replaced; else it is an error.

    Raises:
        KeyringError: keyring-exists, keyring-permissions (the folder is open to others) or keyring-unwritable.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True)
        _check(path.parent.stat(), path.parent)
        try:
            _write(new, data)
            if replace:
                new.replace(path)
            else:
                os.link(new, path)  # unlike a rename it fails if the name is taken
        finally:
            new.unlink(missing_ok=True)
        _sync(path.parent)
    except FileExistsError:
        raise KeyringError("keyring-exists", "there is a key file of this name", where=str(path)) from None
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise KeyringError("keyring-unwritable", error.strerror or "not writable", where=str(path)) from error


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as file:  # noqa: PTH123 - made with its mode, not changed to it later
        file.write(data)
        file.flush()
        os.fsync(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
