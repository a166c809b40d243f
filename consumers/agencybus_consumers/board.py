"""What the daemon knows of itself: gathered in its loop, read from outside by threads of the HTTP server.

`/live` asks whether the loop turns, `/ready` whether every route does its work, `/metrics` for all numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agencybus.errors import BusError
from agencybus.kafka.records import Place
from agencybus.lineage import LineageId
from agencybus.node import Node
from agencybus.subscriber import Subscriber
from agencybus_consumers.routes import Route, Stage

LOOK_SECONDS: Final = 2.0  # between two looks at the routes; numbers are as old at most
SOON_SECONDS: Final = 0.2  # ... while one is not connected
BROKER_SECONDS: Final = 5.0  # for the broker's answer to one question for end offsets
DEAF_SECONDS: Final = 30.0  # a loop that did not turn for so long is not alive
_SECOND: Final = 1_000_000  # µs


class RouteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a route is.

    Attributes:
        name: of the route.
        stage: starting, running, pausing, failed, ended.
        connected: its lanes are being read.
        lag: records on the brokers that are not committed here; None if no broker answered.
        oldest_unacknowledged_seconds: how long the tool has been waited for; 0 if it owes nothing.
        last_progress_at: µs since the epoch of the last commit; 0 if none since the daemon's start.
        events: handed out and answered for since the daemon's start, those above the ceiling included.
        above_ceiling: events not given to the tool.
        quarantined: records in quarantine that nobody decided on, by code.
        alarms: by code, since the daemon's start.
        beginnings: how often it began.
        code: why it failed or paused last; empty if it never did.
        what: the same in a sentence.
        hint: what to do.
    """

    name: str
    stage: str
    connected: bool
    lag: int | None
    oldest_unacknowledged_seconds: float
    last_progress_at: int
    events: int
    above_ceiling: int
    quarantined: dict[str, int]
    alarms: dict[str, int]
    beginnings: int
    code: str = ""
    what: str = ""
    hint: str = ""


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon is: what `/ready` answers and `daemon status` shows.

    Attributes:
        ready: every route does its work.
        endpoint: whose daemon it is.
        pid: of the process.
        directory_age_seconds: since the directory was last looked at.
        directory_expired: it is past its date.
        routes: one by one.
    """

    ready: bool
    endpoint: str
    pid: int
    directory_age_seconds: float
    directory_expired: bool
    routes: list[RouteStatus]


@dataclass
class _Look:
    """What the last look at a route found."""

    connected: bool = False
    waiting_since: int | None = None  # µs since the epoch
    lag: dict[Place, int] | None = None
    silence: dict[LineageId, float] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)


class Board(Collector):
    """Gathers and answers.

    Args:
        node: the endpoint.
        routes: of the daemon.
        pid: of the process.
    """

    def __init__(self, node: Node, routes: Sequence[Route], pid: int) -> None:
        self._node = node
        self._routes = routes
        self._pid = pid
        self._looks = {route.name: _Look() for route in routes}
        self._turned = time.monotonic()
        self._expiries: dict[str, int] = {}

    # --- in the loop

    async def keep_looking(self) -> None:
        """Look at the routes until cancelled. One that hangs is not waited for."""
        async with asyncio.TaskGroup() as tasks:
            for route in self._routes:
                tasks.create_task(self._keep_looking_at(route))
            while True:
                self._turned = time.monotonic()
                with contextlib.suppress(BusError):
                    expires_at = await asyncio.to_thread(self._node.kafka.certificate_expires_at)
                    self._expiries = {} if expires_at is None else {"certificate": expires_at}
                await asyncio.sleep(LOOK_SECONDS)

    async def _keep_looking_at(self, route: Route) -> None:
        while True:
            look = _Look(quarantined=self._looks[route.name].quarantined)
            if route.subscriber is not None:
                look = await self._look(route.subscriber)
            self._looks[route.name] = look
            await asyncio.sleep(LOOK_SECONDS if look.connected else SOON_SECONDS)

    @staticmethod
    async def _look(subscriber: Subscriber) -> _Look:
        look = _Look(subscriber.connected, subscriber.oldest_unanswered(), silence=subscriber.silence())
        if look.connected:
            with contextlib.suppress(BusError, TimeoutError):
                async with asyncio.timeout(BROKER_SECONDS):
                    look.lag = await subscriber.lag()
        with contextlib.suppress(BusError):  # closed meanwhile
            look.quarantined = await asyncio.to_thread(subscriber.state.quarantine.by_code)
        return look

    # --- from any thread

    @property
    def alive(self) -> bool:
        """Whether the loop turns."""
        return time.monotonic() - self._turned < DEAF_SECONDS

    def status(self) -> DaemonStatus:
        """How everything is."""
        health = self._node.directory_health()
        routes = [self._status(route) for route in self._routes]
        return DaemonStatus(
            ready=self.alive and all(route.stage == Stage.RUNNING and route.connected for route in routes),
            endpoint=self._node.endpoint,
            pid=self._pid,
            directory_age_seconds=health.age_us / _SECOND,
            directory_expired=health.expired,
            routes=routes,
        )

    def _status(self, route: Route) -> RouteStatus:
        look, error = self._looks[route.name], route.error
        return RouteStatus(
            name=route.name,
            stage=route.stage,
            connected=look.connected,
            lag=None if look.lag is None else sum(look.lag.values()),
            oldest_unacknowledged_seconds=self._seconds_since(look.waiting_since),
            last_progress_at=route.stats.last_progress,
            events=route.stats.events,
            above_ceiling=route.above_ceiling,
            quarantined=look.quarantined,
            alarms=dict(route.stats.alarms),
            beginnings=route.beginnings,
            **({} if error is None else {"code": error.code, "what": error.what, "hint": error.hint}),
        )

    def _seconds_since(self, since: int | None) -> float:
        return 0.0 if since is None else max(0.0, (self._node.now() - since) / _SECOND)

    # --- metrics

    def collect(self) -> Iterator[Metric]:
        """All metrics; docs/operations.md says what to watch."""
        yield from self._node_metrics()
        yield from self._route_gauges()
        yield from self._route_counters()

    def _node_metrics(self) -> Iterator[Metric]:
        health = self._node.directory_health()
        yield _gauge("directory_age_seconds", "Since the directory was last looked at.", health.age_us / _SECOND)
        yield _gauge(
            "directory_expires_timestamp_seconds",
            "When the first of the directory's files is past its date.",
            health.expires_at / _SECOND,
        )
        keys = GaugeMetricFamily(
            "agencybus_key_expires_timestamp_seconds", "End of this endpoint's keys.", None, ["kind"]
        )
        endpoint, ring = self._node.directory.endpoints.get(self._node.endpoint), self._node.keyring
        if endpoint is not None:
            for kind, key in (
                ("signer", endpoint.signer(ring.signer.public.id)),
                ("kem", endpoint.kem(ring.kem.public.id)),
            ):
                if key is not None:
                    keys.add_metric([kind], key.not_after / _SECOND)
        yield keys
        if "certificate" in self._expiries:
            yield _gauge(
                "certificate_expires_timestamp_seconds",
                "End of the certificate that the brokers see.",
                self._expiries["certificate"] / _SECOND,
            )

    def _route_gauges(self) -> Iterator[Metric]:
        up = _by_route("route_up", "1 if the route does its work.")
        oldest = _by_route("oldest_unacknowledged_seconds", "How long the tool has been waited for.")
        progress = _by_route("last_progress_timestamp_seconds", "Last commit of the route; 0 if none yet.")
        lag = _by_route("lag_records", "Records on the brokers that are not committed.", "topic", "partition")
        held = _by_route("quarantine_records", "Records in quarantine that nobody decided on.", "code")
        silence = _by_route(
            "lineage_silence_seconds", "Since an open lineage was heard.", "endpoint", "writer", "channel", "partition"
        )
        for route in self._routes:
            look, status = self._looks[route.name], self._status(route)
            up.add_metric([route.name], float(status.stage == Stage.RUNNING and status.connected))
            oldest.add_metric([route.name], status.oldest_unacknowledged_seconds)
            progress.add_metric([route.name], status.last_progress_at / _SECOND)
            for (topic, partition), records in (look.lag or {}).items():
                lag.add_metric([route.name, topic, str(partition)], records)
            for name, seconds in look.silence.items():
                silence.add_metric([route.name, *map(str, name)], seconds)
            for code, records in look.quarantined.items():
                held.add_metric([route.name, code], records)
        yield from (up, oldest, progress, lag, held, silence)

    def _route_counters(self) -> Iterator[Metric]:
        plain = {
            "events": "Events that were handed out and answered for, those above the ceiling included.",
            "frames": "Frames whose events were handed out.",
            "checkpoints": "Records without events: open, heartbeat, close.",
            "skipped": "Frames for other audiences: verified, not read.",
            "duplicates": "Records that came again.",
            "repeated": "Events whose reference had been delivered before.",
        }
        for name, text in plain.items():
            family = CounterMetricFamily(f"agencybus_{name}", text, None, ["route"])
            for route in self._routes:
                family.add_metric([route.name], getattr(route.stats, name))
            yield family
        above = CounterMetricFamily("agencybus_above_ceiling", "Events not given to the tool.", None, ["route"])
        begun = CounterMetricFamily("agencybus_route_beginnings", "How often the route began.", None, ["route"])
        refused = CounterMetricFamily("agencybus_quarantined", "Records refused, by code.", None, ["route", "code"])
        alarms = CounterMetricFamily(
            "agencybus_alarms", "What an operator should see, by code.", None, ["route", "code"]
        )
        for route in self._routes:
            above.add_metric([route.name], route.above_ceiling)
            begun.add_metric([route.name], route.beginnings)
            for code, count in dict(route.stats.quarantined).items():
                refused.add_metric([route.name, code], count)
            for code, count in dict(route.stats.alarms).items():
                alarms.add_metric([route.name, code], count)
        yield from (above, begun, refused, alarms)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"agencybus_{name}", text, value)


def _by_route(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"agencybus_{name}", text, None, ["route", *labels])
