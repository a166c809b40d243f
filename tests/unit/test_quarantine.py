from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import states
from agencybus.errors import QuarantineError, StateError
from agencybus.quarantine import Kept, Quarantine
from agencybus.state import ReaderState
from agencybus.state.vault import REASON_CHARS, Vault
from states import NOON, TOPIC, reader, record, refused


@pytest.fixture
def state(tmp_path: Path) -> Iterator[ReaderState]:
    with reader(tmp_path / "state") as opened:
        yield opened


@pytest.fixture
def desk(state: ReaderState) -> Iterator[Quarantine]:
    """What an operator opens while the reader runs."""
    with Quarantine.open(Path(state._store.where), states.STORAGE_KEY) as opened:
        yield opened


def put(state: ReaderState, *numbers: int, **changed: object) -> list[Kept]:
    with state.transaction() as step:
        return [step.quarantine(refused(number, **changed)) for number in numbers]


def small(state: ReaderState, *, kept_bytes: int, max_entries: int) -> None:
    state.quarantine = Vault(state._store, states.STORAGE_KEY, kept_bytes=kept_bytes, max_entries=max_entries)


def code_of(error: pytest.ExceptionInfo[QuarantineError | StateError]) -> str:
    return error.value.code


def test_a_refused_record_is_kept_whole_with_its_reason(state: ReaderState, desk: Quarantine) -> None:
    assert put(state, 7, endpoint="mx.anam/aduanas", waits_for=b"key") == [Kept.WHOLE]
    entry = desk.show(1)
    assert (entry.topic, entry.partition, entry.offset, entry.received_at) == (TOPIC, 0, 7, NOON)
    assert (entry.step, entry.code) == (4, "mldsa-signature-invalid")
    assert (entry.endpoint, entry.waits_for, entry.verdict) == ("mx.anam/aduanas", b"key", "held")
    assert entry.digest == hashlib.sha384(record(7)).digest()
    assert desk.raw(1) == record(7)
    assert desk.list() == [entry]


def test_an_operator_looks_while_the_reader_works_and_needs_no_key_for_it(tmp_path: Path, state: ReaderState) -> None:
    with Quarantine.open(tmp_path / "state") as desk:
        put(state, 1)
        assert [entry.offset for entry in desk.list("held")] == [1]
        put(state, 2)
        assert [entry.offset for entry in desk.list("held")] == [1, 2]
        with pytest.raises(StateError, match="without its storage key"):
            desk.raw(1)


def test_another_key_ring_does_not_open_the_quarantine(tmp_path: Path, state: ReaderState) -> None:
    put(state, 1)
    with pytest.raises(StateError) as error:
        Quarantine.open(tmp_path / "state", bytes(32))
    assert code_of(error) == "state-foreign"


def test_a_folder_without_state_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateError) as error:
        Quarantine.open(tmp_path / "nothing")
    assert code_of(error) == "state-missing"


def test_the_list_comes_in_pages(state: ReaderState, desk: Quarantine) -> None:
    put(state, *range(5))
    pages = [[entry.id for entry in desk.list(after=after, limit=2)] for after in (0, 2, 4, 5)]
    assert pages == [[1, 2], [3, 4], [5], []]


def test_a_release_is_seen_by_the_reader_and_delivers_nothing_by_itself(state: ReaderState, desk: Quarantine) -> None:
    put(state, 7, 8)
    released = desk.release(2, who="m.garcia", why="new schema installed", at=NOON + 5)
    assert (released.verdict, released.who, released.why) == ("released", "m.garcia", "new schema installed")
    assert [entry.offset for entry in state.quarantine.released()] == [8]
    assert state.quarantine.raw(state.quarantine.released()[0]) == record(8)


def test_a_record_that_verified_leaves_its_line(state: ReaderState, desk: Quarantine) -> None:
    put(state, 7)
    desk.release(1, who="m.garcia", at=NOON)
    with state.transaction() as step:
        step.delivered(state.quarantine.get(1), at=NOON + 9)
    entry = desk.show(1)
    assert (entry.verdict, entry.who, entry.decided_at, entry.kept) == ("delivered", "m.garcia", NOON + 9, False)
    assert desk.raw(1) is None
    assert state.quarantine.released() == []


def test_a_record_that_fails_again_is_held_with_the_newer_reason(state: ReaderState, desk: Quarantine) -> None:
    put(state, 7)
    desk.release(1, who="m.garcia", at=NOON)
    with state.transaction() as step:
        step.hold(state.quarantine.get(1), step=9, code="grant-missing", reason="no grant yet", waits_for=b"key")
    entry = desk.show(1)
    assert (entry.verdict, entry.step, entry.code, entry.reason) == ("held", 9, "grant-missing", "no grant yet")
    assert desk.raw(1) == record(7)
    assert [waiting.id for waiting in state.quarantine.waiting(b"key")] == [1]
    desk.release(1, who="m.garcia", at=NOON)


def test_what_is_discarded_keeps_who_why_and_when_and_loses_its_bytes(
    tmp_path: Path, state: ReaderState, desk: Quarantine
) -> None:
    put(state, 7)
    desk.discard(1, who="j.smith", why="test traffic", at=NOON + 3)
    entry = desk.show(1)
    assert (entry.verdict, entry.who, entry.why, entry.decided_at) == ("discarded", "j.smith", "test traffic", NOON + 3)
    assert entry.digest == hashlib.sha384(record(7)).digest()
    assert desk.raw(1) is None
    assert state._store.read("SELECT raw FROM quarantine") == [(None,)]
    desk.close()
    state.close()
    with Quarantine.open(tmp_path / "state") as later:
        assert later.list("discarded") == [entry]


@pytest.mark.parametrize("first", ["discarded", "delivered"])
@pytest.mark.parametrize("then", ["released", "discarded"])
def test_a_decision_is_final(state: ReaderState, desk: Quarantine, first: str, then: str) -> None:
    put(state, 7)
    if first == "discarded":
        desk.discard(1, who="j.smith", why="", at=NOON)
    else:
        with state.transaction() as step:
            step.delivered(state.quarantine.get(1), at=NOON)
    decide = {"released": desk.release, "discarded": desk.discard}[then]
    with pytest.raises(QuarantineError, match=f"is {first} already") as error:
        decide(1, who="m.garcia", why="", at=NOON)
    assert code_of(error) == "quarantine-decided"


def test_a_release_can_be_taken_back_by_discarding(state: ReaderState, desk: Quarantine) -> None:
    put(state, 7)
    desk.release(1, who="m.garcia", at=NOON)
    with pytest.raises(QuarantineError, match="is released already"):
        desk.release(1, who="m.garcia", at=NOON)
    assert desk.discard(1, who="m.garcia", why="changed my mind", at=NOON).verdict == "discarded"
    assert state.quarantine.released() == []


def test_an_unknown_number_is_told(desk: Quarantine) -> None:
    with pytest.raises(QuarantineError) as error:
        desk.release(3, who="m.garcia", at=NOON)
    assert code_of(error) == "quarantine-unknown"


def test_a_reason_is_cut(state: ReaderState, desk: Quarantine) -> None:
    put(state, 7, reason="x" * 10_000)
    assert len(desk.show(1).reason) == REASON_CHARS


# --- the quota


def test_beyond_the_quota_the_oldest_stay_whole_and_the_rest_is_named(state: ReaderState, desk: Quarantine) -> None:
    small(state, kept_bytes=3 * len(record(0)), max_entries=100)
    assert put(state, *range(5)) == [Kept.WHOLE] * 3 + [Kept.DIGEST] * 2
    assert [desk.raw(number) for number in range(1, 6)] == [record(0), record(1), record(2), None, None]
    assert desk.show(5).digest == hashlib.sha384(record(4)).digest()
    with pytest.raises(QuarantineError) as error:
        desk.release(5, who="m.garcia", at=NOON)
    assert code_of(error) == "quarantine-not-kept"
    desk.discard(5, who="m.garcia", why="", at=NOON)


def test_a_flood_beyond_the_entries_is_counted_to_the_last_record(state: ReaderState, desk: Quarantine) -> None:
    small(state, kept_bytes=0, max_entries=2)
    assert put(state, 9, 3, 7, 5, 6) == [Kept.DIGEST] * 2 + [Kept.COUNT] * 3
    assert put(state, 8, code="fork", step=7) == [Kept.COUNT]
    chain = bytes(48)
    for number in (7, 5, 6):
        chain = hashlib.sha384(chain + hashlib.sha384(record(number)).digest()).digest()
    counts = {count.code: count for count in desk.counts()}
    signature = counts["mldsa-signature-invalid"]
    assert (signature.records, signature.first, signature.last, signature.digest) == (3, 5, 7, chain)
    assert counts["fork"].records == 1
    assert state.quarantine.by_code() == {"mldsa-signature-invalid": 5, "fork": 1}


def test_one_endpoint_does_not_use_up_the_quota_of_another(state: ReaderState) -> None:
    small(state, kept_bytes=len(record(0)), max_entries=1)
    assert put(state, 0, 1, endpoint="mx.anam/aduanas") == [Kept.WHOLE, Kept.COUNT]
    assert put(state, 2, endpoint="us.fbi/wanted") == [Kept.WHOLE]
    assert put(state, 3, endpoint="") == [Kept.WHOLE]


def test_what_is_settled_makes_room(state: ReaderState, desk: Quarantine) -> None:
    small(state, kept_bytes=2 * len(record(0)), max_entries=2)
    put(state, 0, 1)
    desk.discard(1, who="j.smith", why="", at=NOON)
    desk.release(2, who="j.smith", at=NOON)
    assert put(state, 2, 3) == [Kept.WHOLE, Kept.COUNT], "a released record still takes its room"
    with state.transaction() as step:
        step.delivered(state.quarantine.get(2), at=NOON)
    assert put(state, 4) == [Kept.WHOLE]
    assert state.quarantine.by_code() == {"mldsa-signature-invalid": 3}
