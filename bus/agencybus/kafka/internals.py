"""Every private name of aiokafka that we touch, in one place.

aiokafka has no public way to refuse compressed batches, to see a dead fetch task, or to throw a stuck client
away. `tests/unit/test_kafka_internals.py` fails when an upgrade moves one of the names, and the requirement is
pinned below 0.15.
"""

# ruff: noqa: SLF001

from __future__ import annotations

import asyncio
import importlib
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.util import calc_crc32c

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

DISPOSE_SECONDS: Final = 3.0  # for each part of throwing a client away; what hangs longer is left to the collector
LOCATE_SECONDS: Final = 5.0  # for the one extra fetch that finds where a damaged batch ends

# Module of aiokafka -> the functions it unpacks batches with, found by name at every call.
DECODERS: Final = {
    "aiokafka.record._crecords.default_records": ("gzip_decode", "lz4_decode", "snappy_decode", "zstd_decode"),
    "aiokafka.record._crecords.legacy_records": ("gzip_decode", "lz4_decode", "snappy_decode"),
    "aiokafka.record.default_records": ("gzip_decode", "lz4_decode", "snappy_decode", "zstd_decode"),
    "aiokafka.record.legacy_records": ("gzip_decode", "lz4_decode", "snappy_decode"),
}


class CompressedBatchError(CorruptRecordException):  # type: ignore[misc]  # aiokafka is untyped
    """A batch was about to be unpacked. 33 KB of zstd become 1 GiB before any signature could be checked."""


def _refuse(*_: object) -> NoReturn:
    raise CompressedBatchError("compressed Kafka batches are refused")


def refuse_compressed_batches() -> None:
    """Makes aiokafka raise `CompressedBatchError` instead of unpacking, in this whole process, for ever.

    Raises:
        ImportError: this aiokafka unpacks somewhere else; reading with it would not be safe.
    """
    for module_name, names in DECODERS.items():
        module = importlib.import_module(module_name)
        for name in names:
            if not hasattr(module, name):
                raise ImportError(f"{module_name}.{name} is gone: this version of aiokafka is not supported")
            setattr(module, name, _refuse)


# --- clients that may be stuck


async def patiently(doing: Awaitable[object]) -> None:
    """Awaits for `DISPOSE_SECONDS` at most and swallows what it raises: nobody can act on it any more."""
    task = asyncio.ensure_future(doing)
    await asyncio.wait({task}, timeout=DISPOSE_SECONDS)
    if not task.done():
        task.cancel()
    elif not task.cancelled():
        task.exception()  # looked at, so that asyncio does not warn


async def dispose_producer(producer: AIOKafkaProducer) -> None:
    """Throws a producer away, without a flush; bounded.

    `stop()` flushes first, which never ends while a batch can't be delivered, and an idempotent sender retries
    for ever. So: stop the sender, close the connections, and let the requests in flight end on that.
    """
    producer._closed = True
    sender = producer._sender.sender_task
    if sender is not None:
        sender.cancel()
    await patiently(producer.client.close())
    if sender is None:
        return
    deadline = asyncio.get_running_loop().time() + DISPOSE_SECONDS
    while not sender.done() and asyncio.get_running_loop().time() < deadline:
        # A request that failed waits for fresh metadata, which the closed client will never have.
        metadata = producer.client._md_update_fut
        if metadata is not None and not metadata.done():
            metadata.set_result(False)
        await asyncio.wait({sender}, timeout=0.02)
    if sender.done() and not sender.cancelled():
        sender.exception()


async def dispose_consumer(consumer: AIOKafkaConsumer) -> None:
    """Throws a consumer away; bounded. `stop()` alone may raise or hang before it closes its connections."""
    await patiently(consumer.stop())
    await patiently(consumer._client.close())


def fetching(consumer: AIOKafkaConsumer) -> bool:
    """Whether the background fetch is alive. When it dies, `getmany()` answers "nothing" for ever."""
    return consumer._fetcher is not None and not consumer._fetcher._fetch_task.done()


def fetched(consumer: AIOKafkaConsumer) -> list[TopicPartition]:
    """The partitions for which `getmany()` would give or raise something now, in the order of arrival."""
    return list(consumer._fetcher._records)


async def something_fetched(consumer: AIOKafkaConsumer, seconds: float) -> None:
    """Waits for anything that `getmany()` would give or raise, or the end of the background fetch."""
    fetcher = consumer._fetcher
    waiter = fetcher._create_fetch_waiter()
    try:
        await asyncio.wait({waiter, fetcher._fetch_task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()


# --- damaged batches

# Base offset, length, leader epoch, magic, CRC, attributes, last offset delta (KIP-98, message format 2).
_BATCH: Final = struct.Struct(">qiibIhi")
_BATCH_HEADER_BYTES: Final = 61
_MAGIC: Final = 2
_LENGTH_FROM: Final = 12  # the length counts what follows it
_CRC_FROM: Final = 21  # the CRC covers the attributes and what follows
_COMPRESSED: Final = 0x07  # bits of the attributes: any codec but "none"


async def locate_damage(consumer: AIOKafkaConsumer, place: TopicPartition, offset: int, size: int) -> tuple[str, int]:
    """Fetches the batch at an offset that can't be parsed, raw, and finds where reading can go on.

    Args:
        consumer: whose connection is used.
        place: topic and partition.
        offset: the first record that can't be had.
        size: bytes to fetch.

    Returns:
        The code, `batch-compressed` or `batch-corrupt`, and the next offset, which is above `offset`.

    Raises:
        KafkaError, TimeoutError: the broker did not answer.
    """
    client = consumer._client
    request = FetchRequest(
        max_wait_time=500,
        min_bytes=1,
        max_bytes=size,
        isolation_level=0,
        topics=[(place.topic, [(place.partition, offset, size)])],
    )
    async with asyncio.timeout(LOCATE_SECONDS):
        response = await client.send(client.cluster.leader_for_partition(place), request)
    return judge_damage(response.topics[0][1][0][-1] or b"", offset)


def judge_damage(fetched: bytes, offset: int) -> tuple[str, int]:
    """`locate_damage` for the fetched bytes.

    Boundaries are taken from batches whose CRC holds and from nothing else: a damaged header must not make us
    jump. Where none is in sight, or the batch looks sound and yet was refused, one offset is stepped over.
    """
    after = offset + 1
    batches = _batches(fetched)
    first = next(batches, None)
    if first is None:
        return "batch-corrupt", after
    if first.sound:
        return ("batch-compressed", max(first.end, after)) if first.compressed else ("batch-corrupt", after)
    following = next((batch.base for batch in batches if batch.sound), after)
    return "batch-corrupt", max(following, after)


class _Batch(NamedTuple):
    sound: bool  # the CRC holds
    base: int  # first offset
    end: int  # offset after the last
    compressed: bool


def _batches(fetched: bytes) -> Iterator[_Batch]:
    at = 0
    while at + _BATCH_HEADER_BYTES <= len(fetched):
        base, length, _, magic, crc, attributes, last = _BATCH.unpack_from(fetched, at)
        end = at + _LENGTH_FROM + length
        if length < _BATCH_HEADER_BYTES - _LENGTH_FROM or end > len(fetched):
            return
        sound = magic == _MAGIC and calc_crc32c(fetched[at + _CRC_FROM : end]) == crc
        yield _Batch(sound, base, base + last + 1, bool(attributes & _COMPRESSED))
        at = end
