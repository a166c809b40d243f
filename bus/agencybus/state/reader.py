"""What a reader must never forget: how far it is, what it saw of each lineage, which references it delivered.

Everything that a record changes is one transaction, offset included, so a crash between two changes can't be. Kafka's
committed offset plays no part: a broker can roll it back.

Durability (design, section 7: "after a crash at most one frame comes again"):

- A transaction waits for the disk. Without, a loss of power would take back all steps since the last checkpoint of
  the log, offset and references together: still consistent, but hundreds of frames would come again into a sink that
  can't tell (exec, syslog, webhook). `sync=False` is for sinks that keep their own position in what they write
  (SQL, jsonl, one file per event), and for tests.
- The crash fuse does not wait. It guards against records that kill the process, and a killed process takes nothing
  back that was committed. A loss of power may forget a mark: one death fewer is counted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from agencybus.errors import StateError
from agencybus.lineage import WINDOW, Head, Known, LineageId
from agencybus.seal.grant import AudienceKey
from agencybus.state import keys, references, vault
from agencybus.state.store import Kind, Owner, Store, checked, tally

REMEMBERED_US: Final = 7 * 24 * 3600 * 1_000_000  # how long a delivered reference is remembered, µs
_NUMBER: Final = 4  # bytes of an originator's number behind its keys

_START: Final = "SELECT policy, at, tally FROM start"
_POSITION: Final = "SELECT topic, partition, offset, tally FROM position"
_FUSE: Final = "SELECT topic, partition, offset, deaths, run, tally FROM fuse"
_HEAD: Final = "SELECT id, endpoint, writer, channel, partition, sequence, digest, sealed_at, state, tally FROM lineage"
_THIS_LINEAGE: Final = "WHERE endpoint = ? AND writer = ? AND channel = ? AND partition = ?"
_LINES: Final = "SELECT lineage, sequence, digest, seen, tally FROM window"
_LINE: Final = f"{_LINES} WHERE lineage = (SELECT id FROM lineage {_THIS_LINEAGE})"  # noqa: S608 - constants
_ORIGINATOR: Final = "SELECT id, name, tally FROM originator"

KIND: Final = Kind(
    "reader",
    1,
    (
        """CREATE TABLE start (
  one INTEGER PRIMARY KEY CHECK (one = 1), policy TEXT NOT NULL, at INTEGER NOT NULL, tally INTEGER NOT NULL
) STRICT""",
        """CREATE TABLE position (
  topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, tally INTEGER NOT NULL,
  PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID""",
        """CREATE TABLE fuse (
  topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
  deaths INTEGER NOT NULL, run INTEGER NOT NULL, tally INTEGER NOT NULL,
  PRIMARY KEY (topic, partition, offset)
) STRICT, WITHOUT ROWID""",
        """CREATE TABLE lineage (
  id INTEGER PRIMARY KEY,
  endpoint TEXT NOT NULL, writer TEXT NOT NULL, channel TEXT NOT NULL, partition INTEGER NOT NULL,
  sequence INTEGER NOT NULL, digest BLOB NOT NULL, sealed_at INTEGER NOT NULL, state TEXT NOT NULL,
  tally INTEGER NOT NULL,
  UNIQUE (endpoint, writer, channel, partition)
) STRICT""",
        """CREATE TABLE window (
  lineage INTEGER NOT NULL, sequence INTEGER NOT NULL, digest BLOB NOT NULL, seen INTEGER NOT NULL,
  tally INTEGER NOT NULL,
  PRIMARY KEY (lineage, sequence)
) STRICT, WITHOUT ROWID""",
        """CREATE TABLE originator (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, tally INTEGER NOT NULL
) STRICT""",
        *references.SCHEMA,
        *keys.SCHEMA,
        *vault.SCHEMA,
    ),
    (_START, _POSITION, _FUSE, _HEAD, _LINES, _ORIGINATOR, *keys.TALLIED, *vault.TALLIED),
)


class Start(NamedTuple):
    """Where a new reader began; asked for once, remembered.

    Attributes:
        policy: `earliest`, `now` or `time`.
        at: the time it stands for, µs since the epoch: records sealed since then are this reader's to miss.
    """

    policy: str
    at: int


class Window(Mapping[int, Known]):
    """The remembered lines of a lineage, read from the state when asked: a reader in order asks for none."""

    def __init__(self, store: Store, lineage: LineageId) -> None:
        self._store = store
        self._lineage = lineage

    def __getitem__(self, sequence: int) -> Known:
        sql = f"{_LINE} AND sequence = ?"
        for _, _, digest, seen in self._store.rows(sql, (*self._lineage, sequence)):
            return Known(digest, bool(seen))
        raise KeyError(sequence)

    def __iter__(self) -> Iterator[int]:
        rows = self._store.rows(f"{_LINE} ORDER BY sequence", self._lineage)
        return iter([row[1] for row in rows])

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Transaction:
    """The changes of one step. They happen all, when the block ends, or none."""

    def __init__(self, state: ReaderState, db: sqlite3.Connection) -> None:
        self._state = state
        self._db = db

    def offset(self, topic: str, partition: int, offset: int) -> None:
        """Go on at this offset: the next one to read. Fuses below it are taken out."""
        fields = (topic, partition, offset)
        self._db.execute("INSERT OR REPLACE INTO position VALUES (?, ?, ?, ?)", (*fields, tally(*fields)))
        self._db.execute("DELETE FROM fuse WHERE topic = ? AND partition = ? AND offset < ?", fields)

    def head(self, lineage: LineageId, head: Head) -> None:
        """The newest accepted record of a lineage."""
        number = self._state.number_of(lineage)
        if number is None:
            number = self._db.execute("SELECT coalesce(max(id), 0) + 1 FROM lineage").fetchone()[0]
        fields = (number, *lineage, head.sequence, head.digest, head.sealed_at, head.state)
        row = (*fields, tally(*fields))
        self._db.execute("INSERT OR REPLACE INTO lineage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def window(self, lineage: LineageId, learned: Mapping[int, Known]) -> None:
        """New lines of a lineage's window, after its `head`. The last `WINDOW` numbers stay.

        Raises:
            StateError: state-misuse: the lineage has no head.
        """
        number = self._state.number_of(lineage)
        if number is None:
            raise StateError("state-misuse", "a window before the first head")
        for sequence, known in learned.items():
            fields = (number, sequence, known.digest, int(known.seen))
            self._db.execute("INSERT OR REPLACE INTO window VALUES (?, ?, ?, ?, ?)", (*fields, tally(*fields)))
        newest = "(SELECT max(sequence) FROM window WHERE lineage = ?1)"
        self._db.execute(f"DELETE FROM window WHERE lineage = ?1 AND sequence <= {newest} - ?2", (number, WINDOW))  # noqa: S608

    def seen(self, originator: str, keys: Sequence[bytes], *, at: int) -> list[bool]:
        """Which of the references were delivered before; from now on all are.

        Args:
            originator: the endpoint whose references they are.
            keys: hash of each reference, 16 bytes; one that comes twice was delivered before the second time.
            at: now, µs since the epoch; remembered for `REMEMBERED_US` from here.
        """
        number = self._state.originator(originator)
        if number is None:
            number = self._db.execute("SELECT coalesce(max(id), 0) + 1 FROM originator").fetchone()[0]
            row = (number, originator, tally(number, originator))
            self._db.execute("INSERT INTO originator VALUES (?, ?, ?)", row)
        return self._state.remember(self._db, _owned(number, keys), at=at)

    def audience_key(self, key: AudienceKey) -> None:
        """Keep a key, for ever; sealed at rest."""
        self._state.keys.put(self._db, key)

    def quarantine(self, refused: vault.Refused) -> vault.Kept:
        """Keep a refused record. Says how much of it is kept: less than whole is for an alarm."""
        return self._state.quarantine.put(self._db, refused)

    def hold(self, entry: vault.Entry, *, step: int, code: str, reason: str, waits_for: bytes = b"") -> None:
        """A released record was refused again."""
        self._state.quarantine.hold(self._db, entry, step=step, code=code, reason=reason, waits_for=waits_for)

    def delivered(self, entry: vault.Entry, *, at: int) -> None:
        """A record of the quarantine was verified again, with success, and delivered."""
        self._state.quarantine.delivered(self._db, entry, at=at)


def _owned(originator: int, keys: Sequence[bytes]) -> list[bytes]:
    """Keys of one originator, so that another's equal ones are not theirs."""
    suffix = originator.to_bytes(_NUMBER, "big")
    return [key + suffix for key in keys]


def _repeats(keys: Sequence[bytes], known: Container[bytes]) -> list[bool]:
    """For each key whether it is known, or came before in the list."""
    earlier: set[bytes] = set()
    repeats = []
    for key in keys:
        repeats.append(key in known or key in earlier)
        earlier.add(key)
    return repeats


class ReaderState:
    """The state of one reader (an endpoint's route). One process holds it at a time.

    Attributes:
        keys: the audience keys that were unwrapped.
        quarantine: the records that were refused.
    """

    def __init__(self, store: Store, storage_key: bytes) -> None:
        self._store = store
        self.keys = keys.AudienceKeys(store, storage_key)
        self.quarantine = vault.Vault(store, storage_key)
        self._references = references.References(store)
        self._run: int = store.read("SELECT coalesce(max(run), 0) + 1 FROM fuse")[0][0]

    @classmethod
    def open(cls, folder: Path, *, endpoint: str, realm: bytes, route: str, storage_key: bytes) -> Self:
        """Open the state, make it if there is none.

        Args:
            folder: made (0700) if it is not there.
            endpoint: whose state it is.
            realm: the deployment, 16 bytes.
            route: name of the route.
            storage_key: 32 bytes, from the key ring.

        Raises:
            StateError: state-locked, state-corrupt, state-foreign, state-full or state-denied.
        """
        with ExitStack() as undo:
            store = Store.open(folder, KIND, Owner(endpoint, realm, route), storage_key)
            undo.callback(store.close)
            state = cls(store, storage_key)
            undo.pop_all()
            return state

    @classmethod
    def memory(cls, *, endpoint: str, realm: bytes, route: str, storage_key: bytes) -> Self:
        """A state that ends with the process: for replays."""
        return cls(Store.memory(KIND, Owner(endpoint, realm, route)), storage_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the folder. This was no death: the fuses that are in are marked as taken out."""
        with suppress(StateError):  # a full disk: the marks stay, and count as a death
            self.disarm()
        self._store.close()

    @contextmanager
    def transaction(self, *, sync: bool = True) -> Iterator[Transaction]:
        """One step: all changes or none. No `await` within.

        Args:
            sync: wait for the disk; see the head of this module.

        Raises:
            StateError: nothing was changed; on state-full the offset must not move on.
        """
        with self._references.step(), self._store.transaction(sync=sync) as db:
            yield Transaction(self, db)

    # --- the beginning

    def start(self) -> Start | None:
        """Where this reader began, None if it is new."""
        for policy, at in self._store.rows(_START):
            return Start(policy, at)
        return None

    def remember_start(self, start: Start) -> None:
        """Say where a new reader begins.

        Raises:
            StateError: state-misuse: it began already.
        """
        with self._store.transaction() as db:
            if self.start() is not None:
                raise StateError("state-misuse", "this reader began already")
            db.execute("INSERT INTO start VALUES (1, ?, ?, ?)", (*start, tally(*start)))

    # --- what is known

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset to read, by topic and partition."""
        return {(topic, partition): offset for topic, partition, offset in self._store.rows(_POSITION)}

    def heads(self) -> dict[LineageId, Head]:
        """The newest record of every lineage."""
        return {LineageId(*row[1:5]): Head(*row[5:]) for row in self._store.rows(_HEAD)}

    def head(self, lineage: LineageId) -> Head | None:
        """The newest accepted record of a lineage, None at first sight."""
        for row in self._store.rows(f"{_HEAD} {_THIS_LINEAGE}", lineage):
            return Head(*row[5:])
        return None

    def window(self, lineage: LineageId) -> Window:
        """The last `WINDOW` numbers of a lineage: what was seen under them."""
        return Window(self._store, lineage)

    def number_of(self, lineage: LineageId) -> int | None:
        """The number that stands for a lineage in this state, None at first sight."""
        for row in self._store.rows(f"{_HEAD} {_THIS_LINEAGE}", lineage):
            return int(row[0])
        return None

    def originator(self, name: str) -> int | None:
        """The number that stands for an originator in this state, None at first sight."""
        for row in self._store.rows(f"{_ORIGINATOR} WHERE name = ?", (name,)):
            return int(row[0])
        return None

    def known(self, originator: str, keys: Sequence[bytes]) -> list[bool]:
        """Which of the references were delivered before; changes nothing. See `Transaction.seen`."""
        number = self.originator(originator)
        if number is None:
            return _repeats(keys, ())
        owned = _owned(number, keys)
        return _repeats(owned, self._references.find(owned))

    def remember(self, db: sqlite3.Connection, keys: Sequence[bytes], *, at: int) -> list[bool]:
        """Within a transaction: which keys were remembered before; from now on all are."""
        before = _repeats(keys, self._references.find(keys))
        new = {key: b"" for key, known in zip(keys, before, strict=True) if not known}
        self._references.add(db, new, at=at)
        return before

    def prune(self, *, at: int) -> None:
        """Forget references that were delivered longer than `REMEMBERED_US` before `at`. Once a day is enough."""
        self._references.prune(before=at - REMEMBERED_US)

    # --- the crash fuse

    def arm(self, topic: str, partition: int, offset: int) -> int:
        """Mark a record before work on it begins: 20 µs, no wait for the disk.

        The mark goes when the state's offset passes it; `survived` makes it harmless. More than one record may be
        marked at a time; after a death all that were are suspects, so work on suspects one by one.

        Returns:
            How many times a process died with this record marked. Two are enough: quarantine it undecoded.

        Raises:
            StateError: state-full, state-corrupt.
        """
        where = (topic, partition, offset)
        with self._store.transaction(sync=False) as db:
            row = db.execute(f"{_FUSE} WHERE topic = ? AND partition = ? AND offset = ?", where).fetchone()
            before, run = checked(row)[3:] if row else (0, 0)
            died = run not in (0, self._run)  # 0: it was taken out; this run's own mark is no death
            deaths = int(before) + died
            self._mark(db, (*where, deaths, self._run))
        return deaths

    def suspects(self) -> list[tuple[str, int, int]]:
        """Topic, partition and offset of every record that was marked when a process died."""
        rows = self._store.rows(f"{_FUSE} WHERE deaths > 0 OR run NOT IN (0, ?)", (self._run,))
        return [(topic, partition, offset) for topic, partition, offset, _, _ in rows]

    def survived(self, topic: str, partition: int, offset: int) -> None:
        """Work on a record ended without a death: earlier deaths are forgotten. `worked_on` still names it."""
        with self._store.transaction(sync=False) as db:
            self._mark(db, (topic, partition, offset, 0, 0))

    def worked_on(self) -> set[tuple[str, int, int]]:
        """Topic, partition and offset of every record that was marked and that the state's offset has not passed.

        At the start of a run: what the run before may have handed out. A loss of power may forget some.
        """
        return {(topic, partition, offset) for topic, partition, offset, _, _ in self._store.rows(_FUSE)}

    def disarm(self) -> None:
        """Take out all fuses of this run: work on their records ended without a death, the offset did not pass."""
        with self._store.transaction(sync=False) as db:
            for row in db.execute(f"{_FUSE} WHERE run = ?", (self._run,)).fetchall():
                self._mark(db, (*checked(row)[:-1], 0))

    @staticmethod
    def _mark(db: sqlite3.Connection, fields: tuple[Any, ...]) -> None:
        db.execute("INSERT OR REPLACE INTO fuse VALUES (?, ?, ?, ?, ?, ?)", (*fields, tally(*fields)))
