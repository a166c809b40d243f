from __future__ import annotations

from pathlib import Path

import pytest

import states
from agencybus.errors import StateError
from agencybus.state import InFlight, LineageRow
from agencybus.state.store import tally
from states import CHANNEL, NOON, begin, digest, key, record, reference, writer


def test_a_new_writer_knows_nothing(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        assert state.lineage(CHANNEL, 0) is None
        assert state.in_flight() == []
        assert state.places() == []
        assert state.references([key(1)]) == {}


def test_what_was_journalled_is_in_flight_until_it_is_acknowledged_and_after_a_restart(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        begin(state, 0)
    with writer(tmp_path) as state:
        assert state.in_flight() == [InFlight(CHANNEL, 0, 0, digest(0), NOON, record(0))]
        assert state.lineage(CHANNEL, 0) == LineageRow(0, digest(0), NOON, None, in_flight=True)
        state.acknowledged(CHANNEL, 0, 41)
        assert state.in_flight() == []
    with writer(tmp_path) as state:
        assert state.in_flight() == []
        assert state.lineage(CHANNEL, 0) == LineageRow(0, digest(0), NOON, 41, in_flight=False)
        begin(state, 1)
        assert state.lineage(CHANNEL, 0) == LineageRow(1, digest(1), NOON + 1, 41, in_flight=True)


def test_lineages_do_not_touch_each_other(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        begin(state, 0)
        other = "us.cbp.fugitives.urgent"
        state.begin(other, 3, sequence=0, digest=digest(9), sealed_at=NOON, record=record(9))
        state.acknowledged(CHANNEL, 0, 0)
        assert [flying.channel for flying in state.in_flight()] == [other]
        assert state.places() == [(CHANNEL, 0), (other, 3)]


@pytest.mark.parametrize("number", [0, 2, 7])
def test_a_number_is_never_used_twice_nor_left_out(tmp_path: Path, number: int) -> None:
    with writer(tmp_path) as state:
        begin(state, 0)
        state.acknowledged(CHANNEL, 0, 0)
        with pytest.raises(StateError, match="does not follow 0") as error:
            begin(state, number)
        assert error.value.code == "state-misuse"
        assert state.in_flight() == []


def test_the_first_number_is_zero(tmp_path: Path) -> None:
    with writer(tmp_path) as state, pytest.raises(StateError, match="does not follow none"):
        begin(state, 1)


def test_one_record_of_a_lineage_is_in_flight(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        begin(state, 0)
        with pytest.raises(StateError, match="in flight"):
            begin(state, 1)
        assert [flying.sequence for flying in state.in_flight()] == [0]


def test_only_what_is_in_flight_can_be_acknowledged(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        with pytest.raises(StateError, match="no record"):
            state.acknowledged(CHANNEL, 0, 0)
        begin(state, 0)
        state.acknowledged(CHANNEL, 0, 0)
        with pytest.raises(StateError, match="no record"):
            state.acknowledged(CHANNEL, 0, 1)


def test_a_lost_state_goes_on_behind_the_tail_on_the_broker(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        state.adopt(CHANNEL, 0, sequence=7, digest=digest(7), sealed_at=NOON + 7, offset=70)
        assert state.lineage(CHANNEL, 0) == LineageRow(7, digest(7), NOON + 7, 70, in_flight=False)
        begin(state, 8)


def test_an_old_state_drops_its_old_record_in_flight_for_the_tail(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        begin(state, 0)
        state.adopt(CHANNEL, 0, sequence=3, digest=digest(3), sealed_at=NOON + 3, offset=30)
        assert state.in_flight() == []


@pytest.mark.parametrize("tail", [0, 1])
def test_a_state_never_steps_back_behind_the_broker(tmp_path: Path, tail: int) -> None:
    with writer(tmp_path) as state:
        begin(state, 0)
        state.acknowledged(CHANNEL, 0, 0)
        begin(state, 1)
        with pytest.raises(StateError, match="not newer"):
            state.adopt(CHANNEL, 0, sequence=tail, digest=digest(tail), sealed_at=NOON, offset=0)
        assert [flying.sequence for flying in state.in_flight()] == [1]


def test_references_are_known_from_the_journal_on(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        begin(state, 0, references=[reference(1), reference(2)])
        assert state.references([key(0), key(1), key(2)]) == {key(1): reference(1), key(2): reference(2)}
    with writer(tmp_path) as state:
        assert state.references([key(2)]) == {key(2): reference(2)}


def test_a_step_that_fails_remembers_no_reference(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        with pytest.raises(StateError):
            begin(state, 5, references=[reference(1)])
        assert state.references([key(1)]) == {}


def test_references_older_than_asked_for_are_forgotten(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        begin(state, 0, references=[reference(1)])
        state.prune(before=NOON)
        assert state.references([key(1)]) == {key(1): reference(1)}
        state.prune(before=NOON + 2 * states.HOUR)
        assert state.references([key(1)]) == {}


def test_an_audience_key_is_found_in_its_epoch_only(tmp_path: Path) -> None:
    first, second = states.audience_key(NOON), states.audience_key(NOON + states.DAY, secret=bytes(32))
    with writer(tmp_path) as state:
        assert not state.knows_audience(first.audience)
        state.put_audience_key(first)
        state.put_audience_key(second)
    with writer(tmp_path) as state:
        assert state.knows_audience(first.audience)
        assert not state.knows_audience(digest(1))
        found = [state.audience_key(first.audience, at=NOON + offset) for offset in (-1, 0, states.DAY - 1, states.DAY)]
        assert found == [None, first, first, second]
        assert state.audience_key(first.audience, at=NOON + 2 * states.DAY) is None
        assert state.audience_key(digest(1), at=NOON) is None


def test_of_two_epochs_that_overlap_the_later_one_counts(tmp_path: Path) -> None:
    first, second = states.audience_key(NOON), states.audience_key(NOON + states.HOUR, secret=bytes(32))
    with writer(tmp_path) as state:
        state.put_audience_key(second)
        state.put_audience_key(first)
        assert state.audience_key(first.audience, at=NOON + 2 * states.HOUR) == second


def test_no_secret_and_no_reference_text_rests_in_the_folder(tmp_path: Path) -> None:
    secret = states.audience_key()
    with writer(tmp_path) as state:
        state.put_audience_key(secret)
        begin(state, 0)
        assert b"canary" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert "canary" not in repr(vars(state)) + repr(vars(state._keys)["_store"])
    assert b"canary" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_key_moved_to_another_audience_does_not_open(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        state.put_audience_key(states.audience_key())
        with state._store.transaction() as db:
            row = list(db.execute("SELECT * FROM audience_key").fetchone())
            row[2] = digest(1)
            row[-1] = tally(*row[:-1])
            db.execute("INSERT OR REPLACE INTO audience_key VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        with pytest.raises(StateError, match="does not open") as error:
            state.audience_key(digest(1), at=NOON)
        assert error.value.code == "state-corrupt"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE lineage SET sequence = sequence + 1",
        "UPDATE lineage SET digest = zeroblob(48)",
        "UPDATE lineage SET acknowledged = 5",
        "UPDATE lineage SET record_sum = NULL",
    ],
)
def test_a_changed_lineage_is_corrupt(tmp_path: Path, damage: str) -> None:
    with writer(tmp_path) as state:
        begin(state, 0)
        with state._store.transaction() as db:
            db.execute(damage)
        with pytest.raises(StateError) as error:
            state.lineage(CHANNEL, 0)
        assert error.value.code == "state-corrupt"


@pytest.mark.parametrize("damage", ["NULL", "substr(record, 2)", "zeroblob(length(record))"])
def test_a_changed_record_in_flight_is_corrupt(tmp_path: Path, damage: str) -> None:
    with writer(tmp_path) as state:
        begin(state, 0)
        with state._store.transaction() as db:
            db.execute(f"UPDATE lineage SET record = {damage}")
        with pytest.raises(StateError) as error:
            state.in_flight()
        assert error.value.code == "state-corrupt"


def test_a_changed_reference_is_corrupt(tmp_path: Path) -> None:
    with writer(tmp_path) as state:
        state._references._recent[key(1)[0]][key(1)] = (0, bytes(68))
        with pytest.raises(StateError) as error:
            state.references([key(1)])
        assert error.value.code == "state-corrupt"


def test_the_repr_of_what_is_in_flight_does_not_print_the_record() -> None:
    assert "record 0" not in repr(InFlight(CHANNEL, 0, 0, digest(0), NOON, record(0)))
