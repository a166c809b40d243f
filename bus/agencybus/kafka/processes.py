"""Processes that must not outlive what they were started for, and a folder that has one owner.

Nothing here needs to run at exit, and no pid file is believed: a kernel lock says whether a folder is in use, a pipe
says whether the parent still lives.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from agencybus.errors import ConfigError
from agencybus.kafka.extras import need

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

LOCK_PATIENCE_S: Final = 1.0  # seconds for children whose parent was just killed to be gone
_GUARD: Final = "import os, signal, sys; sys.stdin.buffer.read(); os.killpg(0, signal.SIGKILL)"
_ENVIRONMENT: Final = {"LANG": "C.UTF-8", "PATH": os.defpath}  # ours may hold secrets, or options for another Java


class Family:
    """Children over one folder, which they hold locked as long as any of them lives.

    A lock belongs to the open file, and every child inherits the file. So it is free when the last process that could
    write to the folder is gone, whoever killed whom in what order.

    Args:
        folder: what is locked.
        detached: the children stay when this process ends. Otherwise a guard process waits at a pipe for this process
            to end, in whatever way, and kills their process group: it works from any thread and after `kill -9`.

    Raises:
        ConfigError: `broker-locked` if somebody else's children are there.
    """

    def __init__(self, folder: Path, *, detached: bool) -> None:
        self._psutil = need("psutil", extra="dev")
        self._lock = _locked(folder)
        self._guard: subprocess.Popen[bytes] | None = None
        if not detached:
            # Its own group: Ctrl-C at the terminal reaches this process only, which then ends them in order.
            self._guard = subprocess.Popen(  # noqa: S603  no word of it comes from outside
                [sys.executable, "-I", "-S", "-c", _GUARD],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
                env=_ENVIRONMENT,
            )

    def spawn(self, command: Sequence[str], *, cwd: Path, output: Path) -> Any:
        """Start a child; returns a `psutil.Popen`. Its output replaces the file's content."""
        apart = {"process_group": self._guard.pid} if self._guard else {"start_new_session": True}
        with output.open("wb") as log:
            return self._psutil.Popen(
                list(command),
                cwd=cwd,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(self._lock,),
                **apart,
            )

    def leave(self) -> None:
        """Let go of the folder. Without `detached` this kills what still runs."""
        if self._guard:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard.wait()
        os.close(self._lock)


def end(processes: Iterable[Any], *, patience_s: float) -> None:
    """End processes: SIGTERM to all of them, SIGKILL to those that are there after `patience_s` seconds."""
    psutil = need("psutil", extra="dev")
    left = list(processes)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM if patience_s else signal.SIGKILL)
            process.send_signal(signal.SIGCONT)  # it may have been paused
    _, left = psutil.wait_procs(left, timeout=patience_s or None)
    if left:
        end(left, patience_s=0)


def _locked(folder: Path) -> int:
    """A descriptor of the folder's lock file, locked by us."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            if time.monotonic() > deadline:
                os.close(lock)
                raise ConfigError("broker-locked", "the data folder is in use", where=str(folder)) from held
            time.sleep(0.05)
        else:
            return lock
