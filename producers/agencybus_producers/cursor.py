"""The durable cursor of a source: what was published about each subject, and what is on its way.

A message is stored here, whole, before it is published, and moves on only when it was accepted. After a crash in
between the same message is published again: same reference, same bytes, so the publisher answers that it has it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from agencybus.errors import StateError
from agencybus.state import folder as folders
from agencybus_producers.changes import Change, Entry, Planned
from agencybus_schemas.events import TYPES, Event

VERSION: Final = 1
_NAME: Final = "cursor.db"
_SCHEMA: Final = (
    "CREATE TABLE owner (version INTEGER NOT NULL, endpoint TEXT NOT NULL, source TEXT NOT NULL) STRICT",
    """CREATE TABLE entry (
  key TEXT PRIMARY KEY, serial INTEGER NOT NULL CHECK (serial > 0), type TEXT NOT NULL, event BLOB NOT NULL
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE waiting (
  key TEXT PRIMARY KEY, serial INTEGER NOT NULL CHECK (serial > 0), type TEXT NOT NULL, event BLOB NOT NULL,
  change TEXT NOT NULL, fields TEXT NOT NULL, place TEXT NOT NULL
) STRICT, WITHOUT ROWID""",
)


class Cursor:
    """The cursor of one source of one endpoint. One process holds it at a time."""

    def __init__(self, db: sqlite3.Connection, where: str, lock: int | None = None) -> None:
        self._db = db
        self._where = where
        self._lock = lock

    @classmethod
    def open(cls, folder: Path, *, endpoint: str, source: str) -> Self:
        """Lock the folder, open the cursor, make it if there is none.

        Args:
            folder: made (0700) if it is not there.
            endpoint: whose cursor it is.
            source: name of the source.

        Raises:
            StateError: state-locked, state-corrupt, state-foreign, state-full or state-denied.
        """
        with folders.coded_files(folder):
            folders.make_private(folder)
            lock = folders.lock(folder)
            try:
                path = folder / _NAME
                if not path.exists():
                    _make(path, endpoint, source)
                return cls(_connect(path, endpoint, source), str(folder), lock)
            except BaseException:
                os.close(lock)
                raise

    @classmethod
    def look(cls, folder: Path, *, endpoint: str, source: str) -> Self:
        """Open the cursor to read it, without the lock and without making anything: for a dry run.

        Raises:
            StateError: as `open`, but for state-locked.
        """
        path = folder / _NAME
        with folders.coded_files(folder):
            if path.exists():
                return cls(_connect(path, endpoint, source, mode="ro"), str(folder))
            db = sqlite3.connect(":memory:", isolation_level=None)
            for statement in _SCHEMA:
                db.execute(statement)
            return cls(db, str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the folder. Twice is fine."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- reading

    def entries(self) -> dict[str, Entry]:
        """What was published, by key.

        Raises:
            StateError: state-corrupt.
        """
        with folders.coded(self._where):
            rows = self._db.execute("SELECT key, serial, type, event FROM entry").fetchall()
        return {key: Entry(key, serial, self._event(kind, event)) for key, serial, kind, event in rows}

    def waiting(self) -> list[Planned]:
        """What was to be published and is not known to have been accepted.

        Raises:
            StateError: state-corrupt.
        """
        with folders.coded(self._where):
            rows = self._db.execute("SELECT key, serial, type, event, change, fields, place FROM waiting").fetchall()
        return [
            Planned(Change(change), Entry(key, serial, self._event(kind, event)), tuple(fields.split()), place)
            for key, serial, kind, event, change, fields, place in rows
        ]

    def _event(self, kind: str, event: bytes) -> Event:
        try:
            return msgspec.json.decode(event, type=TYPES[kind])
        except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
            raise StateError("state-corrupt", "an event in the cursor can't be read", where=self._where) from None

    # --- writing, each one transaction that waits for the disk

    def begin(self, messages: Iterable[Planned]) -> None:
        """Remember what is about to be published. Again is fine.

        Raises:
            StateError: state-full or state-denied; nothing may be published.
        """
        rows = [
            (*_row(message.entry), message.change.value, " ".join(message.fields), message.where)
            for message in messages
        ]
        with folders.coded(self._where), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def settle(self, accepted: Iterable[Entry], refused: Iterable[str]) -> None:
        """Move on: remember what was accepted, and forget what never will be.

        Args:
            accepted: entries of messages that were accepted.
            refused: keys of messages that were refused.

        Raises:
            StateError: state-full or state-denied; the messages are published again by the next run.
        """
        rows = [_row(entry) for entry in accepted]
        with folders.coded(self._where), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)", rows)
            self._db.executemany("DELETE FROM waiting WHERE key = ?", [(row[0],) for row in rows])
            self._db.executemany("DELETE FROM waiting WHERE key = ?", [(key,) for key in refused])


def _row(entry: Entry) -> tuple[str, int, str, bytes]:
    return entry.key, entry.serial, entry.event.type_name, msgspec.json.encode(entry.event)


def _connect(path: Path, endpoint: str, source: str, *, mode: str = "rw") -> sqlite3.Connection:
    """Open an existing cursor and see whose it is."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
    try:
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA synchronous = FULL")
        _check(db, endpoint, source, str(path))
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection, endpoint: str, source: str, where: str) -> None:
    if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise StateError("state-corrupt", "the cursor is damaged", where=where)
    row = db.execute("SELECT version, endpoint, source FROM owner").fetchone()
    if row is None:
        raise StateError("state-corrupt", "the cursor does not know whose it is", where=where)
    if row != (VERSION, endpoint, source):
        what = f"the cursor is of {row[1]}, source {row[2]}, version {row[0]}"
        raise StateError("state-foreign", what, where=where)


def _make(path: Path, endpoint: str, source: str) -> None:
    """Make the cursor beside its place and move it there whole: an empty one would publish everything again."""
    new = path.with_name(f"{_NAME}.new")
    for leftover in (new, new.with_name(f"{new.name}-journal")):
        leftover.unlink(missing_ok=True)
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(new, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN")
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute("INSERT INTO owner VALUES (?, ?, ?)", (VERSION, endpoint, source))
        db.execute("COMMIT")
    new.replace(path)
    folders.sync_folder(path.parent)
