from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import states
from agencybus.errors import StateError
from agencybus.lineage import WINDOW, Known
from agencybus.state import ReaderState, Start
from states import LINEAGE, NOON, TOPIC, digest, head, key, reader


@pytest.fixture(params=["folder", "memory"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReaderState]:
    if request.param == "folder":
        opened = reader(tmp_path)
    else:
        opened = ReaderState.memory(
            endpoint=states.ENDPOINT, realm=states.REALM, route="replay", storage_key=states.STORAGE_KEY
        )
    with opened:
        yield opened


def known(number: int, *, seen: bool = True) -> Known:
    return Known(digest(number)[:16], seen)


def test_a_new_reader_knows_nothing(state: ReaderState) -> None:
    assert state.start() is None
    assert state.positions() == {}
    assert state.heads() == {}
    assert state.head(LINEAGE) is None
    assert dict(state.window(LINEAGE)) == {}
    assert state.keys.get(digest(0), states.ENDPOINT) is None
    assert state.quarantine.entries() == []


def test_the_start_is_asked_for_once(state: ReaderState) -> None:
    state.remember_start(Start("now", NOON))
    assert state.start() == Start("now", NOON)
    with pytest.raises(StateError, match="began already"):
        state.remember_start(Start("earliest", 0))
    assert state.start() == Start("now", NOON)


def test_a_step_is_remembered_whole(tmp_path: Path) -> None:
    with reader(tmp_path) as state, state.transaction() as step:
        step.offset(TOPIC, 0, 8)
        step.head(LINEAGE, head(7))
        step.window(LINEAGE, {6: known(6, seen=False), 7: known(7)})
        assert step.seen(LINEAGE.endpoint, [key(7)], at=NOON) == [False]
        step.audience_key(states.audience_key())
        step.quarantine(states.refused(7))
    with reader(tmp_path) as state:
        assert state.positions() == {(TOPIC, 0): 8}
        assert state.heads() == {LINEAGE: head(7)}
        assert dict(state.window(LINEAGE)) == {6: known(6, seen=False), 7: known(7)}
        assert state.known(LINEAGE.endpoint, [key(7)]) == [True]
        assert state.keys.get(states.audience_key().id, states.ENDPOINT) == states.audience_key()
        assert [entry.offset for entry in state.quarantine.entries()] == [7]


def test_a_step_that_fails_changes_nothing(state: ReaderState) -> None:
    with pytest.raises(ZeroDivisionError):
        fail(state)
    assert state.positions() == {}
    assert state.heads() == {}
    assert state.known(LINEAGE.endpoint, [key(7)]) == [False]
    assert state.quarantine.entries() == []
    assert state.keys.get(states.audience_key().id, states.ENDPOINT) is None


def fail(state: ReaderState) -> None:
    with state.transaction() as step:
        step.offset(TOPIC, 0, 8)
        step.head(LINEAGE, head(7))
        step.window(LINEAGE, {7: known(7)})
        step.seen(LINEAGE.endpoint, [key(7)], at=NOON)
        step.audience_key(states.audience_key())
        step.quarantine(states.refused(7))
        _ = 1 / 0


def test_lineages_that_share_three_of_four_names_are_four(state: ReaderState) -> None:
    names = [
        LINEAGE,
        LINEAGE._replace(endpoint="a"),
        LINEAGE._replace(writer="a"),
        LINEAGE._replace(channel="a"),
        LINEAGE._replace(partition=1),
    ]
    for number, name in enumerate(names):
        with state.transaction() as step:
            step.head(name, head(number))
            step.window(name, {number: known(number)})
    assert state.heads() == {name: head(number) for number, name in enumerate(names)}
    assert [dict(state.window(name)) for name in names] == [{number: known(number)} for number in range(5)]


def test_a_head_moves_and_its_window_stays(state: ReaderState) -> None:
    for number in range(3):
        with state.transaction() as step:
            step.head(LINEAGE, head(number))
            step.window(LINEAGE, {number: known(number)})
    assert state.head(LINEAGE) == head(2)
    assert list(state.window(LINEAGE)) == [0, 1, 2]


def test_a_window_is_bounded_by_numbers_not_by_lines(state: ReaderState) -> None:
    for number in (0, 5, WINDOW - 1, WINDOW, WINDOW + 5):
        with state.transaction() as step:
            step.head(LINEAGE, head(number))
            step.window(LINEAGE, {number: known(number)})
    window = state.window(LINEAGE)
    assert list(window) == [WINDOW - 1, WINDOW, WINDOW + 5]
    assert min(window) == WINDOW - 1
    assert len(window) == 3
    assert 5 not in window
    assert window.get(5) is None


def test_what_a_successor_named_becomes_seen(state: ReaderState) -> None:
    with state.transaction() as step:
        step.head(LINEAGE, head(7))
        step.window(LINEAGE, {6: known(6, seen=False)})
        step.window(LINEAGE, {6: known(6)})
    assert dict(state.window(LINEAGE)) == {6: known(6)}


def test_a_window_needs_a_head(state: ReaderState) -> None:
    with state.transaction() as step, pytest.raises(StateError, match="before the first head"):
        step.window(LINEAGE, {0: known(0)})


def test_an_audience_key_again_changes_nothing(state: ReaderState) -> None:
    for _ in range(2):
        with state.transaction() as step:
            step.audience_key(states.audience_key())
    assert state.keys.get(states.audience_key().id, states.ENDPOINT) == states.audience_key()


def test_no_secret_and_no_refused_byte_rests_in_the_clear(tmp_path: Path) -> None:
    with reader(tmp_path) as state:
        with state.transaction() as step:
            step.audience_key(states.audience_key())
            step.quarantine(states.refused(0, raw=b"canary of a raw record"))
        assert b"canary" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert "canary" not in repr([state, state.keys, state.quarantine, states.refused(0, raw=b"canary")])
    assert b"canary" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


# --- the crash fuse


def die(folder: Path, *offsets: int) -> None:
    """Open a state, mark records, and end as a killed process does: the folder is free, nothing was said."""
    state = reader(folder)
    for offset in offsets:
        state.arm(TOPIC, 0, offset)
    state._store.close()


def test_deaths_at_one_offset_are_counted(tmp_path: Path) -> None:
    for deaths in range(3):
        with reader(tmp_path) as state:
            assert state.arm(TOPIC, 0, 5) == deaths
            assert state.arm(TOPIC, 0, 5) == deaths, "the same process lives"
            state._store.close()


def test_a_clean_end_is_no_death_and_forgives_none(tmp_path: Path) -> None:
    die(tmp_path, 5)
    with reader(tmp_path) as state:
        assert state.arm(TOPIC, 0, 5) == 1
    with reader(tmp_path) as state:
        assert state.arm(TOPIC, 0, 5) == 1


def test_what_was_survived_is_forgotten(tmp_path: Path) -> None:
    die(tmp_path, 5, 6)
    with reader(tmp_path) as state:
        state.survived(TOPIC, 0, 5)
        assert state.arm(TOPIC, 0, 5) == 0
        assert state.arm(TOPIC, 0, 6) == 1


def test_what_was_worked_on_is_known_to_the_next_run_until_the_offset_passes(tmp_path: Path) -> None:
    with reader(tmp_path) as state:
        assert state.worked_on() == set()
        for offset in (5, 6):
            state.arm(TOPIC, 0, offset)
            state.survived(TOPIC, 0, offset)
        state._store.close()  # a death while the events of both were with the tool
    with reader(tmp_path) as state:
        assert (state.worked_on(), state.suspects()) == ({(TOPIC, 0, 5), (TOPIC, 0, 6)}, [])
        with state.transaction() as step:
            step.offset(TOPIC, 0, 6)
        assert state.worked_on() == {(TOPIC, 0, 6)}


def test_passing_an_offset_takes_the_fuses_below_out(tmp_path: Path) -> None:
    die(tmp_path, 4, 5, 6)
    with reader(tmp_path) as state:
        with state.transaction() as step:
            step.offset(TOPIC, 0, 6)
        assert [state.arm(TOPIC, 0, offset) for offset in (4, 5, 6)] == [0, 0, 1]


def test_fuses_of_other_places_stay_apart(tmp_path: Path) -> None:
    die(tmp_path, 5)
    with reader(tmp_path) as state:
        assert state.arm(TOPIC, 1, 5) == 0
        assert state.arm("us.fbi.fugitives.urgent", 0, 5) == 0
        assert state.arm(TOPIC, 0, 5) == 1


def test_a_death_is_remembered_over_runs_that_did_not_get_there(tmp_path: Path) -> None:
    die(tmp_path, 5)
    reader(tmp_path).close()
    die(tmp_path, 2)
    with reader(tmp_path) as state:
        assert state.arm(TOPIC, 0, 5) == 1


# --- damage


@pytest.mark.parametrize(
    ("damage", "look"),
    [
        ("UPDATE position SET offset = offset + 1", lambda state: state.positions()),
        ("UPDATE lineage SET sequence = 9", lambda state: state.heads()),
        ("UPDATE lineage SET state = 'close'", lambda state: state.head(LINEAGE)),
        ("UPDATE window SET seen = 0", lambda state: dict(state.window(LINEAGE))),
        ("UPDATE start SET at = 0", lambda state: state.start()),
        ("UPDATE fuse SET deaths = 2", lambda state: state.arm(TOPIC, 0, 9)),
        ("UPDATE originator SET id = 2", lambda state: state.known(LINEAGE.endpoint, [key(7)])),
        ("UPDATE quarantine SET code = 'fork'", lambda state: state.quarantine.entries()),
        ("UPDATE quarantine SET raw = zeroblob(100)", lambda state: state.quarantine.raw(state.quarantine.get(1))),
        ("UPDATE quarantine SET raw = NULL", lambda state: state.quarantine.raw(state.quarantine.get(1))),
        (
            "UPDATE audience_key SET epoch_end = 0",
            lambda state: state.keys.get(states.audience_key().id, states.ENDPOINT),
        ),
    ],
)
def test_a_changed_row_is_corrupt(state: ReaderState, damage: str, look: object) -> None:
    state.remember_start(Start("now", NOON))
    with state.transaction() as step:
        step.offset(TOPIC, 0, 8)
        step.head(LINEAGE, head(7))
        step.window(LINEAGE, {7: known(7)})
        step.seen(LINEAGE.endpoint, [key(7)], at=NOON)
        step.quarantine(states.refused(7))
        step.audience_key(states.audience_key())
    state.arm(TOPIC, 0, 9)
    assert callable(look)
    look(state)
    with state._store.transaction() as db:
        db.execute(damage)
    with pytest.raises(StateError) as error:
        look(state)
    assert error.value.code == "state-corrupt"
    with state._store.transaction() as db:  # so that the clean end meets no damage
        db.execute("DELETE FROM fuse")
