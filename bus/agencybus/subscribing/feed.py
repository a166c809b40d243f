"""One partition of a subscriber: verify ahead, deliver in order, commit when done.

    records ─► verify (up to `AHEAD` frames) ─► hand out ─► all answered ─► one transaction: offset, head, references

The state never passes the lowest event that nobody answered for. A record that is refused goes to quarantine in the
same transaction that moves the offset over it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, TypeVar

import stamina

from agencybus.errors import CODES, Reaction, StateError
from agencybus.kafka.records import RawRecord
from agencybus.node import Node
from agencybus.state.reader import ReaderState
from agencybus.state.vault import Entry, Kept, Refused
from agencybus.subscribing.delivery import Batch, Delivery, Position
from agencybus.subscribing.stats import Stats
from agencybus.subscribing.verifier import DEATHS, Refusal, Verified, Verifier
from agencybus.wire.headers import FrameHeader
from agencybus.wire.limits import MIB

AHEAD: Final = 1  # frames verified while one is delivered; after a death none, so that the suspect stands alone
HIGH_BYTES: Final = 4 * MIB  # of records that wait, before the partition is paused
LOW_BYTES: Final = 1 * MIB  # of records that wait, before it goes on

FULL_SECONDS: Final = 10.0  # longest pause between two tries on a full disk

HandOut = Callable[[list[Delivery]], None]
_T = TypeVar("_T")


@dataclass(eq=False, slots=True)
class _Handling:
    """A record between its hand-out and its commit.

    Attributes:
        batch: its events that wait for answers; None if it has none.
        since: when they were handed out, µs since the epoch.
        ended: set when it is committed, or never will be.
    """

    batch: Batch | None
    since: int
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def answered(self) -> bool:
        return self.batch is None or self.batch.done.is_set()


class Desk:
    """What the feeds of a subscriber share.

    Attributes:
        node: this endpoint.
        state: its memory.
        verifier: its steps.
        stats: its counters.
        hand_out: puts deliveries before the tool.
        types: event types to deliver; empty for all.
        sync: whether a commit waits for the disk.
    """

    def __init__(
        self,
        node: Node,
        state: ReaderState,
        verifier: Verifier,
        stats: Stats,
        hand_out: HandOut,
        *,
        types: frozenset[str],
        sync: bool,
    ) -> None:
        self.node = node
        self.state = state
        self.verifier = verifier
        self.stats = stats
        self.hand_out = hand_out
        self.types = types
        self.sync = sync
        self._going_on = asyncio.Event()
        self._going_on.set()
        self._handlings: set[_Handling] = set()

    async def handle(self, verified: Verified, *, redelivered: bool, entry: Entry | None = None) -> None:
        """Hand out what a record holds, wait for the answers, commit. `entry` if it came out of quarantine."""
        await self._going_on.wait()
        batch = self.deliver(verified, redelivered=redelivered)
        handling = _Handling(batch, self.node.now())
        self._handlings.add(handling)
        try:
            if batch is not None:
                await batch.done.wait()
            await self.settle(verified, batch, entry)
        finally:
            self._handlings.discard(handling)
            handling.ended.set()

    def end(self) -> None:
        """Hand out nothing more."""
        self._going_on.clear()

    async def settled(self) -> None:
        """Wait until every record whose events were all answered for is committed."""
        for handling in [handling for handling in self._handlings if handling.answered]:
            await handling.ended.wait()

    def oldest_unanswered(self) -> int | None:
        """Since when the oldest event waits for an answer, µs since the epoch; None if none does."""
        return min((handling.since for handling in self._handlings if not handling.answered), default=None)

    def deliver(self, verified: Verified, *, redelivered: bool) -> Batch | None:
        """Hand out the events of a frame that are new to this reader; None if there are none."""
        header, raw = verified.header, verified.raw
        if not isinstance(header, FrameHeader) or not verified.events:
            return None
        if self.types and header.type not in self.types:
            return None
        known = self.state.known(header.endpoint, verified.keys)
        new = [index for index, before in enumerate(known) if not before]
        self.stats.repeated += len(known) - len(new)
        if not new:
            return None
        batch = Batch(set(new), len(new))
        topic, partition, offset, again = raw.topic, raw.partition, raw.offset, self.hand_out
        again(
            [
                Delivery(
                    verified.events[index],
                    verified.encoded[index],
                    header,
                    Position(topic, partition, offset, index),
                    redelivered,
                    batch,
                    again,
                )
                for index in new
            ]
        )
        return batch

    async def settle(self, verified: Verified, batch: Batch | None, entry: Entry | None) -> None:
        """Commit, off the loop, and count what was committed."""
        kept = await self.stored(lambda: self.commit(verified, batch, entry))
        self._count(verified, batch, kept)

    async def stored(self, work: Callable[[], _T]) -> _T:
        """Do something to the state. A full disk is waited out: nothing moves on that is not stored.

        Raises:
            StateError: the state is damaged.
        """
        async for attempt in stamina.retry_context(on=self._full, attempts=None, timeout=None, wait_max=FULL_SECONDS):
            with attempt:
                done = await asyncio.to_thread(work)
        return done

    def _full(self, error: Exception) -> bool:
        full = isinstance(error, StateError) and error.code == "state-full"
        if full:
            self.stats.alarm("state-full", str(error))
        return full

    def commit(self, verified: Verified, batch: Batch | None, entry: Entry | None = None) -> Kept | None:
        """One transaction: what the record and the tool's answers change. `entry` if it came out of quarantine."""
        raw, header, outcome = verified.raw, verified.header, verified.outcome
        refused = self._refused(verified, batch)
        kept = None
        with self.state.transaction(sync=self.sync) as step:
            if outcome is not None and not outcome.duplicate:
                if outcome.head.sequence in outcome.learned:  # a late record leaves the head where it is
                    step.head(outcome.lineage, outcome.head)
                step.window(outcome.lineage, outcome.learned)
            if batch is not None and header is not None:
                taken = [key for index, key in enumerate(verified.keys) if index not in batch.refused]
                step.seen(header.endpoint, taken, at=self.node.now())
            if entry is None:
                step.offset(raw.topic, raw.partition, raw.next_offset)
                if refused is not None:
                    kept = step.quarantine(_record(raw, refused, self.node.now()))
            elif refused is None:
                step.delivered(entry, at=self.node.now())
            else:
                step.hold(
                    entry,
                    step=refused.step,
                    code=refused.code,
                    reason=refused.reason,
                    waits_for=refused.waits_for,
                )
        return kept

    @staticmethod
    def _refused(verified: Verified, batch: Batch | None) -> Refusal | None:
        if verified.refusal is not None:
            return verified.refusal
        if batch is not None and batch.refused:
            index, why = min(batch.refused.items())
            more = f" (and {len(batch.refused) - 1} more)" if len(batch.refused) > 1 else ""
            endpoint = verified.header.endpoint if verified.header else ""
            return Refusal(0, "refused-by-tool", f"event {index}: {why}{more}", endpoint)
        return None

    def _count(self, verified: Verified, batch: Batch | None, kept: Kept | None) -> None:
        stats, raw, outcome = self.stats, verified.raw, verified.outcome
        refused = self._refused(verified, batch)
        where = {"topic": raw.topic, "partition": raw.partition, "offset": raw.offset}
        stats.last_progress = self.node.now()
        if outcome is not None:
            self.verifier.forget(outcome)
            for finding in outcome.findings:
                stats.alarm(finding.code, finding.text, endpoint=outcome.lineage.endpoint, **where)
        if refused is not None:
            stats.quarantined[refused.code] += 1
            if CODES[refused.code].reaction is not Reaction.ALARM:
                stats.alarm("quarantined", f"{refused.code}: {refused.reason}", step=refused.step, **where)
        if kept not in {None, Kept.WHOLE}:
            stats.alarm("quarantine-quota", f"only the {kept.value if kept else ''} of a record is kept", **where)
        stats.duplicates += verified.duplicate
        stats.skipped += verified.skipped
        if verified.header is not None and not isinstance(verified.header, FrameHeader):
            stats.checkpoints += not verified.duplicate
        if batch is not None:
            stats.frames += 1
            stats.events += batch.size - len(batch.refused)


class PartitionFeed:
    """Works one partition. `offer` takes records in offset order; `run` is its task."""

    def __init__(
        self, desk: Desk, place: tuple[str, int], *, suspect_until: int, worked_on: Collection[int] = ()
    ) -> None:
        self.place = place
        self._desk = desk
        self._worked_on = frozenset(worked_on)  # offsets that a run before may have handed out
        self._suspect_until = suspect_until  # below it a process before may have died: work one by one
        self._records: deque[RawRecord] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._open = 0  # records offered and not committed
        self._idle = asyncio.Event()
        self._idle.set()
        self._verified: asyncio.Queue[tuple[Verified, bool]] = asyncio.Queue(maxsize=AHEAD)

    @property
    def full(self) -> bool:
        """Whether the partition should be paused."""
        return self._bytes >= HIGH_BYTES

    @property
    def hungry(self) -> bool:
        """Whether it should go on."""
        return self._bytes <= LOW_BYTES

    def offer(self, record: RawRecord) -> None:
        """Take a record."""
        self._records.append(record)
        self._bytes += len(record.value or b"")
        self._open += 1
        self._idle.clear()
        self._wake.set()

    async def idle(self) -> None:
        """Return when all that was offered is committed."""
        await self._idle.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._verify())
            tasks.create_task(self._deliver())

    async def _verify(self) -> None:
        while True:
            while not self._records:
                self._wake.clear()
                await self._wake.wait()
            raw = self._records.popleft()
            suspect = raw.offset < self._suspect_until
            if suspect:
                await self._verified.join()
            verified, before = await self._guarded(raw)
            self._bytes -= len(raw.value or b"")
            await self._verified.put((verified, before))
            if suspect:
                await self._verified.join()

    async def _guarded(self, raw: RawRecord) -> tuple[Verified, bool]:
        """Verify under the crash fuse: a record that killed processes is put away undecoded."""
        state, where = self._desk.state, (raw.topic, raw.partition, raw.offset)
        deaths = await self._desk.stored(lambda: state.arm(*where))
        if deaths >= DEATHS:
            what = f"{deaths} processes died while they worked on it"
            return Verified(raw, refusal=Refusal(0, "crash-fuse", what)), True
        verified = await self._desk.verifier.verify(raw)
        await self._desk.stored(lambda: state.survived(*where))
        return verified, raw.offset in self._worked_on

    async def _deliver(self) -> None:
        while True:
            verified, before = await self._verified.get()
            await self._desk.handle(verified, redelivered=before)
            self._verified.task_done()
            self._open -= 1
            if not self._open:
                self._idle.set()


class QuarantineFeed:
    """Verifies again what waited for a grant or a directory that has come, and what an operator released."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._wake = asyncio.Event()

    def look(self) -> None:
        """Something came: look now."""
        self._wake.set()

    async def run(self, every: float) -> None:
        """Work until cancelled; look at least every so many seconds, for an operator's decisions."""
        while True:
            for entry in self._due():
                await self._again(entry)
            self._wake.clear()
            try:
                async with asyncio.timeout(every):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _due(self) -> list[Entry]:
        vault = self._desk.state.quarantine
        come = [waits_for for waits_for in vault.awaited() if self._desk.verifier.knows(waits_for)]
        return [*(entry for waits_for in come for entry in vault.waiting(waits_for)), *vault.released()]

    async def _again(self, entry: Entry) -> None:
        desk = self._desk
        raw = desk.state.quarantine.raw(entry)
        if raw is None:
            return  # beyond the quota; the topic still has it, and the alarm was given
        record = RawRecord(entry.topic, entry.partition, entry.offset, entry.received_at, None, raw)
        # Step 7 and what comes after it were reached: the lineage has the record already.
        accepted = entry.step > 7 or entry.code == "refused-by-tool"  # noqa: PLR2004 - step 7, lineage
        verified = await desk.verifier.verify(record, patient=False, accepted=accepted)
        await desk.handle(verified, redelivered=entry.code == "refused-by-tool", entry=entry)


def _record(raw: RawRecord, refusal: Refusal, now: int) -> Refused:
    return Refused(
        raw=raw.value or b"",
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        received_at=now,
        step=refusal.step,
        code=refusal.code,
        reason=refusal.reason,
        endpoint=refusal.endpoint,
        waits_for=refusal.waits_for,
    )
