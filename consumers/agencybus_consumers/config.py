"""`daemon.toml`: an endpoint, and the local tools that it feeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from agencybus import config as configuration
from agencybus.config import EndpointConfig, Name, Seconds, Start, SubscriberConfig, Table
from agencybus.errors import ConfigError, LabelError
from agencybus.label import Clearance

LISTEN: Final = "127.0.0.1:9464"
RouteName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z")]


class MetricsConfig(Table, frozen=True):
    """Where `/live`, `/ready` and `/metrics` are served.

    Attributes:
        listen: `host:port`. Whoever reaches it learns volumes, names of channels and of endpoints, never content.
    """

    listen: Name = LISTEN

    def address(self) -> tuple[str, int]:
        """Host and port; port 0 lets the system choose.

        Raises:
            ValueError: it is no `host:port`.
        """
        host, colon, port = self.listen.rpartition(":")
        if not colon or not host or not port.isdecimal():
            raise ValueError(f"{self.listen!r} is no host:port")
        return host.strip("[]"), int(port)


class RouteConfig(Table, frozen=True):
    """One local tool.

    Attributes:
        name: of the route; its state is the folder of this name.
        ceiling: the highest label that the tool may hold, in the text form of a clearance: `USA SECRET//LES`.
        sink: what takes the events; `kind` names it, the rest is the sink's own.
        types: event types that the tool takes; left out, all.
        channels: topics to read; left out, all that the directory lets the endpoint read.
        programmes: only channels of these; left out, all.
        start: where a new route begins; the daemon's `start` if left out.
    """

    name: RouteName
    ceiling: Name
    sink: Mapping[str, Any]
    types: tuple[Name, ...] = ()
    channels: tuple[Name, ...] = ()
    programmes: tuple[Name, ...] = ()
    start: Start | None = None

    def clearance(self) -> Clearance:
        """The ceiling.

        Raises:
            ConfigError: `config-invalid`.
        """
        try:
            return Clearance.parse(self.ceiling)
        except LabelError as error:
            hint = "Write a clearance such as USA SECRET//LES."
            raise ConfigError("config-invalid", error.what, where=f"route {self.name}: ceiling", hint=hint) from None


class DaemonConfig(EndpointConfig, frozen=True):
    """`daemon.toml`.

    Attributes:
        routes: the tools.
        metrics: where the daemon says how it is.
        start: where new routes begin: earliest, now or a time; remembered by each.
        wait_seconds: how long a frame may wait for its grant or directory before it goes to quarantine.
        stall_seconds: without progress for so long, while records wait, a consumer is rebuilt.
        stop_seconds: how long a stop may take to finish what the tools have in hand.
    """

    routes: Annotated[tuple[RouteConfig, ...], msgspec.Meta(min_length=1)]
    metrics: MetricsConfig = MetricsConfig()
    start: Start | None = None
    wait_seconds: Seconds = 30.0
    stall_seconds: Seconds = 15.0
    stop_seconds: Seconds = 10.0

    def subscriber(self, route: RouteConfig) -> SubscriberConfig:
        """What the reader of a route is opened with."""
        return SubscriberConfig(
            endpoint=self.endpoint,
            state=self.folder(route),
            keyring=self.keyring,
            directory=self.directory,
            kafka=self.kafka,
            start=route.start or self.start,
            channels=route.channels,
            programmes=route.programmes,
            types=route.types,
            wait_seconds=self.wait_seconds,
            stall_seconds=self.stall_seconds,
        )

    def folder(self, route: RouteConfig) -> Path:
        """The state folder of a route."""
        return self.state / "routes" / route.name


def load(path: Path) -> DaemonConfig:
    """Read a `daemon.toml`.

    Raises:
        ConfigError: `config-invalid`, naming file, key and reason.
    """
    config = configuration.load(path, DaemonConfig)
    names = Counter(route.name for route in config.routes)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise ConfigError("config-invalid", f"two routes are called {twice[0]}", where=f"{path}: routes")
    try:
        config.metrics.address()
    except ValueError as error:
        raise ConfigError("config-invalid", str(error), where=f"{path}: metrics.listen") from None
    for route in config.routes:
        route.clearance()
    return config
