"""What a reader hands out, and where it may begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec


class RawRecord(msgspec.Struct, frozen=True, gc=False):
    """One record as it lies in the topic, nothing of it checked; or the place of a batch that can't be had.

    Attributes:
        topic: where it was read.
        partition: where it was read.
        offset: its offset; of a damaged batch the first one lost.
        timestamp_us: what Kafka says, microseconds since the Unix epoch; 0 for a damaged batch.
        key: Kafka's key, which nothing signed.
        value: the record; None for a tombstone and for a damaged batch.
        damage: None, or the code: `batch-compressed` or `batch-corrupt`.
        span: number of offsets that it stands for: 1, or those of the damaged batch.
    """

    topic: str
    partition: int
    offset: int
    timestamp_us: int
    key: bytes | None
    value: bytes | None
    damage: str | None = None
    span: int = 1

    @property
    def next_offset(self) -> int:
        """Where reading goes on when this is done: what a state remembers."""
        return self.offset + self.span


@dataclass(frozen=True, slots=True)
class Since:
    """The first record that the broker took at this time or later.

    Attributes:
        at: microseconds since the Unix epoch; Kafka knows milliseconds, so it is rounded down.
    """

    at: int


Place = tuple[str, int]  # topic and partition
Position = int | Literal["earliest", "latest"] | Since
