"""Publishing files of events: read ahead, publish in order, say of every event what became of it.

The next batch is read and checked while the one before is on its way. Memory is two batches, whatever the files' size.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from agencybus.codec import Codec, Profile
from agencybus.codec.uuid7 import RANDOM_BYTES
from agencybus.errors import BusError, EventError, LabelError, PolicyError, SchemaError
from agencybus.publishing import files
from agencybus.publishing.files import Piece
from agencybus_schemas.events import Event

# What is refused for good, as it is. All else may pass: what was not accepted can be published again.
REFUSALS: Final = (EventError, LabelError, PolicyError, SchemaError)


class Accepted(Protocol):
    """What the bus says of an event that it took."""

    @property
    def repeated(self) -> bool:
        """It had been published before."""

    @property
    def channel(self) -> str:
        """Its topic."""

    @property
    def partition(self) -> int:
        """Its partition."""

    @property
    def offset(self) -> int:
        """Its offset."""


class Bus(Protocol):
    """What is needed of `agencybus.publisher.Publisher`."""

    async def publish_many(self, events: Iterable[Event]) -> Sequence[Accepted | BusError]:
        """Publish in order; for each event what became of it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How pieces become events.

    Attributes:
        codec: the event types.
        type_name: which one the files hold.
        originator: the endpoint that publishes; None to leave that to the events.
        profile: what events say that leave it out.
        now: µs since the epoch.
        random: gives so many fresh random bytes.
    """

    codec: Codec
    type_name: str
    originator: str | None
    profile: Profile
    now: Callable[[], int]
    random: Callable[[int], bytes]

    def event(self, piece: Piece) -> Event:
        """Read and check an event.

        Raises:
            EventError: naming line, field, rule and hint.
        """
        read, place = self.codec.from_json, {"source": piece.source, "line": piece.line}
        if self.originator is None:
            return read(self.type_name, piece.data, **place)  # type: ignore[arg-type]
        try:
            event = read(self.type_name, piece.data, **place)  # type: ignore[arg-type]
        except EventError:
            defaults = self.profile.defaults(
                originator=self.originator, at=self.now(), random10=self.random(RANDOM_BYTES)
            )
            event = read(self.type_name, piece.data, defaults=defaults, **place)  # type: ignore[arg-type]
        if event.originator != self.originator:
            raise EventError(
                "endpoint-not-ours",
                f"this is {self.originator}",
                field="originator",
                rule="originator",
                line=piece.line,
                where=f"{piece.source}:{piece.line}: originator",
            )
        return event


class Read(NamedTuple):
    """A piece and the event that it is, or why it is none."""

    piece: Piece
    event: Event | EventError


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read at once.

    Attributes:
        found: in order.
        read: bytes of all files that were read so far.
    """

    found: list[Read]
    read: int


def reading(paths: Iterable[Path], rules: Rules, stop: threading.Event | None = None) -> Iterator[Reading]:
    """Read and check all events of files.

    Args:
        paths: files; `-` is standard input.
        rules: how pieces become events.
        stop: set to end early.

    Raises:
        ConfigError: `source-unreadable`.
    """
    for batch in files.batches(paths, stop):
        yield Reading([Read(piece, _attempt(rules, piece)) for piece in batch.pieces], batch.read)


def _attempt(rules: Rules, piece: Piece) -> Event | EventError:
    try:
        return rules.event(piece)
    except EventError as error:
        return error


@dataclass(slots=True)
class Run:
    """Offsets that a run filled in one partition."""

    first: int
    last: int
    events: int = 0


@dataclass(slots=True)
class Tally:
    """What became of the events so far.

    Attributes:
        read: events that were read.
        accepted: those that a quorum has, by this run.
        repeated: those that had been published before: nothing was sent again.
        refused: those that were refused for good, by code.
        open: those of which it is not known whether they will arrive.
        places: by topic and partition, where the accepted ones lie.
        last: the last piece that was accepted, repeated or refused.
        failure: why it ended early.
    """

    read: int = 0
    accepted: int = 0
    repeated: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    open: int = 0
    places: dict[tuple[str, int], Run] = field(default_factory=dict)
    last: Piece | None = None
    failure: BusError | None = None

    def take(self, piece: Piece, result: Accepted | BusError) -> bool:
        """Count what became of an event; whether it was refused for good."""
        if isinstance(result, REFUSALS):
            self.refused[result.code] += 1
            self.last = piece
            return True
        if isinstance(result, BusError):
            self.open += 1
            self.failure = self.failure or result
            return False
        if result.repeated:
            self.repeated += 1
        else:
            self.accepted += 1
            run = self.places.setdefault((result.channel, result.partition), Run(result.offset, result.offset))
            run.last = max(run.last, result.offset)
            run.events += 1
        self.last = piece
        return False


async def publish(
    bus: Bus,
    readings: Iterator[Reading],
    tally: Tally,
    *,
    stop: threading.Event,
    refused: Callable[[Piece, BusError], object],
    progress: Callable[[int], object],
) -> None:
    """Publish what is read, until all is, or it is told to stop, or one event is neither accepted nor refused.

    Args:
        bus: an open publisher.
        readings: from `reading`, with the same `stop`.
        tally: counts what became of each event.
        stop: set to end behind the batch that is on its way.
        refused: told of each event that is refused.
        progress: told how many bytes are done.

    Raises:
        ConfigError: `source-unreadable`; what was read before is published and counted.
    """
    ahead = asyncio.create_task(asyncio.to_thread(next, readings, None))
    try:
        while (batch := await ahead) is not None and not stop.is_set():
            ahead = asyncio.create_task(asyncio.to_thread(next, readings, None))
            events = [found.event for found in batch.found if not isinstance(found.event, EventError)]
            results = iter(await bus.publish_many(events))
            tally.read += len(batch.found)
            for piece, event in batch.found:
                result = event if isinstance(event, EventError) else next(results)
                if tally.take(piece, result):
                    assert isinstance(result, BusError)
                    refused(piece, result)
            progress(batch.read)
            if tally.failure is not None:
                return
    finally:
        stop.set()  # the reader looks at it before each block
        with suppress(BusError):
            await ahead
