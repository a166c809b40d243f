from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

import states
from agencybus.errors import StateError
from agencybus.state import folder as folders
from agencybus.state.store import Owner, tally


def code_of(error: pytest.ExceptionInfo[StateError]) -> str:
    return error.value.code


def test_a_state_is_made_where_there_is_none_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    states.writer(folder).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_the_log_of_a_state_in_use_is_private_too(tmp_path: Path) -> None:
    with states.writer(tmp_path / "state") as state:
        states.begin(state, 0)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert modes == dict.fromkeys(("lock", "state.db", "state.db-wal", "state.db-shm"), 0o600)


def test_a_second_opening_is_refused_and_told_which_process_has_it(tmp_path: Path) -> None:
    with states.writer(tmp_path / "state"), pytest.raises(StateError, match=r"process \d+ uses this") as error:
        states.writer(tmp_path / "state")
    assert code_of(error) == "state-locked"
    states.writer(tmp_path / "state").close()


@pytest.mark.parametrize(
    "changed", [{"endpoint": "us.fbi/wanted"}, {"realm": bytes(16)}, {"writer": "second"}], ids=str
)
def test_a_state_of_another_endpoint_realm_or_writer_is_foreign(tmp_path: Path, changed: dict[str, object]) -> None:
    states.writer(tmp_path / "state").close()
    with pytest.raises(StateError) as error:
        states.writer(tmp_path / "state", **changed)
    assert code_of(error) == "state-foreign"


def test_a_writer_state_is_foreign_to_a_reader(tmp_path: Path) -> None:
    states.writer(tmp_path / "state", writer="siem").close()
    with pytest.raises(StateError, match="writer state") as error:
        states.reader(tmp_path / "state")
    assert code_of(error) == "state-foreign"


def test_another_key_ring_is_told_at_once(tmp_path: Path) -> None:
    states.writer(tmp_path / "state").close()
    with pytest.raises(StateError, match="key ring") as error:
        states.writer(tmp_path / "state", storage_key=bytes(32))
    assert code_of(error) == "state-foreign"
    states.writer(tmp_path / "state").close()


def test_a_state_of_a_newer_program_is_refused_with_the_way_out(tmp_path: Path) -> None:
    states.writer(tmp_path / "state").close()
    db = sqlite3.connect(tmp_path / "state" / "state.db")
    row = db.execute("SELECT kind, version, endpoint, realm, name, probe FROM identity").fetchone()
    schema = db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()
    newer = (row[0], 2, *row[2:])
    db.execute("UPDATE identity SET version = 2, tally = ?", (tally(*newer, schema),))
    db.commit()
    db.close()
    with pytest.raises(StateError, match="schema is 2") as error:
        states.writer(tmp_path / "state")
    assert code_of(error) == "state-foreign"
    assert "newer" in error.value.hint


def test_an_empty_database_is_damage_and_not_a_new_state(tmp_path: Path) -> None:
    states.writer(tmp_path / "state").close()
    (tmp_path / "state" / "state.db").write_bytes(b"")
    with pytest.raises(StateError) as error:
        states.writer(tmp_path / "state")
    assert code_of(error) == "state-corrupt"


def test_a_log_without_its_database_is_damage_and_not_a_new_state(tmp_path: Path) -> None:
    states.writer(tmp_path / "state").close()
    (tmp_path / "state" / "state.db").rename(tmp_path / "state" / "state.db-wal")
    with pytest.raises(StateError) as error:
        states.writer(tmp_path / "state")
    assert code_of(error) == "state-corrupt"


def test_something_else_in_the_place_of_the_database_is_corrupt(tmp_path: Path) -> None:
    states.writer(tmp_path / "state").close()
    (tmp_path / "state" / "state.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(StateError) as error:
        states.writer(tmp_path / "state")
    assert code_of(error) == "state-corrupt"


def test_a_file_in_the_place_of_the_folder_is_denied(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError) as error:
        states.writer(tmp_path / "state")
    assert code_of(error) == "state-denied"


def test_a_failed_opening_leaves_no_lock(tmp_path: Path) -> None:
    states.writer(tmp_path / "state").close()
    with pytest.raises(StateError):
        states.writer(tmp_path / "state", writer="second")
    states.writer(tmp_path / "state").close()


def test_a_closed_state_says_so(tmp_path: Path) -> None:
    state = states.writer(tmp_path / "state")
    state.close()
    state.close()
    with pytest.raises(StateError, match="closed") as error:
        state.lineage(states.CHANNEL, 0)
    assert code_of(error) == "state-misuse"


def test_a_step_within_a_step_is_stopped(tmp_path: Path) -> None:
    with states.reader(tmp_path / "state") as state, state.transaction() as outer:
        outer.offset(states.TOPIC, 0, 7)
        with pytest.raises(StateError, match="within") as error:
            state.arm(states.TOPIC, 0, 7)
        assert code_of(error) == "state-misuse"


def test_steps_of_several_threads_come_one_after_the_other(tmp_path: Path) -> None:
    with states.reader(tmp_path / "state") as state:

        def work(partition: int) -> None:
            for offset in range(20):
                with state.transaction(sync=False) as step:
                    step.offset(states.TOPIC, partition, offset)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert state.positions() == {(states.TOPIC, number): 19 for number in range(4)}


def test_a_number_beyond_63_bits_is_an_error_of_ours(tmp_path: Path) -> None:
    with (
        states.reader(tmp_path / "state") as state,
        pytest.raises(StateError, match="63 bits"),
        state.transaction() as step,
    ):
        step.offset(states.TOPIC, 0, 1 << 63)


def test_places_that_differ_only_in_where_a_name_ends_are_different() -> None:
    assert Owner("us.cbp/a", bytes(16), "bc").place != Owner("us.cbp/ab", bytes(16), "c").place


def test_the_lock_of_a_dead_process_is_free(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4194304\n")
    os.close(folders.lock(tmp_path))
