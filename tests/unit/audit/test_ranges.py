"""What an operator writes for a part of a topic."""

from __future__ import annotations

import pytest

from agencybus.audit.ranges import Span, Target, _span, parse_bound
from agencybus.errors import ConfigError
from agencybus.kafka.records import Position, Since

TOPIC = "us.fbi.fugitives.routine"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TOPIC, Target(TOPIC)),
        (f"{TOPIC}/3", Target(TOPIC, 3)),
        (f"{TOPIC}@17", Target(TOPIC, None, 17)),
        (f"{TOPIC}/3@17", Target(TOPIC, 3, 17)),
        ("us.fbi.grants/0@0", Target("us.fbi.grants", 0, 0)),
    ],
)
def test_a_target_is_a_topic_a_partition_or_a_record(text: str, expected: Target) -> None:
    assert Target.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "@3", f"{TOPIC}@", f"{TOPIC}@-1", f"{TOPIC}/x", f"{TOPIC}/1/2", "some-topic", "us.fbi.fugitives.fast"]
)
def test_anything_else_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Target.parse(text)
    assert refused.value.code in {"usage", "config-invalid"}
    assert refused.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("earliest", "earliest"),
        ("now", "latest"),
        ("0", 0),
        ("17", 17),
        ("2026-01-31T12:00:00Z", Since(1_769_860_800_000_000)),
        ("2026-01-31T06:00:00-06:00", Since(1_769_860_800_000_000)),
    ],
)
def test_an_end_of_a_range_is_a_word_an_offset_or_a_time(text: str, expected: Position) -> None:
    assert parse_bound(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "yesterday", "2026-01-31T12:00:00", "9" * 30, "latest"])
def test_a_time_without_its_offset_from_utc_is_no_place(text: str) -> None:
    with pytest.raises(ConfigError, match="usage"):
        parse_bound(text)


# --- what the broker's offsets make of it


def test_offsets_that_the_broker_has_no_more_are_counted_and_left_out() -> None:
    assert _span((TOPIC, 0), 3, 20, held=10, newest=30) == Span(TOPIC, 0, 10, 20, 10, 30, gone=7)
    assert _span((TOPIC, 0), 3, 8, held=10, newest=30) == Span(TOPIC, 0, 8, 8, 10, 30, gone=5)
    assert _span((TOPIC, 0), 12, 20, held=10, newest=30).gone == 0


@pytest.mark.parametrize(("first", "end"), [(31, 31), (5, 31), (9, 8)])
def test_a_range_that_the_topic_does_not_have_is_refused(first: int, end: int) -> None:
    with pytest.raises(ConfigError, match="usage"):
        _span((TOPIC, 0), first, end, held=0, newest=30)
