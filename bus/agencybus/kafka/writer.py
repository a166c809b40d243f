"""Writing records: acknowledged by a quorum, or a documented error within a deadline, and nothing in between.

aiokafka's idempotent producer does not recover from every error: a refused batch leaves its sequence number one ahead
of the broker's for ever, one that can't be delivered is retried for ever, and `stop()` waits for it. So a producer
that showed any error is thrown away whole, and the same bytes are sent again through a new one. The same record may
then lie in the topic twice; readers know it by its digest.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import stamina
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import DuplicateSequenceNumber, KafkaConnectionError, KafkaError

from agencybus.errors import ConfigError, TransportError
from agencybus.kafka.faults import diagnose, translate
from agencybus.kafka.internals import dispose_producer, patiently
from agencybus.wire.limits import KIB, RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agencybus.kafka.connection import KafkaSettings

DEADLINE_SECONDS: Final = 30.0  # an ordinary change of leader took 11 s
ATTEMPT_SECONDS: Final = 12.0  # of one producer with one record: a request that is not answered, and its second try
CLOSE_SECONDS: Final = 10.0
# A batch and a request hold a full record with its key, and stay below the topics' message.max.bytes of 700 KiB:
# what the broker would refuse is refused here, before it costs a sequence number.
BATCH_BYTES: Final = RECORD_BYTES + 16 * KIB

_log = structlog.get_logger(__name__)


class RecordWriter:
    """Sends records to explicit partitions over one producer at a time, each bounded by a deadline.

    Sends to different partitions run in parallel. Sends to one partition must be awaited one after the other: that is
    what keeps order through a rebuild.

    Args:
        settings: the Kafka and the way to it.
        deadline: seconds that a send may take, unless it says otherwise.
        attempt: seconds that one producer gets for one record before it is thrown away.

    Attributes:
        rebuilds: how often a producer was replaced.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        deadline: float = DEADLINE_SECONDS,
        attempt: float = ATTEMPT_SECONDS,
    ) -> None:
        self.rebuilds = 0
        self._settings = settings
        self._deadline = deadline
        self._attempt = attempt
        self._current: _Generation | None = None
        self._alive: set[_Generation] = set()  # the current one, and old ones that others still wait on
        self._disposals: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Connects now, to fail early. Not needed before `send`, and a failure leaves the writer usable.

        Raises:
            ConfigError: a TLS file can't be used.
            TransportError: `broker-unreachable` or `broker-refused`, with the reason.
        """
        generation = self._use()
        try:
            async with generation.attempt(self._attempt):
                await generation.ready()
        except Exception as error:
            self._retire(generation)
            raise await diagnose(self._settings, translate(error, self._settings.bootstrap)) from error
        finally:
            self._sweep(generation)

    async def send(
        self, topic: str, partition: int, value: bytes, key: bytes | None = None, *, deadline: float | None = None
    ) -> int:
        """Writes one record and returns its offset when a quorum has it. Always the same bytes, however often.

        After an error or a cancellation it is not known whether the record is in the topic: send the same bytes again.

        Args:
            topic: the channel.
            partition: partition of it.
            value: the record.
            key: Kafka's own; no reader of this bus looks at it.
            deadline: seconds for all attempts; the writer's own if None.

        Raises:
            ConfigError: a TLS file can't be used.
            TransportError: `broker-refused` at once; `topic-missing` or `not-accepted` at the deadline.
        """
        where = f"{topic}[{partition}]"
        seconds = self._deadline if deadline is None else deadline
        last = TransportError("broker-unreachable", "no answer", where=where)
        try:
            async with asyncio.timeout(seconds):
                async for attempt in stamina.retry_context(
                    on=self._worth_another,
                    attempts=None,
                    timeout=None,
                    wait_initial=0.05,
                    wait_max=1.0,
                    wait_jitter=0.1,
                ):
                    with attempt:
                        try:
                            return await self._once(topic, partition, value, key)
                        except ConfigError:
                            raise
                        except Exception as error:
                            last = translate(error, where)
                            raise last from error
        except (TimeoutError, TransportError):
            pass  # out of time, or another attempt makes no sense: `last` says why
        if last.code != "broker-unreachable":
            raise last
        reason = await diagnose(self._settings, last)
        raise TransportError(
            "not-accepted", f"not acknowledged within {seconds:g} s: {reason.what}", where=where, hint=reason.hint
        ) from reason

    async def close(self) -> None:
        """Ends everything, bounded; sends that are still waiting fail with `not-accepted`."""
        self._closed = True
        self._current = None
        for generation in tuple(self._alive):
            generation.hurry()
            self._dispose(generation)
        if self._disposals:
            await asyncio.wait(self._disposals, timeout=CLOSE_SECONDS)

    def _worth_another(self, error: Exception) -> bool:
        return isinstance(error, TransportError) and error.code != "broker-refused" and not self._closed

    async def _once(self, topic: str, partition: int, value: bytes, key: bytes | None) -> int:
        generation = self._use()
        try:
            async with generation.attempt(self._attempt):
                return await generation.send(topic, partition, value, key)
        except TransportError:
            raise  # the producer was not given the record: it is as good as before
        except BaseException:
            # Also when the caller was cancelled: the producer must not go on with a record that was given up.
            self._retire(generation)
            raise
        finally:
            self._sweep(generation)

    # --- one producer at a time

    def _use(self) -> _Generation:
        """The current generation; a new one if the last one failed. Whoever comes first makes it, for all."""
        if self._closed:
            raise TransportError("not-accepted", "the writer is closed", where=self._settings.bootstrap)
        if self._current is None:
            self._current = _Generation(self._settings)
            self._alive.add(self._current)
        return self._current

    def _retire(self, generation: _Generation) -> None:
        """No new sends for it. Those in flight go on: other partitions' sequence numbers are not affected."""
        if generation is self._current:
            self._current = None
            self.rebuilds += 1
            _log.warning("producer-abandoned", bootstrap=self._settings.bootstrap, rebuilds=self.rebuilds)

    def _sweep(self, generation: _Generation) -> None:
        if generation is not self._current and not generation.attempts:
            self._dispose(generation)

    def _dispose(self, generation: _Generation) -> None:
        if generation in self._alive:
            self._alive.remove(generation)
            task = asyncio.create_task(generation.dispose())
            self._disposals.add(task)
            task.add_done_callback(self._disposals.discard)


class _Generation:
    """One producer, and who waits on it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.attempts: set[asyncio.Timeout] = set()
        self._producer = AIOKafkaProducer(
            **settings.client_options(),
            client_id="agencybus-writer",
            acks="all",
            enable_idempotence=True,
            linger_ms=0,  # the publisher gathers while a frame is in flight; waiting here would only add to it
            compression_type=None,  # frames are compressed before they are sealed; readers refuse compressed batches
            max_batch_size=BATCH_BYTES,
            max_request_size=BATCH_BYTES,
        )
        self._starting = asyncio.create_task(self._producer.start())

    @contextlib.asynccontextmanager
    async def attempt(self, seconds: float) -> AsyncIterator[None]:
        """Bounds what is done with the producer, and counts it as used meanwhile."""
        async with asyncio.timeout(seconds) as limit:
            self.attempts.add(limit)
            try:
                yield
            finally:
                self.attempts.discard(limit)

    def hurry(self) -> None:
        """Ends all attempts now, with TimeoutError."""
        for limit in self.attempts:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    async def ready(self) -> None:
        """Waits until the producer is connected. All who wait share its success or failure."""
        await asyncio.shield(self._starting)

    async def send(self, topic: str, partition: int, value: bytes, key: bytes | None) -> int:
        """Sends once.

        Raises:
            TransportError: topic or partition is not there; nothing was given to the producer.
        """
        await self.ready()
        where = f"{topic}[{partition}]"
        try:
            partitions = await self._producer.partitions_for(topic)
        except KafkaError as error:
            # aiokafka says "unknown topic" also when nobody answered what topics there are.
            if not await self._producer.client.force_metadata_update():
                raise KafkaConnectionError from error
            raise translate(error, where) from error
        if partition not in partitions:  # aiokafka would assert, or wait for a leader that never comes
            raise TransportError("topic-missing", f"the topic has partitions {sorted(partitions)}", where=where)
        sent = await self._producer.send_and_wait(topic, value, key, partition)
        if sent.offset < 0:  # the broker knew it as a repetition and had forgotten where the first one lies
            raise DuplicateSequenceNumber
        return int(sent.offset)

    async def dispose(self) -> None:
        """Throws the producer away, bounded."""
        self._starting.cancel()
        await patiently(self._starting)
        await dispose_producer(self._producer)
