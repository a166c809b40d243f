"""What stands on the stage: a broker, a federation, daemons as processes, and files that people can look at."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from agencybus import sandbox
from agencybus.directory.following import DirectoryClient
from agencybus.errors import ConfigError
from agencybus.kafka.local import LocalCluster
from agencybus.quarantine import Quarantine
from agencybus.sandbox import Sandbox

FBI, USMS, CBP = "us.fbi/wanted", "us.usms/watch-floor", "us.cbp/ntc-cargo"
READERS: Final = {  # four local tools of different clearance
    "us.fbi/case-files": "USA SECRET//LES/NOFORN",
    "mx.fgr/watch-floor": "MEX RESERVADA//SIGILO",
    "mx.inm/fronteras": "MEX CONFIDENCIAL",
    "mx.anam/aduanas": "MEX RESERVADA//SIGILO",
}
PATIENCE_SECONDS: Final = 60.0

_DAEMON: Final = """
[metrics]
listen = "127.0.0.1:0"

[[routes]]
name = "tool"
ceiling = "{ceiling}"
sink = {{ kind = "jsonl", path = "received.jsonl" }}
"""


class Stage:
    """Everything that the demo starts, in one folder; `close` ends and removes it.

    Args:
        home: the folder; must not exist, or be empty.
        jars: folder with Kafka's jars, None to fetch them once.
        java: the Java to run, None for the packaged one.
    """

    def __init__(self, home: Path, *, jars: Path | None = None, java: Path | None = None) -> None:
        if home.exists() and any(home.iterdir()):
            raise ConfigError("usage", "the demo wants an empty folder", where=str(home))
        self.home = home.absolute()
        self.cluster = LocalCluster(self.home / "kafka", jar_folder=jars, java=java)
        self.sandbox = Sandbox(self.home, ())
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def set_up(self) -> None:
        """Start the broker, make the federation, write the daemons' configuration."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.cluster.start()
        self.sandbox = sandbox.make(self.home, self.cluster)
        for endpoint, ceiling in READERS.items():
            folder = self.sandbox.folder(endpoint)
            text = self.sandbox.subscriber(endpoint).read_text().replace("subscriber-state", "daemon-state")
            (folder / "daemon.toml").write_text(text + _DAEMON.format(ceiling=ceiling))

    def close(self, *, keep: bool) -> None:
        """End all processes; remove the folder unless it is to be kept."""
        for process in self._daemons.values():
            process.terminate()
        for process in self._daemons.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
        self._daemons.clear()
        self.cluster.stop(patience_s=0)
        if not keep:
            shutil.rmtree(self.home, ignore_errors=True)

    # --- processes

    def start_daemon(self, endpoint: str) -> None:
        """Start the daemon of an endpoint; its log goes beside its configuration."""
        folder = self.sandbox.folder(endpoint)
        with (folder / "daemon.log").open("ab") as log:
            self._daemons[endpoint] = subprocess.Popen(
                [*_AGENCYBUS, "daemon", "run", "--config", str(folder / "daemon.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill_daemon(self, endpoint: str) -> None:
        """`kill -9`."""
        self._daemons[endpoint].send_signal(signal.SIGKILL)
        self._daemons[endpoint].wait()

    def run(self, *words: str) -> dict[str, Any]:
        """Run `agencybus … --json` to its end and return what it says.

        Raises:
            ConfigError: it says nothing; its error is passed on.
        """
        done = subprocess.run(
            [*_AGENCYBUS, *words, "--json"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        with suppress(ValueError, IndexError):
            said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
            return said
        raise ConfigError("usage", f"`agencybus {words[0]}` ended with {done.returncode}: {done.stderr[-500:]}")

    def start(self, *words: str, output: Path) -> subprocess.Popen[bytes]:
        """Start `agencybus …` with its output in a file."""
        with output.open("wb") as file:
            return subprocess.Popen(
                [*_AGENCYBUS, *words], stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    # --- looking

    def received(self, endpoint: str) -> list[dict[str, Any]]:
        """The lines that an endpoint's tool has got."""
        path = self.sandbox.folder(endpoint) / "received.jsonl"
        if not path.exists():
            return []
        whole = path.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def quarantined(self, endpoint: str) -> list[tuple[int, str, str]]:
        """Step, code and reason of each record in the quarantine of an endpoint's daemon."""
        folder = self.sandbox.folder(endpoint) / "daemon-state" / "routes" / "tool"
        with Quarantine.open(folder) as quarantine:
            return [(entry.step, entry.code, entry.reason) for entry in quarantine.list()]

    def directory(self) -> DirectoryClient:
        """A client of the federation's directory, as anybody may have one."""
        federation = self.home / "federation"
        root = (federation / "root.json").read_bytes()
        client = DirectoryClient(self.home / "viewer", trusted_root=root, url=federation.as_uri())
        client.refresh()
        return client

    @staticmethod
    def wait(true: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until something is so.

        Raises:
            ConfigError: it is not so in time.
        """
        until = time.monotonic() + seconds
        while not true():
            if time.monotonic() > until:
                raise ConfigError("usage", f"waited {seconds:.0f} s in vain for {what}")
            time.sleep(0.1)


_AGENCYBUS: Final = (sys.executable, "-m", "agencybus")
os.environ.setdefault("PYTHONUNBUFFERED", "1")
