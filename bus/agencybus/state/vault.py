"""Quarantined records: kept whole and sealed, or at least named; never dropped, and bounded all the same.

A flood of bad records must fill neither the disk nor a person's day. Three tiers, for each endpoint:

1. up to `KEPT_BYTES` of records are kept whole; the oldest stay, for the first ones tell how it began;
2. beyond, up to `ENTRIES` records are kept by place, reason and digest: the topic still has their bytes;
3. beyond, records are counted by place and reason, with first and last offset and a digest over all of them.

Tiers 2 and 3 are for alarms: `Kept` says which one it was. A record whose signatures were not verified has no
endpoint: whatever it claims, it counts against the nameless quota "", so nobody can fill the quota of another.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from enum import Enum
from typing import Any, Final

from agencybus.errors import QuarantineError, StateError
from agencybus.seal import suite
from agencybus.state.store import Store, checked, tally
from agencybus.wire.limits import MIB

KEPT_BYTES: Final = 64 * MIB  # whole records of one endpoint: 100 of the largest, some thousands of the usual
ENTRIES: Final = 65_536  # open entries of one endpoint: 30 MB
REASON_CHARS: Final = 1024  # of a reason or a note; longer ones are cut

SCHEMA: Final = (
    """CREATE TABLE quarantine (
  id INTEGER PRIMARY KEY,
  topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, received_at INTEGER NOT NULL,
  endpoint TEXT NOT NULL, step INTEGER NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL, waits_for BLOB NOT NULL,
  size INTEGER NOT NULL, digest BLOB NOT NULL,
  verdict TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, decided_at INTEGER NOT NULL,
  kept INTEGER NOT NULL, tally INTEGER NOT NULL,
  raw BLOB
) STRICT""",
    "CREATE INDEX quarantine_by_verdict ON quarantine (verdict, waits_for)",
    """CREATE TABLE quarantine_quota (
  endpoint TEXT PRIMARY KEY, bytes INTEGER NOT NULL, entries INTEGER NOT NULL
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE quarantine_count (
  endpoint TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, step INTEGER NOT NULL, code TEXT NOT NULL,
  records INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, digest BLOB NOT NULL, tally INTEGER NOT NULL,
  PRIMARY KEY (endpoint, topic, partition, step, code)
) STRICT, WITHOUT ROWID""",
)

_FIELDS: Final = (
    "id, topic, partition, offset, received_at, endpoint, step, code, reason, waits_for,"
    " size, digest, verdict, who, why, decided_at, kept"
)
_MARKS: Final = ", ".join("?" * 18)
_INSERT: Final = f"INSERT INTO quarantine ({_FIELDS}, tally, raw) VALUES ({_MARKS}, ?)"  # noqa: S608 - constants
_UPDATE: Final = f"UPDATE quarantine SET ({_FIELDS}, tally) = ({_MARKS})"  # noqa: S608 - constants
_COUNT: Final = "INSERT OR REPLACE INTO quarantine_count VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT: Final = f"SELECT {_FIELDS}, tally FROM quarantine"  # noqa: S608 - constants
_COUNTS: Final = "SELECT * FROM quarantine_count"
TALLIED: Final = (_SELECT, _COUNTS)
_OPEN: Final = ("held", "released")  # verdicts that count against the quota


class Kept(Enum):
    """How much of a record the quarantine keeps."""

    WHOLE = "whole"
    DIGEST = "digest"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Refused:
    """A record to quarantine.

    Attributes:
        raw: its bytes.
        topic: where it lies in Kafka.
        partition: where it lies in the topic.
        offset: where it lies in the partition.
        received_at: when it came, µs since the epoch.
        step: the opener's step that refused it, 0 if it came before them.
        code: why, a key of `errors.CODES`.
        reason: why, in a sentence without content.
        endpoint: who signed it; leave it empty unless both signatures were verified.
        waits_for: id of the audience key or directory that it waits for, else empty.
    """

    raw: bytes = field(repr=False)
    topic: str
    partition: int
    offset: int
    received_at: int
    step: int
    code: str
    reason: str
    endpoint: str = ""
    waits_for: bytes = b""


@dataclass(frozen=True, slots=True)
class Entry:
    """One quarantined record, without its bytes.

    Attributes:
        id: its number, in order of arrival; never used again.
        topic: where it lies in Kafka.
        partition: where it lies in the topic.
        offset: where it lies in the partition.
        received_at: when it came, µs since the epoch.
        endpoint: who signed it, "" if that was not verified.
        step: the opener's step that refused it, 0 if it came before them.
        code: why, a key of `errors.CODES`.
        reason: why, in a sentence.
        waits_for: id of the audience key or directory that it waits for, else empty.
        size: its length in bytes.
        digest: SHA-384 of its bytes, 48 bytes.
        verdict: `held`; `released` (is verified again), `delivered` (was, with success) or `discarded`.
        who: who decided; empty while held.
        why: the reason given.
        decided_at: when, µs since the epoch; 0 while held.
        kept: its bytes are here.
    """

    id: int
    topic: str
    partition: int
    offset: int
    received_at: int
    endpoint: str
    step: int
    code: str
    reason: str
    waits_for: bytes
    size: int
    digest: bytes
    verdict: str
    who: str
    why: str
    decided_at: int
    kept: bool


@dataclass(frozen=True, slots=True)
class Count:
    """Records beyond the quota, which are only counted.

    Attributes:
        endpoint: who signed them, "" if that was not verified.
        topic: where they lie in Kafka.
        partition: where they lie in the topic.
        step: the opener's step that refused them.
        code: why.
        records: how many.
        first: offset of the first one.
        last: offset of the last one.
        digest: SHA-384 over the previous value (48 zeros at first) and the record's digest, for each of them.
    """

    endpoint: str
    topic: str
    partition: int
    step: int
    code: str
    records: int
    first: int
    last: int
    digest: bytes


class Vault:
    """The quarantine within a reader state. Without a storage key (an operator's look) it shows no bytes."""

    def __init__(
        self, store: Store, storage_key: bytes | None, *, kept_bytes: int = KEPT_BYTES, max_entries: int = ENTRIES
    ) -> None:
        self._store = store
        self._storage_key = storage_key
        self._kept_bytes = kept_bytes
        self._max_entries = max_entries

    def __repr__(self) -> str:
        return f"<Vault of {self._store.owner.endpoint}>"

    # --- the reader's side, within its transactions

    def put(self, db: sqlite3.Connection, refused: Refused) -> Kept:
        """Quarantine a record. Returns how much of it is kept."""
        size, digest = len(refused.raw), hashlib.sha384(refused.raw).digest()
        used, entries = self._usage(db, refused.endpoint)
        if entries >= self._max_entries:
            self._count(db, refused, digest)
            return Kept.COUNT
        kept = used + size <= self._kept_bytes
        entry = Entry(
            id=db.execute("SELECT coalesce(max(id), 0) + 1 FROM quarantine").fetchone()[0],
            topic=refused.topic,
            partition=refused.partition,
            offset=refused.offset,
            received_at=refused.received_at,
            endpoint=refused.endpoint,
            step=refused.step,
            code=refused.code,
            reason=refused.reason[:REASON_CHARS],
            waits_for=refused.waits_for,
            size=size,
            digest=digest,
            verdict="held",
            who="",
            why="",
            decided_at=0,
            kept=kept,
        )
        db.execute(_INSERT, (*_row(entry), self._seal(refused.raw, digest) if kept else None))
        self._charge(db, refused.endpoint, size if kept else 0, 1)
        return Kept.WHOLE if kept else Kept.DIGEST

    def hold(
        self, db: sqlite3.Connection, entry: Entry, *, step: int, code: str, reason: str, waits_for: bytes = b""
    ) -> None:
        """A released record was refused again: keep it, with the newer reason."""
        self._update(db, entry, step=step, code=code, reason=reason[:REASON_CHARS], waits_for=waits_for, verdict="held")

    def delivered(self, db: sqlite3.Connection, entry: Entry, *, at: int) -> None:
        """A record was verified again, with success: its line stays, its bytes go."""
        self._update(db, entry, verdict="delivered", decided_at=at)

    # --- anybody's side

    def entries(self, verdict: str | None = None, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Entries in order of arrival.

        Args:
            verdict: only those, e.g. `held`.
            after: only those with a higher number: pages.
            limit: at most so many.
        """
        chosen = f"{_SELECT} WHERE id > ?1 AND (?2 IS NULL OR verdict = ?2) ORDER BY id LIMIT ?3"
        return [_entry(row) for row in self._store.rows(chosen, (after, verdict, limit))]

    def awaited(self) -> list[bytes]:
        """What held entries wait for, if their bytes are here: without them there is nothing to verify again."""
        sql = "SELECT DISTINCT waits_for FROM quarantine WHERE verdict = 'held' AND waits_for != x'' AND kept = 1"
        return [waits_for for (waits_for,) in self._store.read(sql)]

    def waiting(self, waits_for: bytes) -> list[Entry]:
        """Held entries that wait for this audience key or directory, in order of arrival; those not kept as well."""
        chosen = f"{_SELECT} WHERE verdict = 'held' AND waits_for = ? ORDER BY id"
        return [_entry(row) for row in self._store.rows(chosen, (waits_for,))]

    def released(self) -> list[Entry]:
        """Entries that a person released, in order of arrival: to be verified again."""
        chosen = f"{_SELECT} WHERE verdict = 'released' ORDER BY id"
        return [_entry(row) for row in self._store.rows(chosen)]

    def counts(self) -> list[Count]:
        """What lies beyond the quota."""
        return [Count(*row) for row in self._store.rows(_COUNTS)]

    def by_code(self) -> dict[str, int]:
        """How many records are open (held or released) under each code, those beyond the quota included."""
        sql = """SELECT code, sum(records) FROM (
  SELECT code, 1 AS records FROM quarantine WHERE verdict IN ('held', 'released')
  UNION ALL SELECT code, records FROM quarantine_count
) GROUP BY code"""
        return dict(self._store.read(sql))

    def get(self, number: int) -> Entry:
        """One entry.

        Raises:
            QuarantineError: quarantine-unknown.
        """
        for row in self._store.rows(f"{_SELECT} WHERE id = ?", (number,)):
            return _entry(row)
        raise QuarantineError("quarantine-unknown", f"no entry {number}")

    def raw(self, entry: Entry) -> bytes | None:
        """The record's bytes; None if they are not kept.

        Raises:
            StateError: state-corrupt; state-misuse if this vault was opened without the storage key.
        """
        for (sealed,) in self._store.read("SELECT raw FROM quarantine WHERE id = ? AND raw IS NOT NULL", (entry.id,)):
            return self._open(sealed, entry.digest)
        if entry.kept and self.get(entry.id).kept:
            raise StateError("state-corrupt", f"the bytes of entry {entry.id} are gone", where=self._store.where)
        return None

    def decide(self, number: int, verdict: str, *, who: str, why: str, at: int) -> Entry:
        """A person's decision. What is discarded loses its bytes; its line stays, with who, why and when.

        Args:
            number: of the entry.
            verdict: `released` or `discarded`.
            who: the person.
            why: the reason given.
            at: now, µs since the epoch.

        Raises:
            QuarantineError: quarantine-unknown, quarantine-decided; quarantine-not-kept for a release.
        """
        with self._store.transaction() as db:
            entry = self.get(number)
            if entry.verdict not in _OPEN or entry.verdict == verdict:
                raise QuarantineError("quarantine-decided", f"entry {number} is {entry.verdict} already")
            if verdict == "released" and not entry.kept:
                raise QuarantineError("quarantine-not-kept", f"the bytes of entry {number} are not here")
            self._update(db, entry, verdict=verdict, who=who, why=why[:REASON_CHARS], decided_at=at)
            return self.get(number)

    # --- inside

    def _update(self, db: sqlite3.Connection, entry: Entry, **changes: Any) -> None:
        """Write an entry anew; when it is settled its bytes and its share of the quota go."""
        after = replace(entry, **changes)
        settled = entry.verdict in _OPEN and after.verdict not in _OPEN
        if settled:
            self._charge(db, entry.endpoint, -entry.size if entry.kept else 0, -1)
            after = replace(after, kept=False)
        drop = ", raw = NULL" if settled else ""
        db.execute(f"{_UPDATE}{drop} WHERE id = ?", (*_row(after), entry.id))

    def _usage(self, db: sqlite3.Connection, endpoint: str) -> tuple[int, int]:
        sql = "SELECT bytes, entries FROM quarantine_quota WHERE endpoint = ?"
        used: tuple[int, int] | None = db.execute(sql, (endpoint,)).fetchone()
        return used or (0, 0)

    def _charge(self, db: sqlite3.Connection, endpoint: str, size: int, entries: int) -> None:
        sql = """INSERT INTO quarantine_quota VALUES (?1, ?2, ?3)
  ON CONFLICT DO UPDATE SET bytes = bytes + ?2, entries = entries + ?3"""
        db.execute(sql, (endpoint, size, entries))

    def _count(self, db: sqlite3.Connection, refused: Refused, digest: bytes) -> None:
        key = (refused.endpoint, refused.topic, refused.partition, refused.step, refused.code)
        where = "endpoint = ? AND topic = ? AND partition = ? AND step = ? AND code = ?"
        row = db.execute(f"{_COUNTS} WHERE {where}", key).fetchone()
        records, first, last, before = checked(row)[5:] if row else (0, refused.offset, refused.offset, bytes(48))
        after = hashlib.sha384(before + digest).digest()
        fields = (*key, records + 1, min(first, refused.offset), max(last, refused.offset), after)
        db.execute(_COUNT, (*fields, tally(*fields)))

    def _seal(self, raw: bytes, digest: bytes) -> bytes:
        return suite.storage_seal(self._key, raw, self._aad(digest))

    def _open(self, sealed: bytes, digest: bytes) -> bytes:
        try:
            return suite.storage_open(self._key, sealed, self._aad(digest))
        except suite.SealError:
            raise StateError("state-corrupt", "a quarantined record does not open", where=self._store.where) from None

    @property
    def _key(self) -> bytes:
        if self._storage_key is None:
            raise StateError("state-misuse", "the quarantine was opened without its storage key")
        return self._storage_key

    def _aad(self, digest: bytes) -> bytes:
        return b"agencybus/v1/state-quarantine\x00" + self._store.owner.place + digest


def _row(entry: Entry) -> tuple[Any, ...]:
    """The columns of `_FIELDS`, and their tally."""
    fields = (*astuple(entry)[:-1], int(entry.kept))
    return (*fields, tally(*fields))


def _entry(row: Sequence[Any]) -> Entry:
    fields = [*row[:-1], bool(row[-1])]
    return Entry(*fields)
