from __future__ import annotations

from pathlib import Path

import pytest

import states
from agencybus.errors import StateError
from agencybus.state import ReaderState, references
from agencybus.state.reader import REMEMBERED_US

MEXICO = "mx.anam/aduanas"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merges and slices at sizes that a test can fill."""
    monkeypatch.setattr(references, "RECENT_KEYS", 100)
    monkeypatch.setattr(references, "PRUNE_ROWS", 16)


def add(state: ReaderState, numbers: range, *, at: int = states.NOON, originator: str = MEXICO) -> list[bool]:
    with state.transaction(sync=False) as step:
        return step.seen(originator, [states.key(number) for number in numbers], at=at)


def add_and_fail(state: ReaderState, numbers: range) -> None:
    with state.transaction() as step:
        assert not any(step.seen(MEXICO, [states.key(number) for number in numbers], at=states.NOON))
        _ = 1 / 0


def count(state: ReaderState, table: str) -> int:
    return int(state._store.read(f"SELECT count(*) FROM {table}")[0][0])


def test_what_was_seen_is_seen_again_also_within_one_call() -> None:
    state = states_memory()
    assert add(state, range(3)) == [False, False, False]
    assert add(state, range(2, 5)) == [True, False, False]
    with state.transaction() as step:
        assert step.seen(MEXICO, [states.key(9), states.key(9)], at=0) == [False, True]


def states_memory() -> ReaderState:
    return ReaderState.memory(
        endpoint=states.ENDPOINT, realm=states.REALM, route="replay", storage_key=states.STORAGE_KEY
    )


def test_known_tells_the_same_and_changes_nothing() -> None:
    state = states_memory()
    keys = [states.key(1), states.key(2), states.key(1)]
    assert state.known(MEXICO, keys) == [False, False, True]
    add(state, range(2))
    assert state.known(MEXICO, keys) == [True, False, True]
    assert state.known(MEXICO, keys) == [True, False, True]


def test_two_originators_may_use_one_reference() -> None:
    state = states_memory()
    assert add(state, range(3)) == [False] * 3
    assert add(state, range(3), originator="us.fbi/wanted") == [False] * 3
    assert add(state, range(3), originator="us.fbi/wanted") == [True] * 3


def test_a_step_that_fails_has_seen_nothing() -> None:
    state = states_memory()
    with pytest.raises(ZeroDivisionError):
        add_and_fail(state, range(1, 2))
    assert add(state, range(1, 2)) == [False]
    assert add(state, range(1, 2)) == [True]


@pytest.mark.parametrize("reopen", [False, True], ids=["running", "restarted"])
def test_nothing_is_forgotten_at_any_point_of_a_merge(tmp_path: Path, *, reopen: bool) -> None:
    state = states.reader(tmp_path / "state")
    merged = set()
    for begin in range(0, 600, 7):
        assert add(state, range(begin, begin + 7)) == [False] * 7
        if reopen:
            state.close()
            state = states.reader(tmp_path / "state")
        assert all(state.known(MEXICO, [states.key(number) for number in range(begin + 7)]))
        assert not any(state.known(MEXICO, [states.key(number) for number in range(begin + 7, begin + 300)]))
        merged.add(count(state, "remembered"))
    assert len(merged) > 10, "no merge went on in several slices"
    assert count(state, "recent") < 600 / 7
    state.close()


def test_a_merge_that_fails_halfway_is_repeated() -> None:
    state = states_memory()
    add(state, range(100))
    with pytest.raises(ZeroDivisionError):
        add_and_fail(state, range(100, 150))
    for begin in range(100, 300, 5):
        assert add(state, range(begin, begin + 5)) == [False] * 5
    assert all(state.known(MEXICO, [states.key(number) for number in range(300)]))


def test_memory_stays_bounded_however_large_the_steps_are() -> None:
    state = states_memory()
    for begin in range(0, 6000, 300):
        add(state, range(begin, begin + 300))
        assert sum(map(len, state._references._recent)) <= 100 + 3 * 300
    assert all(state.known(MEXICO, [states.key(number) for number in range(6000)]))


def test_seven_days_are_remembered_and_what_is_older_is_pruned() -> None:
    state = states_memory()
    for hour in range(60):
        add(state, range(hour * 5, hour * 5 + 5), at=states.NOON + hour * states.HOUR)
    assert count(state, "remembered") > 0
    assert count(state, "recent") > 0
    state.prune(at=states.NOON + REMEMBERED_US + 30 * states.HOUR)
    known = state.known(MEXICO, [states.key(number) for number in range(300)])
    assert known == [number >= 150 for number in range(300)]
    state.prune(at=states.NOON + REMEMBERED_US + 61 * states.HOUR)
    assert not any(state.known(MEXICO, [states.key(number) for number in range(300)]))
    assert count(state, "remembered") == count(state, "recent") == 0


def test_pruning_in_the_middle_of_a_merge_loses_nothing_young(tmp_path: Path) -> None:
    state = states.reader(tmp_path / "state")
    add(state, range(100))
    add(state, range(100, 105))  # the merge begins
    later = states.NOON + REMEMBERED_US + 2 * states.HOUR
    state.prune(at=later)
    for begin in range(200, 300, 10):
        assert add(state, range(begin, begin + 10), at=later) == [False] * 10
    state.close()
    state = states.reader(tmp_path / "state")
    assert all(state.known(MEXICO, [states.key(number) for number in range(200, 300)]))
    state.close()


def test_a_damaged_row_of_recent_keys_is_corrupt(tmp_path: Path) -> None:
    state = states.reader(tmp_path / "state")
    add(state, range(3))
    with state._store.transaction() as db:
        db.execute("UPDATE recent SET hour = hour + 1")
    state.close()
    with pytest.raises(StateError) as error:
        states.reader(tmp_path / "state")
    assert error.value.code == "state-corrupt"
