"""The quarantine as an operator sees it: list, show, release, discard; also while the reader runs.

A release delivers nothing by itself. It marks the entry, and the subscriber verifies the stored bytes again, all
thirteen steps, with today's directory and keys: a person can't vouch for a record that does not verify.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from agencybus.state.reader import KIND
from agencybus.state.store import Store
from agencybus.state.vault import Count, Entry, Kept, Refused, Vault

__all__ = ["Count", "Entry", "Kept", "Quarantine", "Refused"]


class Quarantine:
    """The quarantine of one reader state, opened beside its reader.

    Example:
        with Quarantine.open(folder) as quarantine:
            for entry in quarantine.list("held"):
                print(entry.id, entry.code, entry.reason)
    """

    def __init__(self, store: Store, storage_key: bytes | None) -> None:
        self._store = store
        self._vault = Vault(store, storage_key)

    @classmethod
    def open(cls, folder: Path, storage_key: bytes | None = None) -> Self:
        """Open the quarantine in a reader's state folder.

        Args:
            folder: the state folder; its reader may be running.
            storage_key: 32 bytes, from the key ring; only needed to see the bytes of a record (`raw`).

        Raises:
            StateError: state-missing, state-foreign, state-corrupt or state-denied.
        """
        return cls(Store.attach(folder, KIND, storage_key), storage_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. The reader is not concerned."""
        self._store.close()

    def show(self, number: int) -> Entry:
        """One entry.

        Raises:
            QuarantineError: quarantine-unknown.
        """
        return self._vault.get(number)

    def raw(self, number: int) -> bytes | None:
        """The bytes of a record as they came: hostile input. None if they are not kept.

        Raises:
            QuarantineError: quarantine-unknown.
            StateError: state-corrupt; state-misuse if it was opened without the storage key.
        """
        return self._vault.raw(self._vault.get(number))

    def release(self, number: int, *, who: str, why: str = "", at: int) -> Entry:
        """Have the subscriber verify the record again, from the bytes kept here.

        Args:
            number: of the entry.
            who: the person who decides.
            why: the reason.
            at: now, µs since the epoch.

        Raises:
            QuarantineError: quarantine-unknown, quarantine-decided or quarantine-not-kept.
        """
        return self._vault.decide(number, "released", who=who, why=why, at=at)

    def discard(self, number: int, *, who: str, why: str, at: int) -> Entry:
        """Give the record up: its bytes go; place, digest, reason, who, why and when stay.

        Args:
            number: of the entry.
            who: the person who decides.
            why: the reason.
            at: now, µs since the epoch.

        Raises:
            QuarantineError: quarantine-unknown or quarantine-decided.
        """
        return self._vault.decide(number, "discarded", who=who, why=why, at=at)

    def by_code(self) -> dict[str, int]:
        """How many records nobody decided on yet, by code; those beyond the quota included."""
        return self._vault.by_code()

    def counts(self) -> list[Count]:
        """Records beyond the quota, which are only counted."""
        return self._vault.counts()

    def list(self, verdict: str | None = None, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Entries in order of arrival.

        Args:
            verdict: only those, e.g. `held`.
            after: only those with a higher number: pages.
            limit: at most so many.
        """
        return self._vault.entries(verdict, after=after, limit=limit)
