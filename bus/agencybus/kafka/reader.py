"""Reading records: by hand-made assignment, in order, nothing skipped silently, nothing unpacked, and never stuck.

Where reading stands is known here and not left to aiokafka, which moves its own positions past what it could not parse,
and stops fetching for ever when its background task dies. Kafka's groups and commits take no part: the state of the
caller says where to go on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, TopicAuthorizationFailedError

from agencybus.errors import TransportError
from agencybus.kafka import internals
from agencybus.kafka.faults import diagnose, translate
from agencybus.kafka.records import Place, Position, RawRecord, Since
from agencybus.kafka.watchdog import Watchdog
from agencybus.wire.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from aiokafka.structs import ConsumerRecord

    from agencybus.kafka.connection import KafkaSettings

STALL_SECONDS: Final = 15.0  # records may wait this long in a partition that gives nothing: a change of leader takes 11
START_SECONDS: Final = 15.0  # connect, find the topics, find the positions
ASK_SECONDS: Final = 10.0  # for questions about offsets
REBUILD_PAUSE_SECONDS: Final = 1.0  # between attempts to rebuild
PARTITION_BYTES: Final = (
    2 * MIB
)  # fetched ahead per partition: three of the biggest records; times partitions is memory
FETCH_BYTES: Final = 16 * MIB  # of one answer of one broker
RECORDS: Final = 512  # handed out at once
BATCH_TRIES: Final = 3  # a damaged batch is fetched this often before it is given up: the network may have done it

_log = structlog.get_logger(__name__)

internals.refuse_compressed_batches()


class RecordReader:
    """Reads the given partitions. One task calls `fetch` and `seek`; the rest may be called from anywhere.

    Args:
        settings: the Kafka and the way to it.
        stall: seconds that records may wait without progress before the consumer is rebuilt.
        partition_bytes: fetched ahead per partition; a bigger record still comes, alone.

    Attributes:
        rebuilds: how often the consumer was replaced.
    """

    def __init__(
        self, settings: KafkaSettings, *, stall: float = STALL_SECONDS, partition_bytes: int = PARTITION_BYTES
    ) -> None:
        self.rebuilds = 0
        self._settings = settings
        self._partition_bytes = partition_bytes
        self._watchdog = Watchdog(stall)
        self._consumer: AIOKafkaConsumer | None = None
        self._next: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._busy: set[Place] = set()  # partitions that gave something in the last pass, or were not asked
        self._one_by_one: set[Place] = set()  # partitions with damage ahead
        self._tries: dict[Place, int] = {}
        self._failure: TransportError | None = None
        self._stalled = ""  # why the consumer is to be rebuilt
        self._check: asyncio.Task[None] | None = None
        self._check_at = 0.0
        self._rebuild_at = 0.0
        self._disposals: set[asyncio.Task[None]] = set()

    async def start(self, positions: Mapping[Place, Position]) -> None:
        """Connects and takes the positions: an offset, `earliest`, `latest` (what comes from now on) or a time.

        Raises:
            ConfigError: a TLS file can't be used.
            TransportError: `topic-missing`, `broker-refused` or `broker-unreachable`, with the reason.
        """
        self._consumer, self._next = await self._open(positions)

    async def close(self) -> None:
        """Ends everything, bounded."""
        consumer, self._consumer = self._consumer, None
        if self._check is not None:
            self._check.cancel()
            await internals.patiently(self._check)
        if consumer is not None:
            self._dispose(consumer)
        if self._disposals:
            await asyncio.wait(self._disposals)  # each is bounded

    def positions(self) -> dict[Place, int]:
        """Offset of the next record of each partition that `fetch` has not handed out."""
        return dict(self._next)

    async def end_offsets(self) -> dict[Place, int]:
        """Offset after the last record of each partition, now.

        Raises:
            TransportError: `broker-unreachable`; ask again.
        """
        return await self._offsets(self._next, "end_offsets")

    async def beginning_offsets(self) -> dict[Place, int]:
        """Offset of the first record that the broker still has, for each partition.

        Raises:
            TransportError: `broker-unreachable`; ask again.
        """
        return await self._offsets(self._next, "beginning_offsets")

    def pause(self, topic: str, partition: int) -> None:
        """Nothing more of this partition, until `resume`."""
        self._paused.add((topic, partition))
        self._running().pause(TopicPartition(topic, partition))

    def resume(self, topic: str, partition: int) -> None:
        """Goes on with a paused partition."""
        self._paused.discard((topic, partition))
        self._watchdog.forget((topic, partition))
        self._running().resume(TopicPartition(topic, partition))

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Goes on at another offset."""
        self._running().seek(TopicPartition(topic, partition), offset)
        self._next[topic, partition] = offset
        self._watchdog.forget((topic, partition))

    async def fetch(self, seconds: float) -> list[RawRecord]:
        """The next records, in offset order within each partition; empty if none came in time.

        Positions move when this returns: after an exception or a cancellation nothing is lost.

        Args:
            seconds: how long to wait for the first. A rebuild of the consumer may take START_SECONDS more.

        Raises:
            TransportError: `offset-lost` if the topic was truncated or made anew below the position;
                `broker-refused` if the ACLs say no; `broker-unreachable` if a rebuild fails, then call again.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            alive = internals.fetching(self._running())
            if not alive:
                self._stalled = "the background fetch died"
            if self._stalled and loop.time() >= self._rebuild_at:
                await self._rebuild()
                alive = True
            records = await self._pass()
            self._watch(loop.time())
            left = deadline - loop.time()
            if records or left <= 0:
                return records
            if not alive:  # and to be rebuilt a little later; there is nothing to wait for
                await asyncio.sleep(min(left, REBUILD_PAUSE_SECONDS / 4))
            elif self._failure is None:
                await internals.something_fetched(self._running(), min(left, self._watchdog.stall / 4))

    # --- one pass over what was fetched

    async def _pass(self) -> list[RawRecord]:
        """Takes what has arrived, partition by partition: one that is damaged must not cost another's records."""
        places = [place for place in internals.fetched(self._running()) if place not in self._paused]
        self._busy = set(places)
        before = dict(self._next)
        records: list[RawRecord] = []
        size = 0
        try:
            for place in places:  # in the order of their arrival, so that none starves
                taken = await self._take(place, RECORDS - len(records))
                if not taken:
                    self._busy.discard(place)
                records += taken
                size += sum(len(record.value or b"") for record in taken)
                if len(records) >= RECORDS or size >= FETCH_BYTES:
                    break
        except BaseException:
            for place, offset in before.items():
                if self._next[place] != offset and self._consumer is not None:
                    self.seek(*place, offset)
            raise
        return records

    async def _take(self, place: TopicPartition, room: int) -> list[RawRecord]:
        consumer = self._running()
        taken: list[RawRecord] = []
        while len(taken) < room:
            careful = place in self._one_by_one
            try:
                found = await consumer.getmany(place, timeout_ms=0, max_records=1 if careful else room)
            except OffsetOutOfRangeError:
                await self._judge_lost_offset(consumer, place)
                break
            except TopicAuthorizationFailedError as error:
                self._failure = translate(error, f"{place.topic}[{place.partition}]")
                break
            except Exception as error:  # noqa: BLE001  # parsers make SystemError, OverflowError, ... of damaged bytes
                # aiokafka may have moved on and drops the good records before the damage: go back, then one by one.
                self._running().seek(place, self._next[place])
                if careful:
                    taken += await self._step_over(consumer, place, error)
                else:
                    self._one_by_one.add(place)
                break
            taken += [_raw(record) for record in found.get(place, ())]
            # Not the last record's offset: there may be compacted records and control batches behind it.
            self._next[place] = await consumer.position(place)
            if not careful or not found:
                break
        return taken

    async def _step_over(self, consumer: AIOKafkaConsumer, place: TopicPartition, error: Exception) -> list[RawRecord]:
        """Gives a damaged batch up when it has been fetched often enough, and says so in its place."""
        offset = self._next[place]
        self._tries[place] = self._tries.get(place, 0) + 1
        if self._tries[place] < BATCH_TRIES and not isinstance(error, internals.CompressedBatchError):
            return []
        try:
            code, after = await internals.locate_damage(consumer, place, offset, self._partition_bytes)
        except (KafkaError, TimeoutError, LookupError):
            return []  # the next pass comes here again
        _log.warning(code, topic=place.topic, partition=place.partition, offset=offset, next_offset=after)
        consumer.seek(place, after)
        self._next[place] = after
        self._one_by_one.discard(place)
        self._tries.pop(place)
        return [RawRecord(place.topic, place.partition, offset, 0, None, None, code, after - offset)]

    async def _judge_lost_offset(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
        """Believes that an offset is lost only when the offsets that there are say so as well."""
        offset = self._next[place]
        consumer.seek(place, offset)
        try:
            first = (await self._offsets([place], "beginning_offsets"))[place]
            end = (await self._offsets([place], "end_offsets"))[place]
        except TransportError:
            return
        if not first <= offset <= end:
            self._failure = TransportError(
                "offset-lost",
                f"record {offset} is next, the topic holds {first} to before {end}",
                where=f"{place.topic}[{place.partition}]",
            )

    # --- staying alive

    def _watch(self, now: float) -> None:
        """Has a look for stalled partitions, every now and then, beside the reading.

        It comes after a pass: what has waited because the caller was busy is no longer idle then.
        """
        if now >= self._check_at and (self._check is None or self._check.done()):
            self._check_at = now + self._watchdog.stall / 4
            self._check = asyncio.create_task(
                self._look_for_stall(self._running(), self._next.keys() - self._paused - self._busy)
            )

    async def _look_for_stall(self, consumer: AIOKafkaConsumer, places: AbstractSet[Place]) -> None:
        clock = asyncio.get_running_loop().time
        asked = clock()
        seen = {place: self._next[place] for place in places}
        try:
            ends = await self._offsets(places, "end_offsets")
        except TransportError:
            if self._watchdog.unanswered(asked, clock()):
                self._stalled = "no broker answers"
            return
        if consumer is not self._consumer:
            return
        stalled = [place for place, end in ends.items() if self._watchdog.saw(place, seen[place], end, clock())]
        # Also back to nothing: brokers that answer again, or records that came at last, need no rebuild.
        self._stalled = f"records wait in {stalled[0][0]}[{stalled[0][1]}]" if stalled else ""

    async def _rebuild(self) -> None:
        """Replaces the consumer by a new one at the same positions. The old one stays until that has worked."""
        self._rebuild_at = asyncio.get_running_loop().time() + REBUILD_PAUSE_SECONDS
        new, _ = await self._open(self._next)
        old, self._consumer = self._running(), new
        self._dispose(old)
        for place in self._paused:
            new.pause(TopicPartition(*place))
        self.rebuilds += 1
        _log.warning("broker-stalled", reason=self._stalled, rebuilds=self.rebuilds)
        self._stalled = ""
        self._watchdog = Watchdog(self._watchdog.stall)
        self._one_by_one.clear()
        self._tries.clear()

    async def _open(self, positions: Mapping[Place, Position]) -> tuple[AIOKafkaConsumer, dict[Place, int]]:
        consumer = AIOKafkaConsumer(
            **self._settings.client_options(),
            client_id="agencybus-reader",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",  # a lost position is an operator's matter, never a silent jump
            check_crcs=True,
            max_partition_fetch_bytes=self._partition_bytes,
            fetch_max_bytes=FETCH_BYTES,
        )
        places = [TopicPartition(*place) for place in positions]
        try:
            async with asyncio.timeout(START_SECONDS):
                consumer.assign(places)
                await consumer.start()
                for place in places:  # before the first fetch: there is no await in between
                    position = positions[place]
                    consumer.seek(place, position if isinstance(position, int) else 0)
                    if not isinstance(position, int):
                        consumer.pause(place)
                return consumer, await _resolve(consumer, positions)
        except BaseException as error:
            self._dispose(consumer)
            if not isinstance(error, Exception):
                raise
            topics = ", ".join(sorted({place.topic for place in places}))
            raise await diagnose(self._settings, translate(error, topics)) from error

    def _dispose(self, consumer: AIOKafkaConsumer) -> None:
        task = asyncio.create_task(internals.dispose_consumer(consumer))
        self._disposals.add(task)
        task.add_done_callback(self._disposals.discard)

    def _running(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise TransportError("broker-unreachable", "the reader is not started, or closed")
        return self._consumer

    async def _offsets(self, places: Iterable[Place], question: str) -> dict[Place, int]:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                answer = await getattr(self._running(), question)([TopicPartition(*place) for place in places])
        except Exception as error:
            raise translate(error, self._settings.bootstrap) from error
        return {(place.topic, place.partition): offset for place, offset in answer.items()}


async def _resolve(consumer: AIOKafkaConsumer, positions: Mapping[Place, Position]) -> dict[Place, int]:
    """Makes offsets of all positions and lets the consumer go on from them."""
    for topic, partition in positions:
        known = consumer.partitions_for_topic(topic) or set()
        if partition not in known:
            raise TransportError("topic-missing", f"the topic has partitions {sorted(known)}", where=topic)
    places = [TopicPartition(*place) for place, position in positions.items() if not isinstance(position, int)]
    times = {place: p.at // 1000 for place in places if isinstance(p := positions[place], Since)}
    starts = await consumer.beginning_offsets([place for place in places if positions[place] == "earliest"])
    since = {place: found.offset for place, found in (await consumer.offsets_for_times(times)).items() if found}
    # Nothing since then: what comes from now on.
    ends = await consumer.end_offsets([place for place in places if place not in starts and place not in since])
    for place, offset in (starts | since | ends).items():
        consumer.seek(place, offset)
        consumer.resume(place)
    resolved: dict[Place, int] = {}
    for topic, partition in positions:
        resolved[topic, partition] = await consumer.position(TopicPartition(topic, partition))
    return resolved


def _raw(record: ConsumerRecord) -> RawRecord:
    return RawRecord(record.topic, record.partition, record.offset, record.timestamp * 1000, record.key, record.value)
