"""A route: one reader, one sink, and what keeps them going.

    reader ─► at or below the tool's ceiling? ─► sink ─► done
                    └─ above: counted, done at once, never given to the tool

An error that may pass (a dead program, a full disk under a file) is met with a new beginning of the whole route, after
a second at first, a minute at last. An error that says halt, or a wrong configuration, ends this route and no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import stamina
import structlog

from agencybus.config import SubscriberConfig
from agencybus.errors import BusError, Reaction, SinkError
from agencybus.label import Clearance, Label, dominates
from agencybus.node import Node
from agencybus.subscriber import Subscriber
from agencybus.subscribing.delivery import Delivery
from agencybus.subscribing.stats import Stats
from agencybus_consumers.sinks import Sink

PAUSE_SECONDS: Final = 1.0  # before a route begins anew, after its first failure
PAUSE_MAX_SECONDS: Final = 60.0
WELL_SECONDS: Final = 120.0  # a route that ran so long had recovered: its next failure counts as a first one
BUG_FRAMES: Final = 5
LABELS: Final = 1024  # verdicts that are kept: a route sees a handful of labels

_log = structlog.get_logger(__name__)


class Stage(StrEnum):
    """How far a route is."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"  # after a failure, before the next beginning
    FAILED = "failed"  # an operator must mend something
    ENDED = "ended"  # as it was asked to


class Route:
    """One tool of the daemon.

    Args:
        name: of the route.
        ceiling: what the tool may hold.
        config: of its reader.
        node: the endpoint.
        make_sink: makes a sink that is not started yet.

    Attributes:
        name: of the route.
        stage: how far it is.
        stats: what its reader counted, over all beginnings.
        above_ceiling: events that were not given to the tool.
        beginnings: how often it began.
        error: why it failed or paused last.
        subscriber: its reader while it runs.
    """

    def __init__(
        self, name: str, ceiling: Clearance, config: SubscriberConfig, node: Node, make_sink: Callable[[Route], Sink]
    ) -> None:
        self.name = name
        self.stage = Stage.STARTING
        self.stats = Stats()
        self.above_ceiling = 0
        self.beginnings = 0
        self.error: BusError | None = None
        self.subscriber: Subscriber | None = None
        self._ceiling = ceiling
        self._config = config
        self._node = node
        self._make_sink = make_sink
        self._verdicts: dict[tuple[str, bytes], bool] = {}
        self._task: asyncio.Task[None] | None = None
        self._ending = False
        self._began = 0.0
        self._failures = 0

    def begin(self) -> asyncio.Task[None]:
        """Run from now on; the task ends when the route was ended, or has failed for good."""
        self._task = asyncio.create_task(self._run(), name=f"route {self.name}")
        return self._task

    def end(self) -> None:
        """Take no further frame; the task ends when the tool has what it was given."""
        self._ending = True
        if self.subscriber is not None:
            self.subscriber.end()
        elif self._task is not None:
            self._task.cancel()

    def alarm(self, code: str, what: str) -> None:
        """Count and report trouble of the sink."""
        self.stats.alarm(code, what)

    # --- running

    async def _run(self) -> None:
        structlog.contextvars.bind_contextvars(route=self.name)  # in all that is logged from here on down
        try:
            async for attempt in stamina.retry_context(on=self._pause, attempts=None, timeout=None):
                with attempt:
                    await self._once()
            self.stage = Stage.ENDED
        except asyncio.CancelledError:
            self.stage = Stage.ENDED
            if not self._ending:
                raise
        except BusError as error:
            self.stage, self.error = Stage.FAILED, error
            _log.error("route-failed", code=error.code, what=error.what, where=error.where, hint=error.hint)
        except Exception as error:  # noqa: BLE001 - in the last moments of a stop; other bugs pause the route
            self.stage = Stage.FAILED
            _log_bug("route-failed", error)

    async def _once(self) -> None:
        """From the start of the sink to its close."""
        self.beginnings += 1
        self.stage, self._began = Stage.STARTING, asyncio.get_running_loop().time()
        sink = self._make_sink(self)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(sink.close)
            await sink.start()
            opened = Subscriber.open(
                self._config, self._node, route=self.name, sync=not sink.keeps_position, stats=self.stats
            )
            subscriber = self.subscriber = await stack.enter_async_context(opened)
            stack.callback(setattr, self, "subscriber", None)
            self.stage = Stage.RUNNING
            _log.info("route-began", beginning=self.beginnings)
            if self._ending:
                subscriber.end()
            while deliveries := await subscriber.some(sink.batch):
                await self._give(sink, deliveries)
            await subscriber.settled()
            self.stage = Stage.ENDED

    async def _give(self, sink: Sink, deliveries: Sequence[Delivery]) -> None:
        fit = [delivery for delivery in deliveries if self._may_hold(delivery)]
        if fit:
            await sink.deliver(fit)
        for delivery in deliveries:
            await delivery.done()  # for what the sink answered by itself this changes nothing

    def _may_hold(self, delivery: Delivery) -> bool:
        """Whether the tool may hold an event, by the newest table of equivalences."""
        label, directory = delivery.header.label, self._node.directory
        known = self._verdicts.get((label, directory.digest))
        if known is None:
            verdict = dominates(self._ceiling, Label.parse(label), directory.equivalence)
            known = bool(verdict)
            if not known:
                self.alarm("above-ceiling", f"{label}: {verdict.text}; not given to the tool, now and from here on")
            if len(self._verdicts) >= LABELS:
                self._verdicts.clear()
            self._verdicts[label, directory.digest] = known
        if not known:
            self.above_ceiling += 1
        return known

    # --- failing

    def _pause(self, error: Exception) -> bool | float:
        """Seconds until the next beginning; False if a new one would not help."""
        if self._ending:
            return False
        if isinstance(error, BusError):
            if error.reaction is Reaction.HALT and error.code != "state-full":  # a full disk is waited out
                return False
            self.error = error
            if isinstance(error, SinkError):
                self.alarm(error.code, error.what)
            else:
                _log.warning("route-paused", code=error.code, what=error.what, where=error.where)
        else:
            _log_bug("route-paused", error)
        lasted = asyncio.get_running_loop().time() - self._began
        self._failures = 1 if lasted > WELL_SECONDS else self._failures + 1
        self.stage = Stage.PAUSING
        return float(min(PAUSE_MAX_SECONDS, PAUSE_SECONDS * 2 ** (self._failures - 1)))


def _log_bug(event: str, error: Exception) -> None:
    """Say what kind of error it was, and where; its text may hold content."""
    where = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    _log.error(event, code="bug", what=type(error).__name__, where=where[-BUG_FRAMES:])
