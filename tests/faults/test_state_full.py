"""A disk that fills up under the states: nothing is acknowledged that is not stored, and all goes on with new space."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import states
from agencybus.errors import KeyringError, StateError
from agencybus.keyring import Keyring, Passphrase
from agencybus.state import ReaderState
from states import CHANNEL, LINEAGE, NOON, TOPIC, begin, digest, key, reader, record, writer

TESTS = Path(__file__).parents[1]
SIZE = "2m"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "agencybus-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount; the test with a limited file size runs everywhere")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (64 * 1024, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return ballast


def test_a_writer_on_a_full_disk_refuses_and_loses_nothing(disk: Path) -> None:
    with writer(disk / "state") as state:
        begin(state, 0)
        state.acknowledged(CHANNEL, 0, 0)
        ballast = fill(disk)
        with pytest.raises(StateError) as error:
            begin(state, 1, size=300_000, references=[states.reference(1)])
        assert error.value.code == "state-full"
        assert state.in_flight() == []
        assert state.references([key(1)]) == {}
        ballast.unlink()
        begin(state, 1, references=[states.reference(1)])
    with writer(disk / "state") as state:
        assert [flying.record for flying in state.in_flight()] == [record(1)]
        assert state.references([key(1)]) == {key(1): states.reference(1)}


def test_an_acknowledgement_on_a_full_disk_leaves_the_record_in_flight(disk: Path) -> None:
    with writer(disk / "state") as state:
        begin(state, 0)
        ballast = fill(disk)
        with pytest.raises(StateError) as error:
            state.acknowledged(CHANNEL, 0, 0)
        assert error.value.code == "state-full"
        assert [flying.record for flying in state.in_flight()] == [record(0)]
        ballast.unlink()
        state.acknowledged(CHANNEL, 0, 0)
        assert state.in_flight() == []


def read_for_ever(state: ReaderState) -> None:
    for offset in itertools.count(1):
        with state.transaction() as step:
            step.quarantine(states.refused(offset, raw=os.urandom(50_000)))
            step.seen(LINEAGE.endpoint, [key(offset)], at=NOON)
            step.offset(TOPIC, 0, offset + 1)


def test_a_reader_on_a_full_disk_does_not_move_on(disk: Path) -> None:
    with reader(disk / "state") as state:
        with state.transaction() as step:
            step.offset(TOPIC, 0, 1)
        ballast = fill(disk)
        with pytest.raises(StateError) as error:
            read_for_ever(state)
        assert error.value.code == "state-full"
        offset = state.positions()[TOPIC, 0]
        assert state.known(LINEAGE.endpoint, [key(offset)]) == [False]
        assert len(state.quarantine.entries()) == offset - 1
        ballast.unlink()
        with state.transaction() as step:
            assert step.seen(LINEAGE.endpoint, [key(offset)], at=NOON) == [False]
            step.offset(TOPIC, 0, offset + 1)
    with reader(disk / "state") as state:
        assert state.positions() == {(TOPIC, 0): offset + 1}


def test_a_state_that_can_not_be_made_leaves_nothing_that_looks_like_one(disk: Path) -> None:
    ballast = fill(disk)
    with pytest.raises(StateError) as error:
        writer(disk / "state")
    assert error.value.code == "state-full"
    ballast.unlink()
    with writer(disk / "state") as state:
        assert state.lineage(CHANNEL, 0) is None


def test_a_state_survives_that_it_is_closed_on_a_full_disk(disk: Path) -> None:
    state = writer(disk / "state")
    begin(state, 0)
    ballast = fill(disk)
    state.close()
    ballast.unlink()
    with writer(disk / "state") as state:
        assert [flying.record for flying in state.in_flight()] == [record(0)]


def test_a_key_file_on_a_full_disk_is_the_old_one(disk: Path) -> None:
    path = disk / "keyring.json"
    passphrase = Passphrase(b"correct horse battery staple")
    Keyring.generate("us.cbp/old").save(path, passphrase)
    fill(disk)
    with pytest.raises(KeyringError) as error:
        Keyring.generate("us.cbp/new").save(path, passphrase, replace=True)
    assert error.value.code == "keyring-unwritable"
    assert Keyring.load(path, passphrase).endpoint == "us.cbp/old"
    assert sorted(found.name for found in disk.iterdir()) == ["ballast", "keyring.json"]


LIMITED = """
import resource, sys
from pathlib import Path
import states
from agencybus.errors import StateError

state = states.writer(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
number = 0
try:
    while True:
        states.begin(state, number, size=50_000)
        state.acknowledged(states.CHANNEL, 0, number)
        number += 1
except StateError as error:
    print(error.code, number)
"""


def test_a_file_that_must_not_grow_is_a_full_disk_too(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    code, number = done.stdout.split()
    assert code == "state-full"
    assert done.stderr == ""
    with writer(tmp_path) as state:
        row = state.lineage(CHANNEL, 0)
        assert row is not None
        assert row.sequence in (int(number) - 1, int(number))
        assert row.digest == digest(row.sequence)
