"""Replay: a range of a topic, read again by the same thirteen steps, without touching any live state.

What can't be read is counted by reason, never left out in silence. Every record is judged by the directory that it
names, whenever it is replayed; which ones that were is part of the result.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from agencybus.directory import policy
from agencybus.errors import TransportError
from agencybus.grants import GrantFollower
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import Position, RawRecord
from agencybus.label import Label
from agencybus.node import Node
from agencybus.seal.grant import AudienceKey
from agencybus.state.reader import ReaderState
from agencybus.subscribing.verifier import Verified, Verifier
from agencybus.wire.headers import FrameHeader

FETCH_SECONDS = 2.0


@dataclass
class Tally:
    """What a replay found, everything counted once.

    Attributes:
        first: offset that it began at.
        end: offset that it ended before.
        records: all records, also those that count nowhere else.
        frames: frames that this endpoint could read.
        events: events in them.
        checkpoints: records without events.
        duplicates: records that came a second time.
        not_cleared: verified frames that this endpoint may not read, by the rule that says so.
        refused: records that a step refused, by step and code.
        findings: gaps, late records, recovered writers and the like, by code.
        directories: records by the directory that they name (hex).
    """

    first: int = 0
    end: int = 0
    records: int = 0
    frames: int = 0
    events: int = 0
    checkpoints: int = 0
    duplicates: int = 0
    not_cleared: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    directories: Counter[str] = field(default_factory=Counter)


class Replay:
    """Reads a partition of a topic as an endpoint that is cleared for it, or is not.

    Args:
        node: the endpoint.
        place: topic and partition.
        begin: where to begin.
        end: where to end: an offset is left out itself; `latest` is what the topic holds now.
    """

    def __init__(self, node: Node, place: tuple[str, int], *, begin: Position, end: Position) -> None:
        self.tally = Tally()
        self._node = node
        self._place = place
        self._begin = begin
        self._end = end

    async def run(self, told: Callable[[int, int], None] = lambda _done, _all: None) -> AsyncIterator[Verified]:
        """Verify record by record, in order; `tally` is whole when it ends.

        Args:
            told: hears (offsets done, offsets in all).

        Raises:
            TransportError: the topic can't be read.
            ConfigError: a TLS file can't be used.
        """
        node = self._node
        key = node.keyring.storage_key
        with ReaderState.memory(endpoint=node.endpoint, realm=node.realm, route="replay", storage_key=key) as state:
            # Everything is from before this moment: a range that begins midway is no alarm.
            verifier = Verifier(node, state, started_at=node.now(), patience=0.0)
            await self._learn_keys(verifier)
            reader = RecordReader(node.kafka)
            try:
                first, end = await self._bounds(reader)
                self.tally.first, self.tally.end = first, end
                async for raw in self._records(reader, end):
                    verified = await verifier.verify(raw, patient=False)
                    self._count(verified)
                    if verified.outcome is not None and not verified.outcome.duplicate:
                        with state.transaction(sync=False) as step:
                            step.head(verified.outcome.lineage, verified.outcome.head)
                            step.window(verified.outcome.lineage, verified.outcome.learned)
                        verifier.forget(verified.outcome)
                    told(raw.next_offset - first, end - first)
                    yield verified
            finally:
                await reader.close()

    async def _learn_keys(self, verifier: Verifier) -> None:
        """Every key that this endpoint was ever granted by the topic's agency."""
        found: list[AudienceKey] = []
        follower = GrantFollower(
            self._node,
            [self._place[0].rsplit(".", 2)[0]],
            known=lambda _key_id, _endpoint: False,
            on_key=found.append,
            on_refused=lambda _raw, error: self.tally.refused.update([f"grant: step {int(error.step)} {error.code}"]),
        )
        await follower.start()
        following = asyncio.create_task(follower.run())
        try:
            await follower.catch_up()
        finally:
            following.cancel()
            await asyncio.wait({following})
            await follower.close()
        for key in found:
            await verifier.tell_key(key)

    async def _bounds(self, reader: RecordReader) -> tuple[int, int]:
        """Start the reader; the offsets between which it reads."""
        place = self._place
        await reader.start({place: self._begin})
        first, newest = reader.positions()[place], (await reader.end_offsets())[place]
        if isinstance(self._end, int):
            return first, min(self._end, newest)
        if self._end == "latest":
            return first, newest
        there = RecordReader(self._node.kafka)
        try:
            await there.start({place: self._end})
            return first, min(there.positions()[place], newest)
        finally:
            await there.close()

    async def _records(self, reader: RecordReader, end: int) -> AsyncIterator[RawRecord]:
        while reader.positions()[self._place] < end:
            before = reader.positions()[self._place]
            for raw in await reader.fetch(FETCH_SECONDS):
                if raw.offset >= end:
                    return
                yield raw
            if reader.positions()[self._place] == before:
                what = "no more records came, although the topic holds more"
                raise TransportError("broker-stalled", what, where=f"{self._place[0]}[{self._place[1]}]")

    def _count(self, verified: Verified) -> None:
        tally, header = self.tally, verified.header
        tally.records += 1
        if header is not None:
            tally.directories[header.directory.hex()] += 1
        if verified.outcome is not None:
            tally.findings.update(finding.code for finding in verified.outcome.findings)
        if verified.refusal is not None:
            tally.refused[f"step {verified.refusal.step} {verified.refusal.code}"] += 1
        elif verified.duplicate:
            tally.duplicates += 1
        elif verified.skipped:
            assert isinstance(header, FrameHeader)
            tally.not_cleared[self._rule(header)] += 1
        elif isinstance(header, FrameHeader):
            tally.frames += 1
            tally.events += len(verified.events)
        else:
            tally.checkpoints += 1

    def _rule(self, header: FrameHeader) -> str:
        """The rule by which this endpoint may not read a frame."""
        directory = self._node.history.get(header.directory)
        assert directory is not None  # it was verified by it
        label = Label.parse(header.label)
        reader, at = self._node.endpoint, header.sealed_at
        return policy.may_read(directory, reader, header.endpoint, header.type, label, header.programme, at).rule
