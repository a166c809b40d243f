"""When a reader without progress is a stalled one: no clock, no Kafka, only the rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agencybus.kafka.records import Place


class Watchdog:
    """Remembers since when records have waited at a position that does not move.

    A partition is stalled when its end was seen beyond the position, and the position is still the same
    `stall` seconds later. Whoever asks leaves out partitions that the application paused or was too busy to read.

    Attributes:
        stall: seconds that records may wait.
    """

    def __init__(self, stall: float) -> None:
        self.stall = stall
        self._waiting: dict[Place, tuple[int, float]] = {}  # place -> the position, and since when
        self._unanswered: float | None = None

    def forget(self, place: Place) -> None:
        """Begins anew with a partition: it was moved, or paused for a while."""
        self._waiting.pop(place, None)

    def unanswered(self, asked: float, now: float) -> bool:
        """The brokers did not tell the ends. Returns whether that has lasted too long.

        Args:
            asked: monotonic seconds when they were asked.
            now: monotonic seconds.
        """
        self._unanswered = asked if self._unanswered is None else self._unanswered
        return now - self._unanswered >= self.stall

    def saw(self, place: Place, position: int, end: int, now: float) -> bool:
        """The brokers told an end. Returns whether the partition is stalled.

        Args:
            place: topic and partition.
            position: offset of the record to come.
            end: offset after the last record that there is.
            now: monotonic seconds.
        """
        self._unanswered = None
        if end <= position:
            self._waiting.pop(place, None)
            return False
        before, since = self._waiting.setdefault(place, (position, now))
        if before != position:
            self._waiting[place] = (position, now)
            return False
        return now - since >= self.stall
