"""How long records may hold their partition up by waiting: bounded, whatever they claim and whoever wrote them.

A record under a directory or a key that is not known yet may only be early, so its partition waits. But names of
directories and keys are easily invented. So waiting is paid for, from a budget of whoever signed the record, in each
partition: `seconds` of it, which come back at a twentieth of real time. What can't be ascribed to anybody is paid from
one small budget of the nameless. A record without budget goes to quarantine at once, and comes out of it when what it
waits for has come; so the worst that a forger does is a twentieth of a partition's time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agencybus.kafka.records import Place

NAMELESS: Final = ""
NAMELESS_SECONDS: Final = 3.0  # enough to fetch a new directory, once
REFILL: Final = 0.05  # of real time


class Patience:
    """The budgets of one reader.

    Args:
        seconds: the most that one who signs may hold a partition up.
        clock: seconds, monotonic.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._spent: dict[tuple[str, Place], tuple[float, float]] = {}  # seconds, and as of when

    def left(self, who: str, place: Place) -> float:
        """Seconds that a record may wait.

        Args:
            who: the endpoint whose signatures were verified, else NAMELESS.
            place: topic and partition.
        """
        most = self._seconds if who else min(self._seconds, NAMELESS_SECONDS)
        return max(0.0, most - self._owed(who, place))

    def spend(self, who: str, place: Place, seconds: float) -> None:
        """A record has waited, in vain or not."""
        self._spent[who, place] = (self._owed(who, place) + seconds, self._clock())

    def _owed(self, who: str, place: Place) -> float:
        spent, at = self._spent.get((who, place), (0.0, 0.0))
        return max(0.0, spent - REFILL * (self._clock() - at))
