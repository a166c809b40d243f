from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from agencybus.errors import KeyringError
from agencybus.keyring import Passphrase
from agencybus.keyring.passphrase import FILE_BYTES


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def code_of(path: Path) -> str:
    with pytest.raises(KeyringError) as error:
        Passphrase.from_file(path)
    return error.value.code


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"secret", b"secret"),
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (b"secret\n\n", b"secret\n"),
        (b" secret ", b" secret "),
        (b"\x00\xff", b"\x00\xff"),
    ],
)
def test_a_passphrase_is_the_file_without_one_newline(tmp_path: Path, data: bytes, found: bytes) -> None:
    assert Passphrase.from_file(write(tmp_path / "pass", data)).reveal() == found


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n"])
def test_an_empty_passphrase_is_none(tmp_path: Path, data: bytes) -> None:
    assert code_of(write(tmp_path / "pass", data)) == "passphrase-missing"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_passphrase_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    assert code_of(write(tmp_path / "pass", b"secret", mode)) == "keyring-permissions"


def test_a_passphrase_may_lie_in_a_folder_that_others_may_list(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert Passphrase.from_file(write(tmp_path / "pass", b"secret", 0o400)).reveal() == b"secret"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert code_of(tmp_path / "pass") == "passphrase-missing"


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    assert code_of(write(tmp_path / "pass", b"x" * (FILE_BYTES + 1))) == "keyring-invalid"


ASK = """
from agencybus.errors import KeyringError
from agencybus.keyring import Passphrase
try:
    print("got", Passphrase.prompt("question? ", twice=TWICE).reveal().hex())
except KeyringError as error:
    print("code", error.code)
"""


TAKE_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"


def ask_on_a_terminal(*answers: str, twice: bool) -> str:
    """What a child with a terminal of its own prints when a person types the answers."""
    ours, theirs = pty.openpty()
    code = TAKE_TERMINAL + ASK.replace("TWICE", str(twice))
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ):
        os.close(theirs)
        for answer, question in zip(answers, (b"question? ", b"Once more: "), strict=False):
            while question not in shown:
                shown += os.read(ours, 1024)
            time.sleep(0.1)  # getpass turns the echo off before it asks, and empties what was typed ahead
            os.write(ours, answer.encode() + b"\n")
        with suppress(OSError):  # the terminal closes with the child
            while True:
                shown += os.read(ours, 1024)
    os.close(ours)
    return shown.decode()


def test_a_person_is_asked_without_echo() -> None:
    shown = ask_on_a_terminal("sésame", twice=False)
    assert f"got {'sésame'.encode().hex()}" in shown
    assert "sésame" not in shown


@pytest.mark.parametrize(("second", "outcome"), [("sesame", "got"), ("other", "code passphrase-missing")])
def test_a_new_passphrase_is_typed_twice(second: str, outcome: str) -> None:
    assert outcome in ask_on_a_terminal("sesame", second, twice=True)


def test_without_a_terminal_nobody_is_asked_and_nothing_is_read_from_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK.replace("TWICE", "False")],
        input="typed\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        start_new_session=True,
    )
    assert done.stdout.strip() == "code passphrase-missing"
    assert "typed" not in done.stderr
