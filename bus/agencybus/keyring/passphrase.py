"""Where a passphrase comes from: a private file, or a person. Never an argument or the environment: `ps` shows them."""

from __future__ import annotations

import getpass
import warnings
from pathlib import Path
from typing import Final, NoReturn, Self

from agencybus.errors import KeyringError
from agencybus.keyring.files import read_private

FILE_BYTES: Final = 4096  # of a passphrase file


class Passphrase:
    """A passphrase that does not leak by repr, copy or pickle. Python can't wipe it; `harden_process` keeps it in."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """Take a passphrase.

        Raises:
            KeyringError: passphrase-missing: it is empty.
        """
        if not secret:
            raise KeyringError("passphrase-missing", "the passphrase is empty")
        self._secret = secret

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read it from a file that only this user can read; one newline at the end does not count.

        The folder may be readable (`/run/secrets` is): it shows the file's name, not its content.

        Raises:
            KeyringError: passphrase-missing, keyring-permissions or keyring-invalid.
        """
        data = read_private(path, limit=FILE_BYTES, missing="passphrase-missing", folder_too=False)
        return cls(data.removesuffix(b"\n").removesuffix(b"\r"))

    @classmethod
    def prompt(cls, question: str = "Passphrase of the key file: ", *, twice: bool = False) -> Self:
        """Ask on the terminal, without echo.

        Args:
            question: what to print.
            twice: for a new passphrase.

        Raises:
            KeyringError: passphrase-missing: no terminal, nothing typed, or two different ones.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", getpass.GetPassWarning)  # it would echo
                typed = getpass.getpass(question)
                if twice and getpass.getpass("Once more: ") != typed:
                    raise KeyringError("passphrase-missing", "the two are different")
        except (getpass.GetPassWarning, EOFError, OSError):
            raise KeyringError("passphrase-missing", "no terminal to ask on") from None
        return cls(typed.encode())

    def reveal(self) -> bytes:
        """The bytes, for the key derivation."""
        return self._secret

    def __repr__(self) -> str:
        return "<Passphrase …>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a passphrase is not to be copied or pickled")
