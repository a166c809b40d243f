"""Configuration files: TOML, strict, every path relative to the file it stands in.

An unknown key is an error: a misspelt setting that is silently ignored is how a check gets turned off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import msgspec

from agencybus.codec import Profile
from agencybus.errors import ConfigError
from agencybus.kafka.connection import KafkaSettings

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
# What a header carries: printable ASCII (records-v1, section 1). `\Z`, not `$`, which lets a newline through.
HeaderText = Annotated[str, msgspec.Meta(max_length=256, pattern=r"^[ -~]+\Z")]
_T = TypeVar("_T", bound="Table")
_S = TypeVar("_S", bound="Table")


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A TOML table: keys in kebab-case, unknown ones refused."""


class KeyringConfig(Table, frozen=True):
    """Where the endpoint's keys are.

    Attributes:
        file: the key file.
        passphrase_file: file with the passphrase; asked for on the terminal if left out.
    """

    file: Path
    passphrase_file: Path | None = None


class DirectoryConfig(Table, frozen=True):
    """Where the signed directory comes from.

    Attributes:
        root: first root of the joint repository, delivered by hand: the anchor of all trust.
        url: `file://` or `https://` folder that holds `joint/` and one folder per country.
        cache: folder for verified copies and history.
        refresh_seconds: how often to look for news.
    """

    root: Path
    url: Name
    cache: Path
    refresh_seconds: Seconds = 60.0


class KafkaConfig(Table, frozen=True):
    """The way to Kafka; mutual TLS unless `plaintext` is asked for (benchmarks)."""

    bootstrap: Name
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    plaintext: bool = False

    def settings(self) -> KafkaSettings:
        """What the clients take."""
        return KafkaSettings(self.bootstrap, self.ca, self.cert, self.key, self.plaintext)


class EndpointConfig(Table, frozen=True):
    """What every process of an endpoint needs.

    Attributes:
        endpoint: the endpoint's name, such as `us.fbi/wanted`.
        state: folder for the process's durable state; one process at a time.
        keyring: its keys.
        directory: its directory.
        kafka: its brokers.
    """

    endpoint: Name
    state: Path
    keyring: KeyringConfig
    directory: DirectoryConfig
    kafka: KafkaConfig


class InspectConfig(Table, frozen=True):
    """What it takes to look at records without reading events: no keys, and no brokers for records in files.

    Attributes:
        directory: the directory.
        kafka: the brokers.
    """

    directory: DirectoryConfig
    kafka: KafkaConfig | None = None


class PublisherConfig(EndpointConfig, frozen=True):
    """`publisher.toml`.

    Attributes:
        writer: names this process among the endpoint's; part of its lineages for ever.
        heartbeat_seconds: a checkpoint follows after so much silence; the directory's programme may ask for less.
        deadline_seconds: how long `publish` waits for a quorum before it says `not-accepted`.
        pending_mib: memory for events that wait; beyond, `publish` waits.
        profile: what events say that leave it out.
    """

    writer: HeaderText = "main"
    heartbeat_seconds: Seconds = 10.0
    deadline_seconds: Seconds = 30.0
    pending_mib: Annotated[int, msgspec.Meta(gt=0, le=4096)] = 64
    profile: Profile = Profile()


class Start:
    """Where a new reader begins.

    Attributes:
        position: `earliest`, `latest`, or µs since the epoch.
    """

    __slots__ = ("position",)

    def __init__(self, position: int | Literal["earliest", "latest"]) -> None:
        self.position = position

    def __repr__(self) -> str:
        return f"Start({self.position!r})"

    @classmethod
    def parse(cls, value: object) -> Start:
        """Read `earliest`, `now` or a time with offset (RFC 3339).

        Raises:
            ValueError: it is none of them.
        """
        if value == "earliest":
            return cls("earliest")
        if value == "now":
            return cls("latest")
        with contextlib.suppress(ValueError):
            time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
            if time.tzinfo is not None:
                return cls((time - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1))
        raise ValueError("say earliest, now, or a time such as 2026-01-31T12:00:00Z")


class SubscriberConfig(EndpointConfig, frozen=True):
    """`subscriber.toml`.

    Attributes:
        start: where a new reader begins; remembered, and ignored afterwards.
        channels: topics to read; left out, all that the directory lets the endpoint read.
        programmes: only channels of these; left out, of all.
        types: event types to deliver; left out, all.
        wait_seconds: how long a frame may wait for its grant or directory before it goes to quarantine.
        stall_seconds: without progress for so long, while records wait, the consumer is rebuilt.
    """

    start: Start | None = None
    channels: tuple[Name, ...] = ()
    programmes: tuple[Name, ...] = ()
    types: tuple[Name, ...] = ()
    wait_seconds: Seconds = 30.0
    stall_seconds: Seconds = 15.0

    def at(self, state: Path) -> Self:
        """The same with another state folder: one reader per route."""
        return msgspec.structs.replace(self, state=state)


def has_table(path: Path, key: str) -> bool:
    """Whether a TOML file has a key at its top: tells kinds of configuration files apart.

    Raises:
        ConfigError: `config-invalid`: it can't be read, or is no TOML.
    """
    return key in _keys(path)


def load_any(path: Path, *kinds: type[_T]) -> _T:
    """Read a configuration file of one of several kinds, told apart by the keys at its top.

    Args:
        path: the TOML file.
        kinds: the classes; of those that fit, the first is meant.

    Raises:
        ConfigError: `config-invalid`, naming file, key and reason.
    """
    keys = _keys(path)

    def fit(kind: type[_T]) -> tuple[bool, int]:
        known = set(kind.__struct_encode_fields__)
        return keys <= known, len(keys & known)

    return load(path, max(kinds, key=fit))


def knows(path: Path, kind: type[Table]) -> bool:
    """Whether a class knows all keys at the top of a file.

    Raises:
        ConfigError: `config-invalid`: it can't be read, or is no TOML.
    """
    return _keys(path) <= set(kind.__struct_encode_fields__)


def _keys(path: Path) -> set[str]:
    try:
        return set(msgspec.toml.decode(_read(path), type=dict[str, Any]))
    except msgspec.DecodeError as error:
        raise ConfigError("config-invalid", str(error), where=str(path)) from None


def load(path: Path, kind: type[_T]) -> _T:
    """Read a configuration file.

    Args:
        path: the TOML file.
        kind: the class of its contents.

    Raises:
        ConfigError: `config-invalid`, naming file, key and reason.
    """
    data = _read(path)
    try:
        return msgspec.toml.decode(data, type=kind, dec_hook=_converter(path))
    except msgspec.DecodeError as error:  # also what is valid TOML but not this configuration
        raise ConfigError("config-invalid", str(error), where=str(path)) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError("config-invalid", f"can't be read: {error.strerror}", where=str(path)) from None


def convert(table: object, kind: type[_S], path: Path, key: str) -> _S:
    """Read a table whose class is known only after the file was read, such as a plug-in's.

    Args:
        table: what `load` left as plain values.
        kind: the class of its contents.
        path: the TOML file, to which paths in it are relative.
        key: where in the file the table stands.

    Raises:
        ConfigError: `config-invalid`, naming file, key and reason.
    """
    try:
        return msgspec.convert(table, kind, dec_hook=_converter(path))
    except msgspec.ValidationError as error:
        raise ConfigError("config-invalid", str(error), where=f"{path}: {key}") from None


def _converter(path: Path) -> Callable[[type, object], object]:
    folder = path.resolve().parent

    def convert_one(wanted: type, value: object) -> object:
        if wanted is Start:
            return Start.parse(value)
        if wanted is Path and isinstance(value, str) and value:
            return folder / Path(value).expanduser()
        raise ValueError("not a path")

    return convert_one
