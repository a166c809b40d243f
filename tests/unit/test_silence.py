"""When a feed's silence becomes an alarm."""

from __future__ import annotations

from agencybus.lineage import Head, LineageId
from agencybus.subscribing.silence import MISSED, Silence
from federation import sample

LINEAGE = LineageId("us.fbi/wanted", "main", "us.fbi.fugitives.routine", 0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def head(sequence: int, state: str = "run") -> Head:
    return Head(sequence, b"d" * 48, 0, state)


def test_three_missed_heartbeats_are_one_alarm_until_the_feed_speaks_again() -> None:
    clock, directory = Clock(), sample().directory
    watch, limit = Silence(clock), MISSED * directory.programmes["fugitives"].heartbeat_seconds
    assert watch.fallen_silent({LINEAGE: head(1)}, directory) == []
    clock.now += limit
    assert watch.fallen_silent({LINEAGE: head(1)}, directory) == []
    clock.now += 1
    assert watch.fallen_silent({LINEAGE: head(1)}, directory) == [(LINEAGE, limit + 1)]
    assert watch.fallen_silent({LINEAGE: head(1)}, directory) == []
    assert watch.fallen_silent({LINEAGE: head(2)}, directory) == []
    clock.now += limit + 1
    assert watch.fallen_silent({LINEAGE: head(2)}, directory) == [(LINEAGE, limit + 1)]


def test_a_closed_feed_may_be_silent() -> None:
    clock, directory = Clock(), sample().directory
    watch = Silence(clock)
    watch.seconds({LINEAGE: head(1, "close")})
    clock.now += 10_000
    assert watch.fallen_silent({LINEAGE: head(1, "close")}, directory) == []
