"""`kill -9` before and after every durable write of the states and the key file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import states
from agencybus.errors import StateError
from agencybus.keyring import Keyring, Passphrase
from agencybus.lineage import Known
from agencybus.quarantine import Quarantine
from agencybus.state import Start
from states import CHANNEL, LINEAGE, NOON, TOPIC, begin, digest, key, reader, record, writer

TESTS = Path(__file__).parents[1]
COMMIT = "agencybus.state.store:Store._commit"
BOTH = pytest.mark.parametrize("when", ["before", "after"])
PASSPHRASE = Passphrase(b"correct horse battery staple")


def start(folder: Path, step: str, point: str = "-", when: str = "-") -> subprocess.Popen[str]:
    command = [sys.executable, str(TESTS / "faults" / "dying.py"), str(folder), step, point, when]
    paths = {"PYTHONPATH": str(TESTS)}
    return subprocess.Popen(command, env=os.environ | paths, stdout=subprocess.PIPE, text=True)


def die(folder: Path, step: str, point: str, when: str) -> None:
    with start(folder, step, point, when) as child:
        assert child.wait(timeout=60) == -signal.SIGKILL, "the child did not reach the point"


@BOTH
@pytest.mark.parametrize(
    "point",
    ["agencybus.state.store:_connect", "pathlib:Path.replace", "agencybus.state.folder:sync_folder", "os:open"],
)
def test_a_state_that_died_while_it_was_made_is_made_anew_or_complete(tmp_path: Path, point: str, when: str) -> None:
    die(tmp_path, "make_writer", point, when)
    with writer(tmp_path) as state:
        begin(state, 0)
    with writer(tmp_path) as state:
        assert [flying.record for flying in state.in_flight()] == [record(0)]
    assert {path.name for path in tmp_path.iterdir()} <= {"lock", "state.db"}


@BOTH
def test_a_record_is_journalled_with_its_references_or_not_at_all(tmp_path: Path, when: str) -> None:
    die(tmp_path, "begin", COMMIT, when)
    with writer(tmp_path) as state:
        row = state.lineage(CHANNEL, 0)
        flying, references = state.in_flight(), state.references([key(1)])
    assert row is not None
    if when == "before":
        assert (row.sequence, flying, references) == (0, [], {})
    else:
        assert (row.sequence, row.digest, references) == (1, digest(1), {key(1): states.reference(1)})
        assert [found.record for found in flying] == [record(1)]


@BOTH
def test_an_acknowledgement_that_was_not_stored_means_one_more_sending(tmp_path: Path, when: str) -> None:
    die(tmp_path, "acknowledged", COMMIT, when)
    with writer(tmp_path) as state:
        assert [found.record for found in state.in_flight()] == ([record(0)] if when == "before" else [])


@BOTH
def test_the_tail_is_adopted_or_the_record_in_flight_is_still_there(tmp_path: Path, when: str) -> None:
    die(tmp_path, "adopt", COMMIT, when)
    with writer(tmp_path) as state:
        row = state.lineage(CHANNEL, 0)
        assert row is not None
        assert (row.sequence, row.in_flight) == ((0, True) if when == "before" else (5, False))


@BOTH
def test_an_audience_key_is_kept_or_not(tmp_path: Path, when: str) -> None:
    die(tmp_path, "put_audience_key", COMMIT, when)
    with writer(tmp_path) as state:
        found = state.audience_key(states.audience_key().audience, at=NOON)
        assert found == (None if when == "before" else states.audience_key())


@BOTH
def test_a_start_is_remembered_or_asked_for_again(tmp_path: Path, when: str) -> None:
    die(tmp_path, "remember_start", COMMIT, when)
    with reader(tmp_path) as state:
        assert state.start() == (None if when == "before" else Start("now", NOON))


@BOTH
def test_a_step_of_a_reader_happened_whole_or_not_at_all(tmp_path: Path, when: str) -> None:
    die(tmp_path, "step", COMMIT, when)
    with reader(tmp_path) as state:
        found = (
            state.positions(),
            state.heads(),
            dict(state.window(LINEAGE)),
            state.known(LINEAGE.endpoint, [key(7)]),
            state.keys.get(states.audience_key().id, states.ENDPOINT),
            [entry.offset for entry in state.quarantine.entries()],
        )
    if when == "before":
        assert found == ({}, {}, {}, [False], None, [])
    else:
        window = {7: Known(digest(7)[:16], seen=True)}
        assert found == ({(TOPIC, 0): 8}, {LINEAGE: states.head(7)}, window, [True], states.audience_key(), [7])


@BOTH
def test_a_death_counts_once_the_fuse_is_in(tmp_path: Path, when: str) -> None:
    for deaths in range(2):
        die(tmp_path, "arm", COMMIT, when)
        with reader(tmp_path) as state:
            assert state.arm(TOPIC, 0, 8) == (0 if when == "before" else deaths + 1)


@BOTH
def test_a_decision_on_the_quarantine_was_taken_or_not(tmp_path: Path, when: str) -> None:
    die(tmp_path, "discard", COMMIT, when)
    with Quarantine.open(tmp_path, states.STORAGE_KEY) as desk:
        assert desk.show(1).verdict == ("held" if when == "before" else "discarded")
        assert desk.raw(1) == (record(7) if when == "before" else None)


@BOTH
@pytest.mark.parametrize("point", ["os:open", "os:fsync", "os:link", "pathlib:Path.unlink"])
def test_a_key_file_is_there_whole_or_not_at_all(tmp_path: Path, point: str, when: str) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    die(tmp_path / "keys", "save", point, when)
    path = tmp_path / "keys" / "keyring.json"
    there = path.exists()
    assert there == (point == "pathlib:Path.unlink" or (point, when) == ("os:link", "after"))
    if there:
        assert Keyring.load(path, PASSPHRASE).endpoint == states.ENDPOINT
    else:
        Keyring.generate(states.ENDPOINT).save(path, PASSPHRASE)


@BOTH
@pytest.mark.parametrize("point", ["os:fsync", "pathlib:Path.replace"])
def test_a_rotation_leaves_the_old_key_file_or_the_new_one(tmp_path: Path, point: str, when: str) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    die(tmp_path / "keys", "rotate", point, when)
    rotated = (point, when) == ("pathlib:Path.replace", "after")
    found = Keyring.load(tmp_path / "keys" / "keyring.json", PASSPHRASE)
    assert found.endpoint == ("us.cbp/new" if rotated else "us.cbp/old")


def test_a_writer_killed_at_any_moment_reuses_no_number_and_loses_no_record(tmp_path: Path) -> None:
    chance = random.Random(4)
    told = -1
    for _ in range(6):
        with start(tmp_path, "write_for_ever") as child:
            assert child.stdout is not None
            for _ in range(chance.randrange(1, 40)):
                told = int(child.stdout.readline())
            child.kill()
            told = max([told, *map(int, child.stdout.read().split())])
        with writer(tmp_path) as state:
            row = state.lineage(CHANNEL, 0)
            flying = state.in_flight()
            assert row is not None
            assert row.sequence in (told, told + 1)
            assert row.digest == digest(row.sequence)
            assert [found.record for found in flying] == ([record(row.sequence, 20_000)] if row.in_flight else [])
            assert all(state.references([key(number)]) for number in range(row.sequence + 1))


def test_a_folder_is_free_as_soon_as_its_process_is_dead(tmp_path: Path) -> None:
    with start(tmp_path, "write_for_ever") as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(StateError, match=f"process {child.pid} uses this state") as error:
            writer(tmp_path)
        assert error.value.code == "state-locked"
        child.kill()
    writer(tmp_path).close()
