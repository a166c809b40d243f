"""Audience keys at rest: the one table that both states have. Sealed before SQLite sees them, so no log has them."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from agencybus.errors import StateError
from agencybus.seal import suite
from agencybus.seal.grant import AudienceKey
from agencybus.state.store import Store, tally

SCHEMA: Final = (
    """CREATE TABLE audience_key (
  id BLOB NOT NULL, endpoint TEXT NOT NULL, audience BLOB NOT NULL,
  epoch_start INTEGER NOT NULL, epoch_end INTEGER NOT NULL,
  sealed BLOB NOT NULL, tally INTEGER NOT NULL,
  PRIMARY KEY (id, endpoint)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX audience_key_by_audience ON audience_key (audience, epoch_start)",
)
_SELECT: Final = "SELECT id, endpoint, audience, epoch_start, epoch_end, sealed, tally FROM audience_key"
TALLIED: Final = (_SELECT,)


class AudienceKeys:
    """The audience keys in a store."""

    def __init__(self, store: Store, storage_key: bytes) -> None:
        self._store = store
        self._storage_key = storage_key

    def __repr__(self) -> str:
        return f"<AudienceKeys of {self._store.owner.endpoint}>"

    def put(self, db: sqlite3.Connection, key: AudienceKey) -> None:
        """Keep a key; the same one of the same endpoint again changes nothing.

        Who reads with a key can grant it in its own name, so one endpoint's grant must not take another's place.
        """
        fields = (key.id, key.endpoint, key.audience, key.epoch_start, key.epoch_end)
        sealed = suite.storage_seal(self._storage_key, key.key, self._aad(fields))
        row = (*fields, sealed, tally(*fields, sealed))
        db.execute("INSERT OR IGNORE INTO audience_key VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def get(self, key_id: bytes, endpoint: str) -> AudienceKey | None:
        """The key with this id (48 bytes) that this endpoint granted."""
        return self._first("id = ? AND endpoint = ?", key_id, endpoint)

    def current(self, audience: bytes, *, at: int) -> AudienceKey | None:
        """The key of an audience (digest, 48 bytes) whose epoch holds `at`; of several the one that began last."""
        return self._first(
            "audience = ? AND epoch_start <= ? AND epoch_end > ? ORDER BY epoch_start DESC", audience, at, at
        )

    def knows(self, audience: bytes) -> bool:
        """Whether there is a key for this audience, in whatever epoch."""
        return bool(self._store.read("SELECT 1 FROM audience_key WHERE audience = ? LIMIT 1", (audience,)))

    def _first(self, condition: str, *parameters: Any) -> AudienceKey | None:
        for row in self._store.rows(f"{_SELECT} WHERE {condition} LIMIT 1", parameters):
            *fields, sealed = row
            key_id, endpoint, audience, start, end = fields
            try:
                key = suite.storage_open(self._storage_key, sealed, self._aad(tuple(fields)))
            except suite.SealError:
                raise StateError("state-corrupt", "an audience key does not open", where=self._store.where) from None
            return AudienceKey(key, key_id, endpoint, audience, start, end)
        return None

    def _aad(self, fields: tuple[Any, ...]) -> bytes:
        return b"agencybus/v1/state-audience-key\x00" + self._store.owner.place + repr(fields).encode()
