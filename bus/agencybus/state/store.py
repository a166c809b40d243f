"""One SQLite database in one folder, owned by one process: what writer and reader state share.

Why SQLite with a write-ahead log: a step is one transaction, a commit is one fsync, and other processes may look at
the quarantine meanwhile. What SQLite leaves open is closed here:

- A database appears whole or not at all: made beside its place, then moved there. An empty file is damage, not a
  new state: a state that forgets itself silently would deliver twice or fork a lineage.
- SQLite does not notice a flipped bit inside a value. Rows that decide something carry a checksum. It is looked at
  when the row is read, and for all rows at open: a flip in a key would make a row unfindable, not wrong.
- A write-ahead log that was damaged ends early, without an error: an older, consistent state. Both sides can live
  with that, as after a restored backup: a writer compares with the broker's tail, a reader reads again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from agencybus.errors import StateError
from agencybus.seal import suite
from agencybus.state import folder as folders
from agencybus.wire.limits import MIB

BUSY_SECONDS: Final = 5.0  # how long a step waits for another process that decides on the quarantine
CHECKPOINT_PAGES: Final = 4096  # 16 MiB of log before it is folded into the database: pages are written once, not often
LOG_BYTES: Final = 64 * MIB  # a log that grew beyond is cut back
CHECK_BYTES: Final = 64 * MIB  # databases up to this are checked whole at open, 0.1 s; larger ones page by page in use

_IDENTITY: Final = """CREATE TABLE identity (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  kind TEXT NOT NULL, version INTEGER NOT NULL,
  endpoint TEXT NOT NULL, realm BLOB NOT NULL, name TEXT NOT NULL,
  probe BLOB NOT NULL, tally INTEGER NOT NULL
) STRICT"""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a database is.

    Attributes:
        name: `writer` or `reader`.
        version: of the schema. A change makes a new one, and a step that leads from the old one to it.
        schema: one CREATE statement each.
        tallied: one SELECT for each table whose rows end with their tally.
    """

    name: str
    version: int
    schema: tuple[str, ...]
    tallied: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose state it is.

    Attributes:
        endpoint: name of the endpoint.
        realm: the deployment, 16 bytes.
        name: the writer's or the route's name.
    """

    endpoint: str
    realm: bytes
    name: str

    @property
    def place(self) -> bytes:
        """Binds what is sealed at rest to this state: length-prefixed, so it has one reading."""
        parts = (self.realm, self.endpoint.encode(), self.name.encode())
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def tally(*fields: object) -> int:
    """CRC-32 over the fields of a row: finds flipped bits; against people there is the folder's mode."""
    return zlib.crc32(repr(fields).encode())


def checked(row: Sequence[Any]) -> tuple[Any, ...]:
    """The fields of a row whose last one is their tally.

    Raises:
        StateError: state-corrupt.
    """
    fields = tuple(row[:-1])
    if tally(*fields) != row[-1]:
        raise StateError("state-corrupt", "a row does not match its checksum")
    return fields


class Store:
    """An open database. Safe to use from several threads, one step at a time; no `await` within a transaction."""

    def __init__(self, db: sqlite3.Connection, owner: Owner, where: str, lock: int | None = None) -> None:
        self.owner = owner
        self.where = where
        self._db: sqlite3.Connection | None = db
        self._lock = lock
        self.turn = threading.RLock()
        self._synced = True

    @classmethod
    def open(cls, folder: Path, kind: Kind, owner: Owner, storage_key: bytes) -> Self:
        """Lock the folder, open the database, make it if there is none.

        Args:
            folder: made (0700) if it is not there.
            kind: what it must be.
            owner: whose it must be.
            storage_key: 32 bytes; must be the one it was made with.

        Raises:
            StateError: state-locked, state-corrupt, state-foreign, state-full or state-denied.
        """
        with folders.coded_files(folder):
            folders.make_private(folder)
            lock = folders.lock(folder)
            db = None
            try:
                path = folder / "state.db"
                if not path.exists():
                    _make(folder, path, kind, owner, storage_key)
                db = _connect(path)
                small = path.stat().st_size <= CHECK_BYTES
                if small:
                    _check_pages(db)
                _prove(storage_key, *_identify(db, kind, owner))
                if small:
                    _check_rows(db, kind)
                return cls(db, owner, str(folder), lock)
            except BaseException:
                if db is not None:
                    db.close()
                os.close(lock)
                raise

    @classmethod
    def attach(cls, folder: Path, kind: Kind, storage_key: bytes | None = None) -> Self:
        """Open a database beside its owner, without the lock: for short looks and decisions of an operator.

        Raises:
            StateError: state-missing, or as `open`.
        """
        path = folder / "state.db"
        with folders.coded_files(folder):
            if not path.exists():
                raise StateError("state-missing", "no state here", where=str(folder))
            db = _connect(path)
            try:
                found, probe = _identify(db, kind)
                if storage_key is not None:
                    _prove(storage_key, found, probe)
            except BaseException:
                db.close()
                raise
            return cls(db, found, str(folder))

    @classmethod
    def memory(cls, kind: Kind, owner: Owner) -> Self:
        """A state that ends with the process: for replays."""
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for statement in kind.schema:
            db.execute(statement)
        return cls(db, owner, ":memory:")

    @contextmanager
    def transaction(self, *, sync: bool = True) -> Iterator[sqlite3.Connection]:
        """All or nothing.

        Args:
            sync: wait until it would survive a loss of power (one fsync). Without, it survives the death of the
                process, and a later synced transaction carries it along.

        Raises:
            StateError: nothing was changed.
        """
        with self.turn, folders.coded(self.where):
            db = self._open_db()
            if db.in_transaction:
                raise StateError("state-misuse", "a step began within another step", where=self.where)
            if sync != self._synced:
                db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
                self._synced = sync
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                self._commit(db)
            except BaseException:
                _roll_back(db)
                raise

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one SELECT; within a transaction of the same thread it sees what was written so far."""
        with self.turn, folders.coded(self.where):
            return self._open_db().execute(sql, parameters).fetchall()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """As `read`, for rows that end with their tally; without it.

        Raises:
            StateError: state-corrupt.
        """
        return [checked(row) for row in self.read(sql, parameters)]

    def close(self) -> None:
        """Fold the log into the database, free the lock. Twice is fine."""
        with self.turn:
            db, self._db = self._db, None
            if db is not None:
                with suppress(sqlite3.Error):  # what was committed is in the log; a full disk can't fold it now
                    db.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _open_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise StateError("state-misuse", "the state was closed", where=self.where)
        return self._db

    @staticmethod
    def _commit(db: sqlite3.Connection) -> None:
        """The one place where a step becomes durable; tests kill the process before and after it."""
        db.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    """Open an existing database; never makes one."""
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for setting in (
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "synchronous = FULL",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
            f"journal_size_limit = {LOG_BYTES}",
        ):
            db.execute(f"PRAGMA {setting}")
    except BaseException:
        db.close()
        raise
    return db


def _roll_back(db: sqlite3.Connection) -> None:
    """Undo the open transaction, unless SQLite did already, as it does on a full disk."""
    if db.in_transaction:
        with suppress(sqlite3.Error):  # the first error is the one to tell; SQLite recovers on its own
            db.execute("ROLLBACK")


def _make(folder: Path, path: Path, kind: Kind, owner: Owner, storage_key: bytes) -> None:
    """Make the database beside its place and move it there whole."""
    if path.with_name("state.db-wal").exists():
        raise StateError("state-corrupt", "the log is there, the database is gone", where=str(folder))
    new = path.with_name("state.db.new")
    for leftover in folder.glob("state.db.new*"):
        leftover.unlink()
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    db = _connect(new)
    try:
        db.execute("BEGIN")
        for statement in (_IDENTITY, *kind.schema):
            db.execute(statement)
        probe = suite.storage_seal(storage_key, b"", _probe_aad(owner))
        fields = (kind.name, kind.version, owner.endpoint, owner.realm, owner.name, probe)
        row = (*fields, tally(*fields, _schema(db)))
        db.execute("INSERT INTO identity VALUES (1, ?, ?, ?, ?, ?, ?, ?)", row)
        db.execute("COMMIT")
        if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StateError("state-denied", "this file system can't share memory: use a local disk", where=str(folder))
    finally:
        db.close()
    new.replace(path)
    folders.sync_folder(folder)


def _check_pages(db: sqlite3.Connection) -> None:
    """Have SQLite look at every page, and compare every index with its table."""
    if db.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
        raise StateError("state-corrupt", "the database is damaged")


def _check_rows(db: sqlite3.Connection, kind: Kind) -> None:
    """Compare every row with its checksum."""
    for select in kind.tallied:
        for row in db.execute(select):
            checked(row)


def _identify(db: sqlite3.Connection, kind: Kind, expected: Owner | None = None) -> tuple[Owner, bytes]:
    """Read whose database it is, and the probe of its storage key."""
    row = db.execute("SELECT kind, version, endpoint, realm, name, probe, tally FROM identity").fetchone()
    if row is None or tally(*row[:-1], _schema(db)) != row[-1]:
        raise StateError("state-corrupt", "the state does not know whose it is")
    name, version, endpoint, realm, owner, probe = row[:-1]
    if name != kind.name:
        raise StateError("state-foreign", f"it is a {name} state, not a {kind.name} state")
    if version != kind.version:
        hint = "Use the version of this program that made it, or a newer one."
        raise StateError("state-foreign", f"its schema is {version}, known is {kind.version}", hint=hint)
    found = Owner(endpoint, realm, owner)
    if expected not in (None, found):
        raise StateError("state-foreign", f"it belongs to {endpoint}, {owner}, realm {realm.hex()}")
    return found, probe


def _schema(db: sqlite3.Connection) -> list[tuple[str]]:
    return db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()


def _probe_aad(owner: Owner) -> bytes:
    return b"agencybus/v1/state-probe\x00" + owner.place


def _prove(storage_key: bytes, owner: Owner, probe: bytes) -> None:
    """Tell a wrong key ring at once, not at the first sealed value weeks later."""
    try:
        suite.storage_open(storage_key, probe, _probe_aad(owner))
    except suite.SealError:
        hint = "Use the key ring that the state was made with, or move the state away."
        raise StateError("state-foreign", "its secrets are sealed with another key ring", hint=hint) from None
