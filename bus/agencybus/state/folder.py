"""The folder of a state: locked by one process, private to its user, made whole or not at all; faults get a code."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from agencybus.errors import StateError

_PRIMARY: Final = 0xFF  # SQLite keeps the kind of an error in the low byte, details above it
_DENIED: Final = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_LOCKED: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_UNREADABLE: Final = {  # input errors that mean "what was written is not there any more"
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def _code_of(error: sqlite3.Error) -> str:
    """The code of our registry for an error of SQLite; what is not known is corrupt: going on could lose."""
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    kind = extended & _PRIMARY
    if kind in _DENIED:
        return "state-denied"
    if kind in _LOCKED:
        return "state-locked"
    if kind == sqlite3.SQLITE_FULL or (kind == sqlite3.SQLITE_IOERR and extended not in _UNREADABLE):
        return "state-full"
    return "state-corrupt"


@contextmanager
def coded(where: Path | str) -> Iterator[None]:
    """Turn errors of SQLite into StateError. Their texts name no content.

    Raises:
        StateError: state-full, state-denied, state-locked, state-corrupt or state-misuse.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise StateError(_code_of(error), str(error), where=str(where)) from error
    except UnicodeDecodeError as error:  # a damaged schema, quoted in SQLite's own message
        raise StateError("state-corrupt", "the database is damaged", where=str(where)) from error
    except OverflowError as error:
        raise StateError("state-misuse", "a number is beyond 63 bits", where=str(where)) from error


@contextmanager
def coded_files(where: Path | str) -> Iterator[None]:
    """Turn errors of the file system, and of SQLite, into StateError.

    Raises:
        StateError: as `coded`.
    """
    try:
        with coded(where):
            yield
    except OSError as error:
        code = "state-full" if error.errno in _FULL else "state-denied"
        raise StateError(code, error.strerror or "the file system refused", where=str(where)) from error


def sync_folder(folder: Path) -> None:
    """Make names that were made or moved in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private(folder: Path) -> None:
    """Make the folder (0700) and those above it, if they are not there."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        sync_folder(folder.parent)


def lock(folder: Path) -> int:
    """Lock the folder for this process; the lock goes with the handle, so a dead process holds nothing.

    Not for network file systems: neither flock nor SQLite's shared memory can be relied on there. A forked child
    inherits the lock: worker processes must be spawned.

    Returns:
        The handle to close.

    Raises:
        StateError: state-locked; names the process that holds it.
    """
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise StateError("state-locked", f"process {holder} uses this state", where=str(folder)) from None
    with suppress(OSError):  # for the message above only: a full disk is told by what is written next
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
    return handle
