"""A consumer daemon in a process of its own, for the test federation."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

import msgspec

from agencybus import config as configuration
from agencybus.config import SubscriberConfig
from agencybus.sandbox import Sandbox
from agencybus_consumers import config, status
from agencybus_consumers.board import DaemonStatus, RouteStatus
from agencybus_consumers.daemon import Running

FGR = "mx.fgr/watch-floor"
_TOML = """\
endpoint = "{c.endpoint}"
state = "{state}"
start = {start}
wait-seconds = 2
stop-seconds = {stop_seconds}

[keyring]
file = "{c.keyring.file}"
passphrase-file = "{c.keyring.passphrase_file}"

[directory]
root = "{c.directory.root}"
url = "{c.directory.url}"
cache = "{c.directory.cache}"
refresh-seconds = 5

[kafka]
bootstrap = "{c.kafka.bootstrap}"
ca = "{c.kafka.ca}"
cert = "{c.kafka.cert}"
key = "{c.kafka.key}"

[metrics]
listen = "127.0.0.1:0"
"""
# Keeps what it reads in the file of its first argument, then, after so many seconds, answers.
KEEPER = """
import json, sys, time
with open(sys.argv[1], "a", buffering=1) as kept:
    for line in sys.stdin:
        kept.write(line)
        time.sleep(float(sys.argv[2]))
        print(json.loads(line)["event"]["event_id"], flush=True)
"""


def jsonl(name: str, path: Path, *, ceiling: str = "MEX RESERVADA//SIGILO", more: str = "") -> str:
    """A route into a file."""
    table = f'sink = {{ kind = "jsonl", path = "{path}" }}'
    return f'\n[[routes]]\nname = "{name}"\nceiling = "{ceiling}"\n{more}\n{table}\n'


def program(name: str, *command: str, ceiling: str = "MEX RESERVADA//SIGILO", more: str = "") -> str:
    """A route into a program."""
    words = msgspec.json.encode(command).decode()
    return (
        f'\n[[routes]]\nname = "{name}"\nceiling = "{ceiling}"\nsink = {{ kind = "exec", command = {words} {more} }}\n'
    )


def keeper(name: str, path: Path, *, seconds: float = 0) -> str:
    """A route into a program that keeps what it gets, and takes its time for each."""
    return program(name, sys.executable, "-c", KEEPER, str(path), str(seconds))


class Daemon:
    """A daemon and its files. Started and killed at will; nothing of it lives on when the block ends.

    Args:
        federation: its endpoint's.
        folder: a test's own.
        routes: TOML.
        endpoint: whose daemon.
        stop_seconds: how long a stop may take.
        state: its state folder; in `folder` if left out.
    """

    def __init__(
        self,
        federation: Sandbox,
        folder: Path,
        *routes: str,
        endpoint: str = FGR,
        stop_seconds: int = 5,
        state: Path | None = None,
    ) -> None:
        self.path = folder / "daemon.toml"
        self.log_file = folder / "daemon.log"
        loaded = configuration.load(federation.subscriber(endpoint), SubscriberConfig)
        start = datetime.now(UTC).isoformat()
        head = _TOML.format(c=loaded, state=state or folder / "daemon-state", start=start, stop_seconds=stop_seconds)
        self.path.write_text(head + "".join(routes))
        self.config = config.load(self.path)
        self.process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        await self.until(lambda found: found.ready)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and return at once."""
        command = [sys.executable, "-m", "agencybus", "daemon", "run", "--config", str(self.path)]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log)

    def kill(self) -> None:
        """SIGKILL, whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    async def stop(self, number: int = signal.SIGTERM, *, seconds: float = 20.0) -> int:
        """End it in order; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return await self.ended(seconds=seconds)

    async def ended(self, *, seconds: float = 20.0) -> int:
        """Its exit code when it has ended."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, seconds)

    def status(self) -> DaemonStatus | None:
        """What it says of itself."""
        return status.ask(self.config, seconds=5.0)

    async def until(self, true: Callable[[DaemonStatus], bool], *, seconds: float = 30.0) -> DaemonStatus:
        """Wait until it says so."""
        found: DaemonStatus | None = None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = await asyncio.to_thread(self.status)
            if found is not None and true(found):
                return found
            assert self.process is None or self.process.poll() is None, self.log_file.read_text()
            await asyncio.sleep(0.1)
        raise AssertionError(f"{found}\n{self.log_file.read_text()}")

    def get(self, path: str) -> str:
        """What it answers over HTTP."""
        running = msgspec.json.decode((self.config.state / "daemon.json").read_bytes(), type=Running)
        with urlopen(f"http://{running.host}:{running.port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    @property
    def log(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [msgspec.json.decode(line) for line in self.log_file.read_bytes().splitlines()]


def route(found: DaemonStatus, name: str) -> RouteStatus:
    return next(each for each in found.routes if each.name == name)


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; none if it is not there yet."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def references(path: Path) -> list[str]:
    return [line["event"]["reference"] for line in lines(path)]
