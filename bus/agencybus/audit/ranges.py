"""Ranges of a topic: what an operator writes, and the offsets that it stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agencybus.config import Start
from agencybus.errors import ConfigError
from agencybus.kafka import topics
from agencybus.kafka.connection import KafkaSettings
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import Place, Position, Since

_PLACE: Final = re.compile(r"(?P<topic>[^/@\s]+)(?:/(?P<partition>\d{1,6}))?(?:@(?P<offset>\d{1,18}))?")


@dataclass(frozen=True, slots=True)
class Target:
    """What of a topic is meant.

    Attributes:
        topic: its name.
        partition: None for all.
        offset: None for all.
    """

    topic: str
    partition: int | None = None
    offset: int | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `TOPIC[/PARTITION][@OFFSET]`.

        Raises:
            ConfigError: `usage`, or `config-invalid` if it is no topic of this bus.
        """
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ConfigError("usage", f"{text!r} is no topic", hint="Write TOPIC, TOPIC/PARTITION or TOPIC@OFFSET.")
        topics.place(found["topic"])
        partition, offset = found["partition"], found["offset"]
        return cls(
            found["topic"], None if partition is None else int(partition), None if offset is None else int(offset)
        )


def parse_bound(text: str) -> Position:
    """Read an end of a range: `earliest`, `now`, an offset, or a time with its offset from UTC.

    Raises:
        ConfigError: `usage`.
    """
    if text.isdecimal() and len(text) < 19:  # noqa: PLR2004 - what a signed 64-bit number holds
        return int(text)
    try:
        at = Start.parse(text).position
    except ValueError:
        hint = "Write earliest, now, an offset, or a time such as 2026-01-31T12:00:00Z."
        raise ConfigError("usage", f"{text!r} is no place in a topic", hint=hint) from None
    return Since(at) if isinstance(at, int) else at


@dataclass(frozen=True, slots=True)
class Span:
    """A range of one partition.

    Attributes:
        topic: the topic.
        partition: the partition.
        first: offset of its first record.
        end: the offset behind its last record.
        held: the first offset that the broker still has.
        newest: the offset behind the last record that it had when it was asked.
        gone: offsets at the beginning that were asked for, and that the broker has no more.
    """

    topic: str
    partition: int
    first: int
    end: int
    held: int
    newest: int
    gone: int = 0

    @property
    def count(self) -> int:
        """Offsets in it."""
        return self.end - self.first


async def resolve(
    settings: KafkaSettings, topic: str, partitions: list[int], begin: Position, end: Position
) -> list[Span]:
    """Ask the broker for the offsets that a range stands for, partition by partition.

    Args:
        settings: the way to the brokers.
        topic: the topic.
        partitions: which of it.
        begin: offset, time, `earliest` or `latest` of the first record.
        end: the same of the first record that does not belong to it any more.

    Raises:
        ConfigError: `usage`: the range ends before it begins, or behind the end of the topic.
        TransportError: `topic-missing`, `broker-refused`, `broker-unreachable`.
    """
    places: list[Place] = [(topic, partition) for partition in partitions]
    ends = await _positions(settings, dict.fromkeys(places, end))
    reader = RecordReader(settings)
    try:
        await reader.start(dict.fromkeys(places, begin))
        begins, held, newest = reader.positions(), await reader.beginning_offsets(), await reader.end_offsets()
    finally:
        await reader.close()
    return [_span(place, begins[place], ends[place], held=held[place], newest=newest[place]) for place in places]


def _span(place: Place, first: int, end: int, *, held: int, newest: int) -> Span:
    where = f"{place[0]}/{place[1]}"
    for what, offset in (("begins", first), ("ends", end)):
        if offset > newest:
            raise ConfigError("usage", f"the range {what} at {offset}, the topic ends before {newest}", where=where)
    if end < first:
        raise ConfigError("usage", f"the range ends at {end} and begins at {first}", where=where)
    gone = max(0, min(held, end) - first)
    return Span(*place, max(first, min(held, end)), end, held, newest, gone)


async def _positions(settings: KafkaSettings, positions: dict[Place, Position]) -> dict[Place, int]:
    reader = RecordReader(settings)
    try:
        await reader.start(positions)
        return reader.positions()
    finally:
        await reader.close()
