"""What was published or delivered under which reference: millions of random keys, remembered for days.

Random keys in one b-tree cost a page of log each: 24 µs an event at a million keys, measured, more than all the
cryptography. So, as in a log-structured store:

- new keys are appended, one row a step (table `recent`), and held in memory as well, in buckets by their first byte;
- when `RECENT_KEYS` have gathered, a pass merges bucket after bucket into the b-tree (table `remembered`), some a step:
  the keys of a bucket are neighbours, and share pages. When the last bucket is in, the rows that were there when the
  pass began go; until then both tables have their keys, so it may stop anywhere. How far it is stands in the database
  (`merging`): a program that starts for one event at a time gets on with it as well.

Keys are remembered until `prune` is called with a later time: never shorter than promised.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from agencybus.state.store import Store, checked, tally

RECENT_KEYS: Final = 262_144  # keys held in memory before a pass begins: 30 MB
PRUNE_ROWS: Final = 16_384  # rows looked at in one step of pruning: 10 ms
_BUCKETS: Final = 256
_LOOKUP: Final = 256  # keys in one SELECT
_HOUR_US: Final = 3600 * 1_000_000

SCHEMA: Final = (
    """CREATE TABLE recent (
  -- AUTOINCREMENT: a number is never used again, so a pass that ends deletes no row that came meanwhile
  id INTEGER PRIMARY KEY AUTOINCREMENT, hour INTEGER NOT NULL, lines BLOB NOT NULL, tally INTEGER NOT NULL
) STRICT""",
    """CREATE TABLE merging (
  one INTEGER PRIMARY KEY CHECK (one = 1), upto INTEGER NOT NULL, bucket INTEGER NOT NULL, tally INTEGER NOT NULL
) STRICT""",
    """CREATE TABLE remembered (
  key BLOB PRIMARY KEY, hour INTEGER NOT NULL, value BLOB NOT NULL
) STRICT, WITHOUT ROWID""",
)

_FIND: Final = f"SELECT key, value FROM remembered WHERE key IN ({','.join('?' * _LOOKUP)})"  # noqa: S608 - marks only
_PRUNE: Final = "DELETE FROM remembered WHERE hour < ?1 AND key > ?2"
_Line = tuple[int, bytes]  # hour, value
_decode: Final = msgspec.msgpack.Decoder(dict[bytes, bytes]).decode


class References:
    """A map from key to value, both opaque bytes, that lives in a store. Keys are hashes: their first byte is random.

    A key is added once: callers look first (`find`), within the same step.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._load()

    def _load(self) -> None:
        self._recent: list[dict[bytes, _Line]] = [{} for _ in range(_BUCKETS)]  # what only table `recent` holds
        self._last = 0  # newest row of table `recent`
        self._upto = 0  # the rows of it that the pass covers; 0: there is no pass
        self._bucket = 0  # the pass goes on with this one
        for upto, bucket in self._store.rows("SELECT upto, bucket, tally FROM merging"):
            self._upto, self._bucket = upto, bucket
        for number, hour, lines, total in self._store.read("SELECT id, hour, lines, tally FROM recent ORDER BY id"):
            checked((hour, zlib.crc32(lines), total))
            self._last = number
            for key, line in _lines(_decode(lines), hour):
                if number > self._upto or key[0] >= self._bucket:
                    self._recent[key[0]][key] = line
        self._size = sum(map(len, self._recent))
        self._settled = bool(self._store.read("SELECT 1 FROM remembered LIMIT 1"))  # `remembered` may hold something
        self._fresh: dict[bytes, _Line] = {}  # what the open step adds
        self._row = 0  # the row of table `recent` that the open step added, 0 if none
        self._ahead = self._bucket  # where the pass goes on after the open step

    @contextmanager
    def step(self) -> Iterator[None]:
        """Surrounds the transaction: memory follows what was committed, and forgets what was not."""
        with self._store.turn:
            try:
                yield
            except BaseException:
                self._fresh.clear()
                self._row, self._ahead = 0, self._bucket
                raise
            for bucket in self._recent[self._bucket : self._ahead]:
                self._size -= len(bucket)
                bucket.clear()
            for key, line in self._fresh.items():
                self._recent[key[0]][key] = line
            self._size += len(self._fresh)
            self._fresh.clear()
            self._last, self._row = self._row or self._last, 0
            if self._ahead == _BUCKETS:
                self._upto = self._ahead = 0
            self._bucket = self._ahead

    def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are known, the open step's own included."""
        found: dict[bytes, bytes] = {}
        unknown: list[bytes] = []
        with self._store.turn:
            for key in keys:
                line = self._recent[key[0]].get(key) or self._fresh.get(key)
                if line is None:
                    unknown.append(key)
                else:
                    found[key] = line[1]
            for start in range(0, len(unknown) if self._settled else 0, _LOOKUP):
                part = unknown[start : start + _LOOKUP]
                part += part[-1:] * (_LOOKUP - len(part))  # one statement for all, so that it is prepared once
                found.update(self._store.read(_FIND, part))
        return found

    def add(self, db: sqlite3.Connection, lines: Mapping[bytes, bytes], *, at: int) -> None:
        """Remember new keys, and go on with a pass, within the open transaction.

        Args:
            db: the transaction.
            lines: key to value; none is known yet.
            at: now, µs since the epoch.
        """
        if lines:
            hour, packed = at // _HOUR_US, msgspec.msgpack.encode(lines)
            row = (hour, packed, tally(hour, zlib.crc32(packed)))
            self._row = db.execute("INSERT INTO recent (hour, lines, tally) VALUES (?, ?, ?)", row).lastrowid or 0
            self._fresh.update(_lines(lines, hour))
        self._merge(db, 1 + 2 * len(lines) * _BUCKETS // RECENT_KEYS)  # twice as fast as keys come: a pass ends

    def _merge(self, db: sqlite3.Connection, buckets: int) -> None:
        """Put some buckets, in order, into the b-tree; after the last one the appended rows go."""
        if not self._upto:
            if self._size < RECENT_KEYS:
                return
            self._upto, self._settled = self._last, True
        begin, self._ahead = self._ahead, min(self._ahead + buckets, _BUCKETS)
        rows = ((key, *bucket[key]) for bucket in self._recent[begin : self._ahead] for key in sorted(bucket))
        db.executemany("INSERT OR IGNORE INTO remembered VALUES (?, ?, ?)", rows)
        if self._ahead == _BUCKETS:
            db.execute("DELETE FROM recent WHERE id <= ?", (self._upto,))
            db.execute("DELETE FROM merging")
        else:
            fields = (self._upto, self._ahead)
            db.execute("INSERT OR REPLACE INTO merging VALUES (1, ?, ?, ?)", (*fields, tally(*fields)))

    def prune(self, *, before: int) -> None:
        """Forget what was added before this time, to the hour. Many short steps; once a day is enough.

        Args:
            before: µs since the epoch.
        """
        hour = before // _HOUR_US
        with self._store.turn:
            with self._store.transaction(sync=False) as db:
                db.execute("DELETE FROM recent WHERE hour < ?", (hour,))
            self._load()
        low: bytes | None = b""
        while low is not None:
            with self._store.transaction(sync=False) as db:
                bound = "SELECT key FROM remembered WHERE key > ? ORDER BY key LIMIT 1 OFFSET ?"
                high = db.execute(bound, (low, PRUNE_ROWS)).fetchone()
                if high is None:
                    db.execute(_PRUNE, (hour, low))
                else:
                    db.execute(_PRUNE + " AND key <= ?3", (hour, low, *high))
            low = high and high[0]


def _lines(values: Mapping[bytes, bytes], hour: int) -> Iterator[tuple[bytes, _Line]]:
    """What memory holds for keys and values: one line for all that have no value."""
    empty = (hour, b"")
    return ((key, (hour, value) if value else empty) for key, value in values.items())
