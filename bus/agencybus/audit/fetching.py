"""Single records out of a topic, with those in front of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agencybus.errors import ConfigError, TransportError
from agencybus.kafka.connection import KafkaSettings
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import RawRecord
from agencybus.wire.limits import MIB

FETCH_SECONDS: Final = 10.0  # for the next records that the broker says it has
KEPT_BYTES: Final = 64 * MIB  # of records in front; the nearest are kept


@dataclass(frozen=True, slots=True)
class Around:
    """A record, and what lies in front of it.

    Attributes:
        raw: the record.
        before: records in front of it, oldest first; damaged batches are not among them.
    """

    raw: RawRecord
    before: Sequence[bytes]


async def fetch(settings: KafkaSettings, topic: str, partition: int, offset: int, *, back: int) -> Around:
    """Read one record of a topic.

    Args:
        settings: the way to the brokers.
        topic: the topic.
        partition: of it.
        offset: of the record.
        back: read so many offsets in front of it as well.

    Raises:
        ConfigError: `usage`: the topic has no record there.
        TransportError: `topic-missing`, `broker-refused`, `broker-unreachable`; or why the batch can't be had.
    """
    place = (topic, partition)
    reader = RecordReader(settings)
    try:
        await reader.start({place: max(0, offset - back)})
        first, end = (await reader.beginning_offsets())[place], (await reader.end_offsets())[place]
        if not first <= offset < end:
            holds = f"it holds {first} to {end - 1}" if end > first else "it is empty"
            raise ConfigError("usage", f"there is no record {offset}, {holds}", where=f"{topic}/{partition}")
        reader.seek(*place, max(first, offset - back))
        return await _read(reader, place, offset)
    finally:
        await reader.close()


async def _read(reader: RecordReader, place: tuple[str, int], offset: int) -> Around:
    before, size = deque[bytes](), 0
    while True:
        records = await reader.fetch(FETCH_SECONDS)
        if not records:
            raise TransportError("broker-stalled", f"record {offset} does not come", where=f"{place[0]}/{place[1]}")
        for raw in records:
            if raw.next_offset > offset:
                _check(raw, offset)
                return Around(raw, before)
            if raw.value is not None:
                before.append(raw.value)
                size += len(raw.value)
                while size > KEPT_BYTES:
                    size -= len(before.popleft())


def _check(raw: RawRecord, offset: int) -> None:
    where = f"{raw.topic}/{raw.partition}"
    if raw.damage is not None:
        raise TransportError(raw.damage, f"the batch with record {offset} can't be had", where=where)
    if raw.offset > offset:
        raise ConfigError("usage", f"there is no record {offset}, the next is {raw.offset}", where=where)
