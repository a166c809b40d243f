"""Replay: a range of a topic read again, by the same thirteen steps, without touching any live state.

    async with Replay.open(node, target, begin="earliest", end="latest") as replay:
        async for found in replay.events(): ...
        replay.summary                    # counts everything, also what could not be read

Partitions are read one after the other, so two replays of one range give the same events in the same order. Heads and
keys live in a state that ends with the replay. What lies in the topic is given: an event that was published again under
its reference appears as often as it was sealed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from typing import Final, Self

from agencybus.audit.keys import gather
from agencybus.audit.ranges import Span, Target, resolve
from agencybus.audit.summary import Summary
from agencybus.directory import policy
from agencybus.directory.policy import Ruling
from agencybus.errors import ConfigError, TransportError
from agencybus.kafka import topics
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import Position, RawRecord, Since
from agencybus.label import Label
from agencybus.node import Node
from agencybus.state.reader import ReaderState
from agencybus.subscribing import delivery
from agencybus.subscribing.verifier import Verified, Verifier
from agencybus.wire.headers import FrameHeader
from agencybus.wire.limits import CLOCK_SKEW_US
from agencybus_schemas.events import Event

FETCH_SECONDS: Final = 1.0
STALL_SECONDS: Final = 60.0  # without a record, while the range is not read: the reader was rebuilt in vain


@dataclass(frozen=True, slots=True)
class Replayed:
    """One event of the range.

    Attributes:
        position: where it lies.
        header: the frame's verified header: who sealed it, when, under which directory.
        event: the event.
        encoded: its signed bytes (Avro).
    """

    position: delivery.Position
    header: FrameHeader
    event: Event
    encoded: bytes


class Replay:
    """One replay. Make it with `open`, iterate `events` once, then read `summary`.

    Attributes:
        summary: what was counted so far.
        total: offsets in the range.
    """

    def __init__(
        self, node: Node, state: ReaderState, spans: list[Span], *, begin: Position, types: Collection[str]
    ) -> None:
        self.summary = Summary(spans[0].topic, node.endpoint, spans, gone=sum(span.gone for span in spans))
        self.total = sum(span.count for span in spans)
        self._node = node
        self._state = state
        self._begin = begin
        self._types = frozenset(types)
        self._stopped = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls, node: Node, target: Target, *, begin: Position, end: Position, types: Collection[str] = ()
    ) -> AsyncIterator[Self]:
        """Find the range, then gather the keys that were granted to this endpoint.

        Args:
            node: the endpoint that reads.
            target: the channel, or one partition of it.
            begin: offset, time or `earliest` of the first record.
            end: offset, time or `latest` of the first record that does not belong to it any more.
            types: event types to give; empty for all. The others are verified and counted as well.

        Raises:
            ConfigError: no channel, or no such range.
            TransportError: the topic, or the grants for it, can't be had.
        """
        channel = topics.place(target.topic)
        if not isinstance(channel, topics.Channel):
            hint = "`agencybus inspect` looks at single grants."
            raise ConfigError("usage", f"{target.topic} holds grants, no events", hint=hint)
        programme = node.directory.programmes.get(channel.programme)
        count = 1 if programme is None else programme.partitions  # a programme that is gone may still be replayed
        partitions = list(range(count)) if target.partition is None else [target.partition]
        if isinstance(begin, int) and len(partitions) > 1:
            hint = f"Name the partition: {target.topic}/0."
            raise ConfigError("usage", f"an offset in a topic of {count} partitions", hint=hint)
        spans = await resolve(node.kafka, target.topic, partitions, begin, end)
        state = ReaderState.memory(
            endpoint=node.endpoint, realm=node.realm, route="replay", storage_key=node.keyring.storage_key
        )
        with closing(state):
            replay = cls(node, state, spans, begin=begin, types=types)
            # After the range was fixed: a writer grants before it seals.
            replay.summary.keys, replay.summary.grants_refused = await gather(node, channel.agency, state)
            yield replay

    def stop(self) -> None:
        """End behind the record that is being worked on."""
        self._stopped = True

    async def events(self, progress: Callable[[int], object] = lambda _: None) -> AsyncGenerator[Replayed, None]:
        """The events of the range, in the order of the topic, partition by partition.

        Args:
            progress: told how many offsets of the range are done.

        Raises:
            TransportError: the brokers don't give the rest of the range.
        """
        before = 0
        for span in self.summary.spans:
            started = self._started()
            verifier: Verifier | None = None
            async with aclosing(self._records(span)) as records:
                async for raw in records:
                    if verifier is None:
                        at = raw.timestamp_us + CLOCK_SKEW_US if started is None else started
                        verifier = Verifier(self._node, self._state, started_at=at, patience=0.0)
                    for found in await self._verify(verifier, raw):
                        yield found
                    progress(before + raw.next_offset - span.first)
                    if self._stopped:
                        return
            before += span.count
        self.summary.ended = True

    # --- parts

    def _started(self) -> int | None:
        """Since when no record may be missing at the beginning of a lineage, µs since the epoch.

        From the earliest record on, none may. From an offset on only the broker can say when that was: None.
        """
        if isinstance(self._begin, Since):
            return self._begin.at + CLOCK_SKEW_US  # its clock and the writers' may differ
        return 0 if self._begin == "earliest" else None

    async def _records(self, span: Span) -> AsyncGenerator[RawRecord, None]:
        """The records of a range; damage and holes in it are counted."""
        clock, expected = asyncio.get_running_loop().time, span.first
        reader, moved_at = RecordReader(self._node.kafka), clock()
        try:
            if span.count:
                await reader.start({(span.topic, span.partition): span.first})
            while expected < span.end:
                records = await reader.fetch(FETCH_SECONDS)
                if records:
                    moved_at = clock()
                elif clock() - moved_at > STALL_SECONDS:
                    where = f"{span.topic}/{span.partition}"
                    raise TransportError("broker-stalled", f"nothing comes from offset {expected} on", where=where)
                elif reader.positions()[span.topic, span.partition] >= span.end:
                    break
                for raw in records:
                    if raw.offset >= span.end:
                        break
                    self.summary.holes += raw.offset - expected
                    expected = raw.next_offset
                    if raw.damage is not None:
                        self.summary.damaged[raw.damage] += 1
                        self.summary.damaged_offsets += raw.span
                        continue
                    yield raw
                else:
                    continue
                break
            self.summary.holes += max(0, span.end - expected)
        finally:
            await reader.close()

    async def _verify(self, verifier: Verifier, raw: RawRecord) -> list[Replayed]:
        """Run the steps, count the record, and give the events that were asked for."""
        verified = await verifier.verify(raw, patient=False)
        outcome, header = verified.outcome, verified.header
        if outcome is not None:
            with self._state.transaction(sync=False) as step:
                if outcome.head.sequence in outcome.learned:
                    step.head(outcome.lineage, outcome.head)
                if outcome.learned:
                    step.window(outcome.lineage, outcome.learned)
            verifier.forget(outcome)
        if header is not None:
            self.summary.obeyed(verified, self._node.history.superseded_at(header.directory))
        self.summary.take(verified, self._ruling(verified))
        if not verified.events or not isinstance(header, FrameHeader):
            return []
        if self._types and header.type not in self._types:
            self.summary.left_out[header.type] += len(verified.events)
            return []
        return [
            Replayed(delivery.Position(raw.topic, raw.partition, raw.offset, number), header, event, encoded)
            for number, (event, encoded) in enumerate(zip(verified.events, verified.encoded, strict=True))
        ]

    def _ruling(self, verified: Verified) -> Ruling | None:
        """The rule by which a frame is for others."""
        header = verified.header
        if not verified.skipped or not isinstance(header, FrameHeader):
            return None
        history, asked = self._node.history, (header.endpoint, header.type, Label.parse(header.label))
        ruling = None
        for directory in (history.get(header.directory), history.in_force(header.sealed_at)):
            if directory is not None and (ruling is None or ruling.allowed):  # a later one may only take away
                ruling = policy.may_read(directory, self._node.endpoint, *asked, header.programme, header.sealed_at)
        return ruling
