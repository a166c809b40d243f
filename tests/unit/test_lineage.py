"""The rules of lineages, as stories: which records in which order, and what each does."""

from __future__ import annotations

import hashlib

import pytest

from agencybus.errors import RecordError, Step
from agencybus.lineage import WINDOW, Head, Known, Outcome, advance
from agencybus.wire.headers import CheckpointHeader
from agencybus.wire.ids import first_previous

REALM = b"r" * 16
PLACE = ("us.fbi/wanted", "main", "us.fbi.fugitives.routine", 0)
STARTED = 1_000_000


def header(sequence: int, previous: bytes, **changes: object) -> CheckpointHeader:
    fields: dict[str, object] = {
        "realm": REALM,
        "endpoint": PLACE[0],
        "writer": PLACE[1],
        "channel": PLACE[2],
        "partition": PLACE[3],
        "signer_key_id": b"s" * 48,
        "directory": b"d" * 48,
        "sequence": sequence,
        "previous": previous,
        "previous_sealed_at": STARTED + sequence if sequence else 0,
        "sealed_at": STARTED + sequence + 1,
        "state": "run",
    }
    return CheckpointHeader(**{**fields, **changes})  # type: ignore[arg-type]


class Reader:
    """Keeps heads and window as a reader's state does."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.window: dict[int, Known] = {}

    def take(self, record: CheckpointHeader) -> Outcome:
        outcome = advance(self.head, self.window, record, digest(record), started_at=STARTED)
        self.head = outcome.head
        self.window |= outcome.learned
        self.window = {n: known for n, known in self.window.items() if n > outcome.head.sequence - WINDOW}
        return outcome

    def refuses(self, record: CheckpointHeader) -> str:
        before = (self.head, dict(self.window))
        with pytest.raises(RecordError) as refused:
            self.take(record)
        assert refused.value.step is Step.LINEAGE
        assert (self.head, self.window) == before
        return refused.value.code


def digest(record: CheckpointHeader) -> bytes:
    return hashlib.sha384(record.encode()).digest()


def chain(count: int, **changes: object) -> list[CheckpointHeader]:
    records, previous = [], first_previous(REALM, *PLACE)
    for sequence in range(count):
        records.append(header(sequence, previous, **changes))
        previous = digest(records[-1])
    return records


def codes(outcome: Outcome) -> list[str]:
    return [finding.code for finding in outcome.findings]


def test_records_in_order_are_accepted_without_a_word() -> None:
    reader = Reader()
    for record in chain(5):
        outcome = reader.take(record)
        assert not outcome.duplicate
        assert not outcome.findings
    assert reader.head is not None
    assert reader.head.sequence == 4


def test_a_first_record_with_another_start_value_is_refused() -> None:
    other_place = first_previous(REALM, PLACE[0], "other-writer", PLACE[2], PLACE[3])
    assert Reader().refuses(header(0, other_place)) == "lineage-start-invalid"


def test_a_record_that_comes_twice_is_dropped() -> None:
    reader, records = Reader(), chain(3)
    for record in records:
        reader.take(record)
    for record in records:
        assert reader.take(record).duplicate
    assert reader.head is not None
    assert reader.head.sequence == 2


def test_another_record_with_a_seen_number_is_a_fork() -> None:
    reader, records = Reader(), chain(3)
    for record in records:
        reader.take(record)
    forged = header(1, digest(records[0]), sealed_at=STARTED + 99)
    assert reader.refuses(forged) == "fork"


def test_a_successor_of_another_history_breaks_the_chain() -> None:
    reader, records = Reader(), chain(2)
    reader.take(records[0])
    assert reader.refuses(header(1, b"x" * 48)) == "chain-broken"
    assert not reader.take(records[1]).findings


def test_a_successor_that_misdates_its_predecessor_breaks_the_chain() -> None:
    """The time of the record before tells late joiners what they missed: it must be true."""
    reader, records = Reader(), chain(2)
    reader.take(records[0])
    assert reader.refuses(header(1, digest(records[0]), previous_sealed_at=STARTED - 5)) == "chain-broken"


def test_a_late_record_pins_the_one_before_it() -> None:
    reader, records = Reader(), chain(6)
    for index in (0, 5):
        reader.take(records[index])
    assert codes(reader.take(records[3])) == ["late-record"]
    forged = header(2, digest(records[1]), sealed_at=STARTED + 88)
    assert reader.refuses(forged) == "fork"
    assert codes(reader.take(records[2])) == ["late-record"]


def test_missing_records_are_a_gap_and_the_feed_goes_on() -> None:
    reader, records = Reader(), chain(5)
    reader.take(records[0])
    outcome = reader.take(records[4])
    assert codes(outcome) == ["gap"]
    assert "1 to 3 are missing (3)" in outcome.findings[0].text
    assert outcome.head.sequence == 4


def test_a_missing_record_that_comes_late_is_delivered_and_reported() -> None:
    reader, records = Reader(), chain(5)
    for index in (0, 4):
        reader.take(records[index])
    for index in (3, 1, 2):
        outcome = reader.take(records[index])
        assert codes(outcome) == ["late-record"]
        assert outcome.head.sequence == 4
        assert reader.take(records[index]).duplicate


def test_a_forged_filler_of_a_gap_is_a_fork() -> None:
    reader, records = Reader(), chain(5)
    for index in (0, 4):
        reader.take(records[index])
    assert reader.refuses(header(3, digest(records[2]), sealed_at=STARTED + 77)) == "fork"  # 4 named another 3
    assert reader.refuses(header(1, b"x" * 48)) == "fork"  # follows another 0


def test_a_late_joiner_says_so_and_takes_nothing_from_before() -> None:
    reader, records = Reader(), chain(6, previous_sealed_at=STARTED - 1, sealed_at=STARTED - 1)
    assert codes(reader.take(records[3])) == ["joined-midway"]
    assert reader.refuses(records[2]) == "sequence-too-old"
    assert not reader.take(records[4]).findings


def test_history_younger_than_the_reader_that_it_never_saw_is_an_alarm() -> None:
    assert codes(Reader().take(chain(4)[3])) == ["unseen-history"]


def test_history_that_was_withheld_is_taken_late_if_it_is_younger_than_the_reader() -> None:
    reader, records = Reader(), chain(6)
    assert codes(reader.take(records[3])) == ["unseen-history"]
    assert codes(reader.take(records[1])) == ["late-record"]
    assert reader.take(records[1]).duplicate


def test_a_record_below_the_window_is_refused() -> None:
    reader, records = Reader(), chain(WINDOW + 3)
    for record in records:
        reader.take(record)
    assert len(reader.window) == WINDOW
    assert reader.refuses(records[2]) == "sequence-too-old"
    assert reader.take(records[3]).duplicate


def test_a_large_gap_does_not_open_the_way_for_replays() -> None:
    """A broker withholds so much that the window forgets, then replays what it forgot."""
    reader, records = Reader(), chain(WINDOW + 12)
    for record in records[:10]:
        reader.take(record)
    assert codes(reader.take(records[-1])) == ["gap"]
    assert reader.refuses(records[5]) == "sequence-too-old"
    assert codes(reader.take(records[100])) == ["late-record"]


def test_a_recovered_writer_is_reported() -> None:
    reader, records = Reader(), chain(2)
    reader.take(records[0])
    assert codes(reader.take(header(1, digest(records[0]), state="recovered"))) == ["writer-recovered"]
