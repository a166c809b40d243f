"""One lineage of a publisher: gather, seal, journal, send, one frame in flight.

Idle, an event goes at once, alone. While a frame is in flight, events gather and go together next. What is dear (two
signatures, a disk write, a Kafka record) is paid per frame.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import stamina
import structlog

from agencybus.directory.policy import Audience
from agencybus.errors import BusError, StateError, TransportError
from agencybus.kafka.writer import RecordWriter
from agencybus.lineage import LineageId
from agencybus.node import Node
from agencybus.publishing.granting import Granter
from agencybus.publishing.pending import Fate, Gathering, Placed, Room
from agencybus.publishing.tail import own_records
from agencybus.seal import sealer
from agencybus.seal.sealer import Content, Link
from agencybus.state.writer import Reference, WriterState
from agencybus.wire import ids
from agencybus.wire.envelope import Record

ATTEMPT_SECONDS: Final = 30.0  # of one send; a frame in flight is sent again until it is acknowledged
LONGEST_WAIT_SECONDS: Final = 30.0  # between attempts, while no broker answers

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Feed:
    """Writes one lineage.

    Args:
        node: this endpoint.
        lineage: which.
        state: the journal.
        writer: the way to Kafka.
        granter: gives audience keys.
        audience: gives the audience of a content at a time.
        room: gets back the bytes of what is done with.
        heartbeat: seconds of silence after which a checkpoint follows.
    """

    def __init__(
        self,
        node: Node,
        lineage: LineageId,
        *,
        state: WriterState,
        writer: RecordWriter,
        granter: Granter,
        audience: Callable[[Content, int], Audience],
        room: Room,
        heartbeat: float,
    ) -> None:
        self.lineage = lineage
        self.frames = 0
        self.events = 0
        self._node = node
        self._state = state
        self._writer = writer
        self._granter = granter
        self._audience = audience
        self._room = room
        self._heartbeat = heartbeat
        self.trouble: BusError | None = None  # why nothing moves at the moment
        self.failed: BusError | None = None  # why nothing will ever move again
        self._queue: deque[Gathering] = deque()
        self._in_hand: Gathering | None = None
        self._wake = asyncio.Event()
        self._closing = False
        self._next_state = "open"
        self._previous = ids.first_previous(node.realm, *lineage)
        self._sequence = 0
        self._sealed_at = 0
        self._task = asyncio.create_task(self._run(), name=f"feed {lineage.channel}/{lineage.partition}")

    @property
    def waiting(self) -> int:
        """Events that are not acknowledged."""
        return sum(len(gathering.events) for gathering in self._queue)

    def add(self, content: Content, encoded: bytes, reference: Reference) -> tuple[Gathering, int]:
        """Put an event into the next frame that takes it.

        Raises:
            EventError: `reference-reused`.
            StateError: the state can't be trusted; the feed has ended.
        """
        if self.failed is not None:
            raise self.failed
        if not self._queue or not self._queue[-1].takes(content, len(encoded)) or self._queue[-1] is self._in_hand:
            self._queue.append(Gathering(content))
        gathering = self._queue[-1]
        index = gathering.add(encoded, reference)
        self._wake.set()
        return gathering, index

    async def close(self, seconds: float) -> None:
        """Send what waits, close the lineage, end. What is not acknowledged in time stays in the journal."""
        self._closing = True
        self._wake.set()
        done, _ = await asyncio.wait({self._task}, timeout=seconds)
        if not done:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._fail(TransportError("not-accepted", "the publisher was closed"))

    # --- the loop

    async def _run(self) -> None:
        try:
            await self._work()
        except BusError as error:  # a state that can't be trusted: no number may be spent any more
            self._end(error)
        except Exception as error:
            self._end(StateError("state-misuse", f"a bug of this program: {type(error).__name__}"))
            raise

    def _end(self, error: BusError) -> None:
        _log.critical("feed-ended", channel=self.lineage.channel, code=error.code, what=error.what)
        self.failed = error
        self._fail(error)

    def _fail(self, error: BusError) -> None:
        for gathering in self._queue:
            _settle(gathering, error)

    async def _work(self) -> None:
        await self._until_done(self._prepare)
        while True:
            await self._wait()
            if self._queue:
                self._in_hand = self._queue[0]
                await self._publish(self._in_hand)
                self._queue.popleft()
                self._in_hand = None
            elif self._closing:
                if self._sequence:
                    await self._checkpoint("close")
                return
            else:
                await self._checkpoint()

    async def _wait(self) -> None:
        if self._queue or self._closing:
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(self._heartbeat):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _prepare(self) -> None:
        """Go on where this writer stopped: by its state, or by what it finds of its own on the broker."""
        channel, partition = self.lineage.channel, self.lineage.partition
        row = self._state.lineage(channel, partition)
        since = None if row is None or row.offset is None else row.offset + 1
        own = await own_records(self._node, self.lineage, since)
        newest = own[max(own)] if own else None
        flying = next((f for f in self._state.in_flight() if (f.channel, f.partition) == (channel, partition)), None)
        if newest is not None and (row is None or newest.sequence > row.sequence):
            self._state.adopt(channel, partition, **newest._asdict())
            self._next_state = "recovered"
            _log.warning("writer-recovered", channel=channel, partition=partition, sequence=newest.sequence)
        elif row is not None and row.sequence in own and own[row.sequence].digest != row.digest:
            raise StateError("state-cloned", f"record {row.sequence} on the broker is not the one of this state")
        elif flying is not None:
            there = own.get(flying.sequence)
            offset = there.offset if there else await self._send(flying.record)
            await self._acknowledge(offset)
            _log.info("resent", channel=channel, partition=partition, sequence=flying.sequence, found=bool(there))
        if row := self._state.lineage(channel, partition):
            self._sequence, self._previous, self._sealed_at = row.sequence + 1, row.digest, row.sealed_at
            if not self._queue:
                await self._checkpoint()  # readers see at once that the feed lives, and what they may have missed

    async def _publish(self, gathering: Gathering) -> None:
        """Seal a gathering, journal it, send it, tell who waits."""
        try:
            known = self._repeats(gathering)
            record = await self._seal(gathering, known)
        except BusError as error:
            _settle(gathering, error)
        else:
            if record is None:
                _settle(gathering, Fate(None, known))
            else:
                placed = await self._deliver(record)
                self.frames += 1
                self.events += len(gathering.events) - len(known)
                _settle(gathering, Fate(placed, known))
                await self._acknowledge(placed.offset)
        finally:
            self._room.give(gathering.size)

    def _repeats(self, gathering: Gathering) -> dict[int, Reference]:
        """Events that were published before, by index; those whose reference means something else fail alone."""
        found = self._state.references([reference.key for reference in gathering.references])
        if not found:
            return {}
        return {
            index: found[reference.key]
            for index, reference in enumerate(gathering.references)
            if reference.key in found
        }

    async def _seal(self, gathering: Gathering, known: dict[int, Reference]) -> Record | None:
        """Seal and journal in a thread; None if nothing new is left."""
        new = [index for index in range(len(gathering.events)) if index not in known]
        if not new:
            return None
        at = max(self._node.now(), self._sealed_at)
        self._node.check_signer(at)
        audience = self._audience(gathering.content, at)
        key = await self._granter.key(audience, at)
        events = [gathering.events[index] for index in new]
        references = [gathering.references[index] for index in new]
        # The directory that gave the audience, not the newest one: it may have changed while the key was granted.
        link = self._link(at, directory=audience.directory)

        def work() -> Record:
            record = sealer.seal_frame(link, gathering.content, events, key.key, self._node.keyring.signer)
            self._journal(record, link, references)
            return record

        return await asyncio.to_thread(work)

    async def _checkpoint(self, state: str | None = None) -> None:
        at = max(self._node.now(), self._sealed_at)
        link = self._link(at, directory=self._node.directory.digest, state=state)

        def work() -> Record:
            record = sealer.seal_checkpoint(link, self._node.keyring.signer)
            self._journal(record, link, [])
            return record

        placed = await self._deliver(await self._until_done(lambda: asyncio.to_thread(work)))
        await self._acknowledge(placed.offset)

    def _link(self, at: int, *, directory: bytes, state: str | None = None) -> Link:
        return Link(
            realm=self._node.realm,
            endpoint=self.lineage.endpoint,
            writer=self.lineage.writer,
            channel=self.lineage.channel,
            partition=self.lineage.partition,
            sequence=self._sequence,
            previous=self._previous,
            previous_sealed_at=self._sealed_at,
            sealed_at=at,
            directory=directory,
            state=state or self._next_state,
        )

    def _journal(self, record: Record, link: Link, references: list[Reference]) -> None:
        self._state.begin(
            link.channel,
            link.partition,
            sequence=link.sequence,
            digest=record.digest,
            sealed_at=link.sealed_at,
            record=record.encode(),
            references=references,
        )

    async def _deliver(self, record: Record) -> Placed:
        """Send until acknowledged. From here on the number is spent, whatever happens."""
        sequence = self._sequence
        header = record.header
        self._sequence, self._previous, self._sealed_at = sequence + 1, record.digest, header.sealed_at
        self._next_state = "run"
        offset = await self._send(record.encode())
        return Placed(self.lineage.channel, self.lineage.partition, offset, sequence)

    async def _acknowledge(self, offset: int) -> None:
        """Note that a quorum has the record: after those who wait were told, for a full disk takes nothing back."""

        async def work() -> None:
            self._state.acknowledged(self.lineage.channel, self.lineage.partition, offset)

        await self._until_done(work)

    async def _send(self, record: bytes) -> int:
        channel, partition = self.lineage.channel, self.lineage.partition
        return await self._until_done(lambda: self._writer.send(channel, partition, record, deadline=ATTEMPT_SECONDS))

    async def _until_done(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Try again for ever: brokers come back, disks get space. Each failure is told to those who wait."""
        async for attempt in stamina.retry_context(
            on=_passes, attempts=None, timeout=None, wait_max=LONGEST_WAIT_SECONDS
        ):
            with attempt:
                try:
                    done = await work()
                except (TransportError, StateError) as error:
                    self._tell(error)
                    raise
        self.trouble = None
        return done

    def _tell(self, error: BusError) -> None:
        _log.warning("not-sent-yet", channel=self.lineage.channel, code=error.code, what=error.what)
        self.trouble = error
        if self._in_hand is not None:
            _settle(self._in_hand, error)


def _passes(error: Exception) -> bool:
    """Whether time may mend it. A damaged or cloned state it does not."""
    return isinstance(error, TransportError) or (isinstance(error, StateError) and error.code == "state-full")


def _settle(gathering: Gathering, fate: Fate | BusError) -> None:
    if gathering.done.done():
        return
    if isinstance(fate, BusError):
        gathering.done.set_exception(fate)
        gathering.done.exception()  # read here: nobody may be waiting any more
    else:
        gathering.done.set_result(fate)
