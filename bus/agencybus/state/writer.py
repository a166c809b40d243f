"""What a writer must never forget: its numbers, the record in flight, the references it used, its audience keys.

Durability, step by step (docs: design, "Order, loss, duplicates"):

- `begin` waits for the disk. A number that was signed is never signed again with other content, not even after a
  loss of power; what was accepted for sending is sent after a restart, byte by byte the same.
- `acknowledged` does not wait. If power is lost before the next `begin`, the record is sent once more, and every
  reader drops it as a duplicate. This halves the fsyncs of a publisher.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from agencybus.errors import StateError
from agencybus.seal.grant import AudienceKey
from agencybus.state import keys, references
from agencybus.state.store import Kind, Owner, Store, checked, tally

REFERENCE_BYTES: Final = 16  # of a hashed reference: nobody finds a second one that hashes alike
_EVENT_ID: Final = 16
_SUM: Final = 4

_LINEAGE: Final = "SELECT channel, partition, sequence, digest, sealed_at, acknowledged, record_sum, tally FROM lineage"
_IN_FLIGHT: Final = _LINEAGE.replace(" FROM", ", record FROM") + " WHERE record_sum IS NOT NULL"
KIND: Final = Kind(
    "writer",
    1,
    (
        """CREATE TABLE lineage (
  channel TEXT NOT NULL, partition INTEGER NOT NULL,
  sequence INTEGER NOT NULL CHECK (sequence >= 0), digest BLOB NOT NULL CHECK (length(digest) = 48),
  sealed_at INTEGER NOT NULL, acknowledged INTEGER,
  record_sum INTEGER, tally INTEGER NOT NULL,
  record BLOB, -- in flight; last, so that a look at the others does not walk its pages
  PRIMARY KEY (channel, partition)
) STRICT""",
        *keys.SCHEMA,
        *references.SCHEMA,
    ),
    (_LINEAGE, *keys.TALLIED),
)


class LineageRow(NamedTuple):
    """The newest record that this writer sealed into a partition.

    Attributes:
        sequence: its number; the next one is one more.
        digest: its digest, 48 bytes: the next record's `previous`.
        sealed_at: its time, µs since the epoch.
        offset: where the newest acknowledged record of the lineage lies, None if there is none yet.
        in_flight: it is not acknowledged yet.
    """

    sequence: int
    digest: bytes
    sealed_at: int
    offset: int | None
    in_flight: bool


@dataclass(frozen=True, slots=True)
class InFlight:
    """A sealed record that no quorum has acknowledged: to be sent again as it is.

    Attributes:
        channel: its topic.
        partition: its partition.
        sequence: its number.
        digest: its digest, 48 bytes.
        sealed_at: its time, µs since the epoch.
        record: its bytes.
    """

    channel: str
    partition: int
    sequence: int
    digest: bytes
    sealed_at: int
    record: bytes = field(repr=False)


class Reference(NamedTuple):
    """What was published under a reference.

    Attributes:
        key: hash of the reference, 16 bytes.
        event_id: UUID of the event, 16 bytes.
        content: digest of the event's content; tells a repeat from a reference used twice.
    """

    key: bytes
    event_id: bytes
    content: bytes


class WriterState:
    """The state of one writer. One process holds it at a time. All times: µs since the epoch, UTC."""

    def __init__(self, store: Store, storage_key: bytes) -> None:
        self._store = store
        self._keys = keys.AudienceKeys(store, storage_key)
        self._references = references.References(store)

    @classmethod
    def open(cls, folder: Path, *, endpoint: str, realm: bytes, writer: str, storage_key: bytes) -> Self:
        """Open the state, make it if there is none.

        Args:
            folder: made (0700) if it is not there.
            endpoint: whose state it is.
            realm: the deployment, 16 bytes.
            writer: name of the writer within the endpoint.
            storage_key: 32 bytes, from the key ring.

        Raises:
            StateError: state-locked, state-corrupt, state-foreign, state-full or state-denied.
        """
        with ExitStack() as undo:
            store = Store.open(folder, KIND, Owner(endpoint, realm, writer), storage_key)
            undo.callback(store.close)
            state = cls(store, storage_key)
            undo.pop_all()
            return state

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the folder. Records in flight stay."""
        self._store.close()

    # --- lineages and the journal

    def lineage(self, channel: str, partition: int) -> LineageRow | None:
        """The newest record of a lineage, None if this state knows none.

        Raises:
            StateError: state-corrupt.
        """
        where = (channel, partition)
        for row in self._store.read(f"{_LINEAGE} WHERE channel = ? AND partition = ?", where):
            _, _, sequence, digest, sealed_at, acknowledged, record_sum = checked(row)
            return LineageRow(sequence, digest, sealed_at, acknowledged, record_sum is not None)
        return None

    def places(self) -> list[tuple[str, int]]:
        """Channel and partition of every lineage that this writer has."""
        return [(row[0], row[1]) for row in self._store.rows(f"{_LINEAGE} ORDER BY channel, partition")]

    def begin(
        self,
        channel: str,
        partition: int,
        *,
        sequence: int,
        digest: bytes,
        sealed_at: int,
        record: bytes,
        references: Iterable[Reference] = (),
    ) -> None:
        """Journal a sealed record, before it is sent. On return it survives a loss of power.

        Args:
            channel: its topic.
            partition: its partition.
            sequence: its number: one more than the newest, 0 for the first.
            digest: its digest, 48 bytes.
            sealed_at: its time, µs since the epoch.
            record: its bytes.
            references: those of its events; none is known yet (`references`).

        Raises:
            StateError: state-full: nothing was changed, it must not be sent. state-misuse: not the next number, or
                another record of the lineage is in flight.
        """
        lines = {line.key: _pack(line) for line in references}
        with self._references.step(), self._store.transaction() as db:
            last = self.lineage(channel, partition)
            if sequence != (last.sequence + 1 if last else 0):
                raise _misuse(f"record {sequence} does not follow {last.sequence if last else 'none'}")
            if last is not None and last.in_flight:
                raise _misuse("a record of this lineage is in flight")
            offset = last.offset if last else None
            fields = (channel, partition, sequence, digest, sealed_at, offset, zlib.crc32(record))
            self._put(db, fields, record)
            self._references.add(db, lines, at=sealed_at)

    def acknowledged(self, channel: str, partition: int, offset: int) -> None:
        """A quorum of brokers has the record in flight.

        Args:
            channel: its topic.
            partition: its partition.
            offset: where the broker put it.

        Raises:
            StateError: state-full: the brokers have it all the same; it stays in flight here, and is sent once more.
                state-misuse: none is in flight.
        """
        with self._store.transaction(sync=False) as db:
            last = self.lineage(channel, partition)
            if last is None or not last.in_flight:
                raise _misuse("no record of this lineage is in flight")
            self._put(db, (channel, partition, last.sequence, last.digest, last.sealed_at, offset, None), None)

    def adopt(self, channel: str, partition: int, *, sequence: int, digest: bytes, sealed_at: int, offset: int) -> None:
        """Go on behind one's own, verified record on the broker, which is newer than this state: it was lost or old.

        A record in flight is older than it, so it is dropped.

        Args:
            channel: the topic.
            partition: the partition.
            sequence: number of the record on the broker.
            digest: its digest, 48 bytes.
            sealed_at: its time, µs since the epoch.
            offset: where it lies.

        Raises:
            StateError: state-misuse: this state is as new, a number would be used again.
        """
        with self._store.transaction() as db:
            last = self.lineage(channel, partition)
            if last is not None and last.sequence >= sequence:
                raise _misuse(f"record {sequence} is not newer than {last.sequence}")
            self._put(db, (channel, partition, sequence, digest, sealed_at, offset, None), None)

    def in_flight(self) -> list[InFlight]:
        """What was journalled and not acknowledged: to be sent again, byte by byte the same.

        Raises:
            StateError: state-corrupt.
        """
        found = []
        for *row, record in self._store.read(_IN_FLIGHT):
            channel, partition, sequence, digest, sealed_at, _, record_sum = checked(row)
            if zlib.crc32(record or b"") != record_sum:
                raise StateError("state-corrupt", "the record in flight is damaged", where=self._store.where)
            found.append(InFlight(channel, partition, sequence, digest, sealed_at, record))
        return found

    @staticmethod
    def _put(db: sqlite3.Connection, fields: tuple[Any, ...], record: bytes | None) -> None:
        db.execute(
            "INSERT OR REPLACE INTO lineage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*fields, tally(*fields), record)
        )

    # --- references

    def references(self, keys: Sequence[bytes]) -> dict[bytes, Reference]:
        """Those of the keys that were published, or are in flight.

        Raises:
            StateError: state-corrupt.
        """
        return {key: _unpack(key, value) for key, value in self._references.find(keys).items()}

    def prune(self, *, before: int) -> None:
        """Forget references of before this time (µs since the epoch). Once a day is enough."""
        self._references.prune(before=before)

    # --- audience keys

    def audience_key(self, audience: bytes, *, at: int) -> AudienceKey | None:
        """The key of an audience (digest, 48 bytes) whose epoch holds `at`.

        Raises:
            StateError: state-corrupt.
        """
        return self._keys.current(audience, at=at)

    def knows_audience(self, audience: bytes) -> bool:
        """Whether there was a key for this audience (digest, 48 bytes) before, in whatever epoch."""
        return self._keys.knows(audience)

    def knows_key(self, key_id: bytes, endpoint: str) -> bool:
        """Whether the key with this id (48 bytes) that this endpoint granted is kept."""
        return self._keys.get(key_id, endpoint) is not None

    def put_audience_key(self, key: AudienceKey) -> None:
        """Keep a key; sealed at rest."""
        with self._store.transaction() as db:
            self._keys.put(db, key)


def _misuse(what: str) -> StateError:
    return StateError("state-misuse", what)


def _pack(line: Reference) -> bytes:
    value = line.event_id + line.content
    return value + zlib.crc32(line.key + value).to_bytes(_SUM, "big")


def _unpack(key: bytes, packed: bytes) -> Reference:
    value, total = packed[:-_SUM], packed[-_SUM:]
    if zlib.crc32(key + value).to_bytes(_SUM, "big") != total:
        raise StateError("state-corrupt", "a reference does not match its checksum")
    return Reference(key, value[:_EVENT_ID], value[_EVENT_ID:])
