"""Sinks: what takes the events of a route.

A package brings a sink by an entry point of the group `agencybus.sinks`: its name is the `kind` in `daemon.toml`, its
object a class that keeps to `Sink`. `jsonl` and `exec` come with this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, cast

from agencybus import config as configuration
from agencybus.config import Table
from agencybus.errors import ConfigError
from agencybus.subscribing.delivery import Delivery

GROUP: Final = "agencybus.sinks"

Alarm = Callable[[str, str], None]
"""Reports a code of `errors.CODES` and a sentence without content."""


class Sink(Protocol):
    """What takes events. One task calls it, one call at a time.

    Attributes:
        Config: its table in `daemon.toml`, without `kind`.
        keeps_position: it knows by itself which events it has, so the reader's state need not wait for the disk.
        batch: how many events it takes at once, at most.
    """

    Config: ClassVar[type[Table]]
    keeps_position: ClassVar[bool]
    batch: ClassVar[int]

    def __init__(self, config: Any, alarm: Alarm) -> None:
        """Take a `Config`. Nothing is opened yet."""

    async def start(self) -> None:
        """Begin.

        Raises:
            SinkError: it can't; tried again unless the code says halt.
        """

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Give the tool what is at hand; return when it has it all.

        What it refuses is answered here with `delivery.refuse`; what it has may be answered with `delivery.done`, and
        all that is left is done on return. As long as the tool can't take more, this waits: that is the back-pressure.

        Raises:
            SinkError: what was not answered comes again when the route has begun anew.
        """

    async def close(self) -> None:
        """End, bounded."""

    async def check(self) -> str:
        """Try what can be tried without an event; say in a phrase what was found.

        Raises:
            BusError: it would not work, and why.
        """


def make(table: Mapping[str, Any], alarm: Alarm, *, path: Path, route: str) -> Sink:
    """Make the sink that a route asks for.

    Args:
        table: the route's `sink`.
        alarm: hears of trouble that the sink deals with itself.
        path: the configuration file.
        route: name of the route.

    Raises:
        ConfigError: `config-invalid`: no such kind, or its table is wrong.
    """
    where = f"route {route}: sink"
    known = {point.name: point for point in entry_points(group=GROUP)}
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in known:
        what = f"sink.kind is {kind!r}, known are {', '.join(sorted(known))}"
        raise ConfigError("config-invalid", what, where=f"{path}: {where}")
    sink = _load(known[kind], where)
    rest = {key: value for key, value in table.items() if key != "kind"}
    return sink(configuration.convert(rest, sink.Config, path, where), alarm)


def _load(point: EntryPoint, where: str) -> type[Sink]:
    try:
        return cast("type[Sink]", point.load())
    except (ImportError, AttributeError) as error:
        raise ConfigError("extra-missing", f"sink {point.name} can't be loaded: {error}", where=where) from error
