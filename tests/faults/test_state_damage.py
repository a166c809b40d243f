"""Files that were cut or whose bits flipped: the answer is right, or it is state-corrupt; never an error of SQLite.

What a flipped bit may still do, and nothing more: take a remembered reference away (one duplicate), or end the log
early (an older, consistent state).
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import states
from agencybus.errors import StateError
from agencybus.lineage import Known
from agencybus.state import Start
from states import CHANNEL, LINEAGE, NOON, TOPIC, begin, digest, head, key, reader, record, writer

Make = Callable[[Path], None]
Look = Callable[[Path], object]
ALLOWED = {"state-corrupt", "state-foreign"}  # foreign: the flip made it the database of another kind or program
FLIPS = 150


def make_writer(folder: Path) -> None:
    with writer(folder) as state:
        for number in range(4):
            begin(state, number, references=[states.reference(number)])
            if number < 3:
                state.acknowledged(CHANNEL, 0, number)
        state.put_audience_key(states.audience_key())


def look_at_writer(folder: Path) -> object:
    with writer(folder) as state:
        row = state.lineage(CHANNEL, 0)
        flying = [(found.sequence, found.record) for found in state.in_flight()]
        found = state.audience_key(states.audience_key().audience, at=NOON)
        return row, flying, found, state.references([key(number) for number in range(4)])


def make_reader(folder: Path) -> None:
    with reader(folder) as state:
        state.remember_start(Start("now", NOON))
        for number in range(4):
            with state.transaction() as step:
                step.head(LINEAGE, head(number))
                step.window(LINEAGE, {number: Known(digest(number)[:16], seen=True)})
                step.quarantine(states.refused(number))
                step.audience_key(states.audience_key())
                step.offset(TOPIC, 0, number + 1)


def look_at_reader(folder: Path) -> object:
    with reader(folder) as state:
        entries = state.quarantine.entries()
        return (
            state.start(),
            state.positions(),
            state.heads(),
            dict(state.window(LINEAGE)),
            state.keys.get(states.audience_key().id, states.ENDPOINT),
            [(entry, state.quarantine.raw(entry)) for entry in entries],
        )


def answer(look: Callable[[Path], object], folder: Path) -> object:
    """What is found in the folder, or the code of the error."""
    try:
        return look(folder)
    except StateError as error:
        return error.code


SIDES = pytest.mark.parametrize(
    ("make", "look"), [(make_writer, look_at_writer), (make_reader, look_at_reader)], ids=["writer", "reader"]
)


@SIDES
def test_a_flipped_bit_of_the_database_changes_no_answer_unnoticed(tmp_path: Path, make: Make, look: Look) -> None:
    make(tmp_path / "good")
    right = look(tmp_path / "good")
    sound = (tmp_path / "good" / "state.db").read_bytes()
    chance, noticed = random.Random(11), 0
    (tmp_path / "bad").mkdir(mode=0o700)
    for _ in range(FLIPS):
        bad = bytearray(sound)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        for path in (tmp_path / "bad").iterdir():
            path.unlink()
        (tmp_path / "bad" / "state.db").write_bytes(bad)
        found = answer(look, tmp_path / "bad")
        assert found == right or found in ALLOWED
        noticed += found != right
    assert noticed >= FLIPS // 20, "the flips hit nothing that is looked at"


@SIDES
def test_a_database_that_lost_a_page_is_corrupt(tmp_path: Path, make: Make, look: Look) -> None:
    make(tmp_path / "good")
    sound = (tmp_path / "good" / "state.db").read_bytes()
    (tmp_path / "bad").mkdir(mode=0o700)
    for size in {0, 1, 99, 100, 4095, 4096, 4097, len(sound) // 2, len(sound) - 4097, len(sound) - 4096}:
        (tmp_path / "bad" / "state.db").write_bytes(sound[:size])
        with pytest.raises(StateError) as error:
            look(tmp_path / "bad")
        assert error.value.code in ALLOWED


def test_a_damaged_log_gives_an_older_state_that_is_consistent(tmp_path: Path) -> None:
    state = writer(tmp_path / "good")
    for number in range(6):
        begin(state, number)
        state.acknowledged(CHANNEL, 0, number)
    shutil.copytree(tmp_path / "good", tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm"))
    state.close()
    log = (tmp_path / "copy" / "state.db-wal").read_bytes()
    chance, sequences = random.Random(7), set()
    for _ in range(40):
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "copy", tmp_path / "bad")
        bad = bytearray(log[: chance.randrange(len(log))])
        if bad:
            bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        (tmp_path / "bad" / "state.db-wal").write_bytes(bad)
        with writer(tmp_path / "bad") as state:
            row = state.lineage(CHANNEL, 0)
            sequences.add(row.sequence if row else -1)
            assert row is None or row.digest == digest(row.sequence)
            assert all(found.record == record(found.sequence) for found in state.in_flight())
    assert len(sequences) > 2


def test_a_page_that_is_gone_while_the_state_is_open_is_told_with_a_code(tmp_path: Path) -> None:
    make_reader(tmp_path / "state")
    with reader(tmp_path / "state") as state:
        path = tmp_path / "state" / "state.db"
        path.write_bytes(path.read_bytes()[:8192])
        with pytest.raises(StateError) as error:
            dict(state.window(LINEAGE))
        assert error.value.code == "state-corrupt"
