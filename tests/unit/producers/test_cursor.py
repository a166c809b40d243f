"""The cursor survives what happens to files and processes, and never forgets silently."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from agencybus.errors import StateError
from agencybus_producers.changes import Planned
from agencybus_producers.cursor import Cursor
from agencybus_producers.fbi import source
from producing import entries, posters, read, stamp

SOURCE = "fbi-wanted"


@pytest.fixture
def messages() -> list[Planned]:
    return source.plan(read(posters()[:3]), {}, stamp()).messages


def cursor(folder: Path, *, endpoint: str = "us.fbi/wanted", name: str = SOURCE) -> Cursor:
    return Cursor.open(folder, endpoint=endpoint, source=name)


def code_of(folder: Path, *, endpoint: str = "us.fbi/wanted", name: str = SOURCE) -> str:
    with pytest.raises(StateError) as caught:
        cursor(folder, endpoint=endpoint, name=name)
    return caught.value.code


def test_what_is_stored_comes_back_the_same(tmp_path: Path, messages: list[Planned]) -> None:
    with cursor(tmp_path / "c") as one:
        one.begin(messages)
    with cursor(tmp_path / "c") as two:
        assert sorted(two.waiting(), key=lambda m: m.entry.key) == sorted(messages, key=lambda m: m.entry.key)
        assert two.entries() == {}
        two.settle([message.entry for message in messages[:2]], [messages[2].entry.key])
    with cursor(tmp_path / "c") as three:
        assert three.entries() == entries(messages[:2])
        assert three.waiting() == []


def test_files_and_folder_are_private(tmp_path: Path) -> None:
    cursor(tmp_path / "c").close()
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "c" / "cursor.db").stat().st_mode & 0o777 == 0o600


def test_one_process_holds_it(tmp_path: Path) -> None:
    with cursor(tmp_path / "c"):
        assert code_of(tmp_path / "c") == "state-locked"
    cursor(tmp_path / "c").close()


def test_a_look_neither_makes_nor_locks_nor_writes(tmp_path: Path, messages: list[Planned]) -> None:
    with Cursor.look(tmp_path / "c", endpoint="us.fbi/wanted", source=SOURCE) as nothing:
        assert nothing.entries() == {}
    assert not (tmp_path / "c").exists()
    with cursor(tmp_path / "c") as one:
        one.begin(messages)
        with Cursor.look(tmp_path / "c", endpoint="us.fbi/wanted", source=SOURCE) as look:
            assert len(look.waiting()) == 3
            with pytest.raises(StateError) as caught:
                look.begin(messages)
    assert caught.value.code == "state-denied"


def test_the_cursor_of_another_endpoint_or_source_is_not_used(tmp_path: Path) -> None:
    cursor(tmp_path / "c").close()
    assert code_of(tmp_path / "c", endpoint="us.cbp/ntc-cargo") == "state-foreign"
    assert code_of(tmp_path / "c", name="hold-form") == "state-foreign"


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough to be read as one", b"\x00" * 8192])
def test_a_damaged_cursor_is_told_and_never_taken_for_a_new_one(tmp_path: Path, damage: bytes) -> None:
    cursor(tmp_path / "c").close()
    (tmp_path / "c" / "cursor.db").write_bytes(damage)
    assert code_of(tmp_path / "c") == "state-corrupt"


def test_an_event_in_it_that_cannot_be_read_is_told(tmp_path: Path, messages: list[Planned]) -> None:
    with cursor(tmp_path / "c") as one:
        one.settle([message.entry for message in messages], [])
    with sqlite3.connect(tmp_path / "c" / "cursor.db") as db:
        db.execute("UPDATE entry SET event = x'7b7d'")
    with cursor(tmp_path / "c") as one, pytest.raises(StateError) as caught:
        one.entries()
    assert caught.value.code == "state-corrupt"


def test_a_half_made_cursor_of_a_process_that_died_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "cursor.db.new").write_bytes(b"half")
    with cursor(tmp_path / "c") as one:
        assert one.entries() == {}


def test_a_full_disk_is_told_and_nothing_is_half_stored(tmp_path: Path, messages: list[Planned]) -> None:
    with cursor(tmp_path / "c") as one:
        one.begin(messages[:1])
        one._db.execute("PRAGMA max_page_count = 1")  # SQLite's own way to a full disk
        with pytest.raises(StateError) as caught:
            one.settle([message.entry for message in messages], [])
        assert caught.value.code == "state-full"
        assert one.entries() == {}
        assert len(one.waiting()) == 1
