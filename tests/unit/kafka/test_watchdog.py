"""When records that wait make a stall, and when they do not."""

from __future__ import annotations

from agencybus.kafka.watchdog import Watchdog

HERE, THERE = ("us.cbp.cargo-targeting.urgent", 0), ("us.cbp.cargo-targeting.urgent", 1)


def test_records_that_wait_at_one_position_for_long_enough_are_a_stall() -> None:
    dog = Watchdog(15)
    assert not dog.saw(HERE, 7, 8, now=100)
    assert not dog.saw(HERE, 7, 9, now=114.9)
    assert dog.saw(HERE, 7, 9, now=115)


def test_an_end_that_does_not_move_is_silence_and_no_stall() -> None:
    dog = Watchdog(15)
    assert not any(dog.saw(HERE, 8, 8, now=now) for now in range(0, 1000, 5))


def test_progress_begins_the_wait_anew() -> None:
    dog = Watchdog(15)
    dog.saw(HERE, 7, 9, now=0)
    assert not dog.saw(HERE, 8, 9, now=20)
    assert not dog.saw(HERE, 8, 9, now=34)
    assert dog.saw(HERE, 8, 9, now=35)


def test_catching_up_ends_the_wait() -> None:
    dog = Watchdog(15)
    dog.saw(HERE, 7, 8, now=0)
    dog.saw(HERE, 8, 8, now=10)
    assert not dog.saw(HERE, 8, 9, now=20)


def test_a_partition_that_moves_hides_no_other_that_does_not() -> None:
    dog = Watchdog(15)
    dog.saw(THERE, 5, 6, now=0)
    for now in range(1, 15):
        dog.saw(HERE, now, 100, now=now)
    assert dog.saw(THERE, 5, 6, now=15)


def test_a_partition_that_was_moved_by_hand_waits_anew() -> None:
    dog = Watchdog(15)
    dog.saw(HERE, 7, 8, now=0)
    dog.forget(HERE)
    assert not dog.saw(HERE, 7, 8, now=16)


def test_brokers_that_tell_no_ends_for_long_enough_are_a_stall_and_one_answer_ends_it() -> None:
    dog = Watchdog(15)
    assert not dog.unanswered(asked=0, now=10)
    dog.saw(HERE, 8, 8, now=12)
    assert not dog.unanswered(asked=14, now=24)
    assert dog.unanswered(asked=26, now=29)
