"""One repository: what python-tuf verified, what this bus demands of it on top, and what it missed in between."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadError, DownloadLengthMismatchError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Root
from tuf.ngclient import Updater, UpdaterConfig

from agencybus.directory.fetching import Fetcher
from agencybus.directory.history import History
from agencybus.directory.profile import (
    METADATA_BYTES,
    TIMESTAMP_BYTES,
    Pin,
    SnapshotFacts,
    check_root,
    read_snapshot,
    read_targets,
    read_timestamp,
)
from agencybus.errors import DirectoryError
from agencybus.wire.limits import CLOCK_SKEW_US

CATCH_UP: Final = 10_000  # snapshots that one refresh goes back at most; a client that was away for years
_CONFIG: Final = UpdaterConfig(
    max_root_rotations=1024,  # since the pinned root, for the life of a deployment
    max_delegations=1,
    root_max_length=METADATA_BYTES,
    timestamp_max_length=TIMESTAMP_BYTES,
    snapshot_max_length=METADATA_BYTES,
    targets_max_length=METADATA_BYTES,
)


class Source:
    """Where one repository is had from, under one first root, with the cache that python-tuf keeps of it."""

    def __init__(self, name: str, url: str, folder: Path, root: bytes, fetcher: Fetcher) -> None:
        self._name = name
        self._url = url
        self._folder = folder
        self._root = root
        self._fetcher = fetcher

    def update(self) -> int:
        """Let python-tuf verify what is new, and demand the profile of it.

        Returns:
            First moment at which one of the four files is past its date, microseconds.

        Raises:
            DirectoryError: `directory-unreachable`, `directory-expired` or `directory-invalid`.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            updater = Updater(
                str(self._folder),
                f"{self._url}/metadata",
                fetcher=self._fetcher,
                config=_CONFIG,
                bootstrap=self._root,
            )
            updater.refresh()
        except ExpiredMetadataError as error:
            raise DirectoryError("directory-expired", str(error), where=self._name) from error
        except DownloadLengthMismatchError as error:
            raise DirectoryError("directory-invalid", "a file is longer than is signed", where=self._name) from error
        except DownloadError as error:
            raise DirectoryError("directory-unreachable", str(error), where=self._url) from error
        except (RepositoryError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # python-tuf means to raise RepositoryError for all that is wrong; the rest is for what it overlooks.
            raise DirectoryError("directory-invalid", str(error), where=self._name) from error
        return self._check_profile()

    def _check_profile(self) -> int:
        """Demand the profile of the newest root, and of every older root's own keys: weak ones hand over to anybody."""
        paths = sorted(
            (self._folder / "root_history").glob("*.root.json"), key=lambda path: int(path.name.split(".")[0])
        )
        for path in paths[:-1]:
            check_root(path.read_bytes(), where=f"{self._name}: {path.name}", roles=[Root.type])
        _, root = check_root(paths[-1].read_bytes(), where=f"{self._name}: {paths[-1].name}")
        stamp, pin = read_timestamp(self._local("timestamp"), where=f"{self._name}: timestamp")
        data = pin.check(self._local("snapshot"), where=f"{self._name}: snapshot")
        snapshot = read_snapshot(data, where=f"{self._name}: snapshot")
        targets = read_targets(self._local("targets"), where=f"{self._name}: targets")
        return min(root, stamp, snapshot.expires_at, targets.expires_at)

    def keep(self, history: History, head: bytes | None, now: int) -> bytes:
        """Put the newest snapshot, all that it pins and all that was missed before it into the history.

        Args:
            history: where to.
            head: SHA-384 of the newest snapshot adopted so far.
            now: microseconds.

        Returns:
            SHA-384 of the newest snapshot.

        Raises:
            DirectoryError: `directory-unreachable`, or `directory-invalid`, also if the new one does not descend from
                the one adopted: somebody shows two histories of this repository.
        """
        data = self._local("snapshot")
        newest = read_snapshot(data, where=f"{self._name}: snapshot")
        if newest.issued_at > now + CLOCK_SKEW_US:
            raise DirectoryError(
                "directory-invalid", "issued in the future: check this machine's clock", where=self._name
            )
        missed = self._missed(history, data, newest)
        for data, facts in reversed(missed):  # the oldest first: a snapshot is only kept when all before it is
            self._keep_targets(history, facts)
            history.put(data)
        if head is not None and all(facts.digest != head for facts in history.ancestors(newest.digest)):
            raise DirectoryError("directory-invalid", "its history is not the one seen before", where=self._name)
        return newest.digest

    def _missed(self, history: History, data: bytes, facts: SnapshotFacts) -> list[tuple[bytes, SnapshotFacts]]:
        """Return the snapshots that are not kept yet, newest first."""
        missed: list[tuple[bytes, SnapshotFacts]] = []
        while not history.has(facts.digest):
            missed.append((data, facts))
            if len(missed) > CATCH_UP:
                raise DirectoryError("directory-invalid", f"more than {CATCH_UP} snapshots at once", where=self._name)
            if (pin := facts.previous) is None:
                break
            where = f"{self._name}: snapshot {pin.version}"
            if history.has(pin.digest):
                data = history.read(pin.digest)
            else:
                data = self._fetch(f"metadata/{pin.version}.snapshot.json", pin, where)
            older = read_snapshot(data, where=where)
            if older.issued_at > facts.issued_at:
                raise DirectoryError("directory-invalid", "issued after its successor", where=where)
            facts = older
        return missed

    def _keep_targets(self, history: History, facts: SnapshotFacts) -> None:
        if history.has(facts.targets.digest):
            data = history.read(facts.targets.digest)
        else:
            where = f"{self._name}: targets {facts.targets.version}"
            data = self._fetch(f"metadata/{facts.targets.version}.targets.json", facts.targets, where)
        for path, pin in read_targets(data, where=f"{self._name}: targets").files.items():
            if not history.has(pin.digest):
                folder, _, name = path.rpartition("/")
                file = "/".join(part for part in ("targets", folder, f"{pin.digest.hex()}.{name}") if part)
                history.put(self._fetch(file, pin, f"{self._name}:{path}"))
        history.put(data)

    def _fetch(self, path: str, pin: Pin, where: str) -> bytes:
        """Fetch what is pinned, and nothing longer."""
        try:
            data = self._fetcher.download_bytes(f"{self._url}/{path}", pin.length)
        except DownloadLengthMismatchError as error:
            raise DirectoryError("directory-invalid", "longer than is signed", where=where) from error
        except DownloadError as error:
            raise DirectoryError("directory-unreachable", str(error), where=f"{self._url}/{path}") from error
        return pin.check(data, where=where)

    def _local(self, role: str) -> bytes:
        """Return what python-tuf verified and stored."""
        return (self._folder / f"{role}.json").read_bytes()
