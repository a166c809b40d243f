"""What was published or delivered under which reference: millions of random keys, remembered for days.

Random keys in one b-tree cost a page of log each: 24 µs an event at a million keys, measured, more than all the
cryptography. So, as in a log-structured store:

- new keys are appended, one row a step (table `recent`), and held in memory as well;
- when `RECENT_KEYS` have gathered, they are merged into the b-tree (table `remembered`) in the order of their keys,
  a slice a step, so that neighbours share a page. Until the last slice is in, both tables have them. How far it is
  stands in the database (`merging`): a program that starts for one event at a time gets on with it as well.

Keys are remembered until `prune` is called with a later time: never shorter than promised.
"""

from __future__ import annotations

import sqlite3
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

import msgspec

from agencybus.state.store import Store, checked, tally

RECENT_KEYS: Final = 65_536  # keys held in memory before a merge begins: 10 MB, and 30 ms for sorting them
SLICE_KEYS: Final = 1024  # keys merged in a step, at least; and twice as many as the step added, so a merge ends
PRUNE_ROWS: Final = 16_384  # rows looked at in one step of pruning: 10 ms
_LOOKUP: Final = 256  # keys in one SELECT
_HOUR_US: Final = 3600 * 1_000_000

SCHEMA: Final = (
    """CREATE TABLE recent (
  -- AUTOINCREMENT: a number is never used again, so a merge that ends deletes no row that came meanwhile
  id INTEGER PRIMARY KEY AUTOINCREMENT, hour INTEGER NOT NULL, lines BLOB NOT NULL, tally INTEGER NOT NULL
) STRICT""",
    """CREATE TABLE merging (
  one INTEGER PRIMARY KEY CHECK (one = 1), upto INTEGER NOT NULL, after BLOB NOT NULL, tally INTEGER NOT NULL
) STRICT""",
    """CREATE TABLE remembered (
  key BLOB PRIMARY KEY, hour INTEGER NOT NULL, value BLOB NOT NULL
) STRICT, WITHOUT ROWID""",
)

_FIND: Final = f"SELECT key, value FROM remembered WHERE key IN ({','.join('?' * _LOOKUP)})"  # noqa: S608 - marks only
_PRUNE: Final = "DELETE FROM remembered WHERE hour < ?1 AND key > ?2"
_decode: Final = msgspec.msgpack.Decoder(dict[bytes, bytes]).decode


class References:
    """A map from key to value, both opaque bytes, that lives in a store.

    A key is added once: callers look first (`find`), within the same step.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recent: dict[bytes, tuple[int, bytes]] = {}  # key -> hour, value; what table `recent` holds
        self._last = 0  # newest row of table `recent`
        self._merging: list[bytes] = []  # sorted keys of a merge that is under way
        self._upto = 0  # the rows of table `recent` that the merge covers
        self._merged = 0  # keys of it that are in table `remembered`
        self._load()
        self._settled = bool(store.read("SELECT 1 FROM remembered LIMIT 1"))  # table `remembered` may hold something
        self._fresh: dict[bytes, tuple[int, bytes]] = {}  # what the open step adds
        self._row = 0  # the row of table `recent` that the open step added, 0 if none
        self._ahead = self._merged  # the same after the open step

    def _load(self) -> None:
        after = None
        for upto, key in self._store.rows("SELECT upto, after, tally FROM merging"):
            self._upto, after = upto, key
        rows = self._store.read("SELECT id, hour, lines, tally FROM recent ORDER BY id")
        for number, hour, lines in map(_row, rows):
            decoded = _decode(lines)
            self._recent.update((key, (hour, value)) for key, value in decoded.items())
            self._last = number
            if after is not None and number <= self._upto:
                self._merging.extend(decoded)
        if after is not None:
            self._merging.sort()
            self._merged = bisect_right(self._merging, after)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Surrounds the transaction: memory follows what was committed, and forgets what was not."""
        with self._store.turn:
            try:
                yield
            except BaseException:
                self._fresh.clear()
                self._row, self._ahead = 0, self._merged
                raise
            self._recent.update(self._fresh)
            self._fresh.clear()
            self._last, self._row = self._row or self._last, 0
            self._merged = self._ahead
            if self._merging and self._merged == len(self._merging):
                for key in self._merging:
                    self._recent.pop(key, None)
                self._merging, self._merged, self._ahead = [], 0, 0

    def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are known, the open step's own included."""
        found: dict[bytes, bytes] = {}
        unknown: list[bytes] = []
        with self._store.turn:
            for key in keys:
                line = self._recent.get(key) or self._fresh.get(key)
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
        """Remember new keys, and go on with a merge, within the open transaction.

        Args:
            db: the transaction.
            lines: key to value; none is known yet.
            at: now, µs since the epoch.
        """
        if lines:
            hour, packed = at // _HOUR_US, msgspec.msgpack.encode(lines)
            row = (hour, packed, tally(hour, zlib.crc32(packed)))
            self._row = db.execute("INSERT INTO recent (hour, lines, tally) VALUES (?, ?, ?)", row).lastrowid or 0
            self._fresh.update((key, (hour, value)) for key, value in lines.items())
        self._merge(db, max(SLICE_KEYS, 2 * len(lines)))

    def prune(self, *, before: int) -> None:
        """Forget what was added before this time, to the hour. Many short steps; once a day is enough.

        Args:
            before: µs since the epoch.
        """
        hour = before // _HOUR_US
        with self.step(), self._store.transaction(sync=False) as db:
            db.execute("DELETE FROM recent WHERE hour < ?", (hour,))
        with self._store.turn:
            self._recent = {key: line for key, line in self._recent.items() if line[0] >= hour}
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

    def _merge(self, db: sqlite3.Connection, size: int) -> None:
        """Move a slice of keys, in order, into the b-tree; with the last slice the appended rows go."""
        if not self._merging:
            if len(self._recent) < RECENT_KEYS:
                return
            self._merging, self._upto, self._settled = sorted(self._recent), self._last, True
        begin, self._ahead = self._ahead, min(self._ahead + size, len(self._merging))
        known = ((key, self._recent.get(key)) for key in islice(self._merging, begin, self._ahead))
        rows = ((key, *line) for key, line in known if line is not None)
        db.executemany("INSERT OR IGNORE INTO remembered VALUES (?, ?, ?)", rows)
        if self._ahead == len(self._merging):
            db.execute("DELETE FROM recent WHERE id <= ?", (self._upto,))
            db.execute("DELETE FROM merging")
        else:
            fields = (self._upto, self._merging[self._ahead - 1])
            db.execute("INSERT OR REPLACE INTO merging VALUES (1, ?, ?, ?)", (*fields, tally(*fields)))


def _row(row: tuple[int, int, bytes, int]) -> tuple[int, int, bytes]:
    """A row of table `recent`, checked."""
    number, hour, lines, found = row
    checked((hour, zlib.crc32(lines), found))
    return number, hour, lines
