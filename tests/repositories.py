"""Three repositories on disk with every authority's real keys: what an honest or a hostile server can serve."""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

import federation
from agencybus.directory.authoring import Authority, Lifetimes, Repository, author
from agencybus.directory.following import DirectoryClient
from agencybus.directory.model import Withdrawal
from agencybus.directory.spec import FederationSpec, country_files

Change = Callable[[Any], None]


def unchanged(_: Any) -> None:
    """Change nothing."""


@cache
def authorities() -> dict[str, Authority]:
    return {code: Authority.generate(code) for code in ("us", "mx")}


@cache
def fresh_federation() -> federation.Federation:
    return federation.made_at(time.time_ns() // 1000)


@cache
def _first_state() -> tuple[Path, bytes]:
    """The sample, authored once per run; every world begins with a copy."""
    folder = Path(mkdtemp(prefix="agencybus-directory-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sample = fresh_federation()
    root = author(sample.spec, sample.keys, authorities(), folder, datetime.now(UTC) - timedelta(hours=1))
    return folder, root


@dataclass
class World:
    """A federation's repositories in a folder of their own, and clients that follow them."""

    folder: Path
    root: bytes
    spec: FederationSpec
    authorities: dict[str, Authority] = field(default_factory=lambda: dict(authorities()))

    @classmethod
    def made_in(cls, tmp_path: Path) -> World:
        source, root = _first_state()
        shutil.copytree(source, tmp_path / "served")
        return cls(tmp_path / "served", root, fresh_federation().spec)

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def client(self, home: Path, **options: Any) -> DirectoryClient:
        return DirectoryClient(home, **({"trusted_root": self.root, "url": self.url} | options))

    def publish(
        self, spec: FederationSpec | None = None, *, now: datetime | None = None, lifetimes: Lifetimes | None = None
    ) -> None:
        """The honest authorities sign what the specification says."""
        self.spec = spec or self.spec
        author(
            self.spec,
            fresh_federation().keys,
            self.authorities,
            self.folder,
            now or datetime.now(UTC),
            lifetimes=lifetimes or Lifetimes(),
        )

    def publish_country(
        self, code: str, *, now: datetime | None = None, lifetimes: Lifetimes | None = None, **changes: Any
    ) -> None:
        """One country signs other `agencies`, `rules` or `withdrawals`; nobody else signs anything."""
        self.spec = federation.with_country(self.spec, code, **changes)
        repository = Repository(self.folder / code, self.authorities[code].own, lifetimes or Lifetimes())
        files = country_files(self.spec, code, fresh_federation().keys)
        repository.publish(files, now or datetime.now(UTC))

    def withdraw(self, endpoint: str) -> None:
        """A country withdraws an endpoint, from an hour ago on."""
        gone = Withdrawal(endpoint=endpoint, at=time.time_ns() // 1000 - 3_600_000_000)
        self.publish_country(endpoint[:2], withdrawals=(gone,))

    def rotate(self, code: str) -> None:
        """A country goes over to new keys for its own repository."""
        new = Authority.generate(code)
        Repository(self.folder / code, self.authorities[code].own).rotate(new.own, datetime.now(UTC))
        self.authorities[code] = Authority(code, new.own, self.authorities[code].joint)

    def metadata(self, repository: str) -> Path:
        return self.folder / repository / "metadata"

    def signers(self, repository: str, role: str) -> list[Signer]:
        """Everybody who must sign a role."""
        if repository == "joint":
            return [signer for code in ("us", "mx") for signer in self.authorities[code].joint[role]]
        return list(self.authorities[repository].own[role])

    def newest(self, repository: str, role: str) -> Path:
        paths = self.metadata(repository).glob(f"*{role}.json")
        return max(paths, key=lambda path: int(path.name.split(".")[0]) if path.name[0].isdigit() else 0)

    def resign(self, path: Path, change: Change, signers: Sequence[Signer]) -> bytes:
        """Change what a file says and sign it with these keys, in place."""
        metadata: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
        change(metadata.signed)
        return _write(path, metadata.signed, signers)

    def forge(
        self,
        repository: str,
        *,
        targets: Change = unchanged,
        snapshot: Change = unchanged,
        timestamp: Change = unchanged,
    ) -> None:
        """The next versions with changed content, every pin right, signed with the real keys: what their thieves do."""
        folder = self.metadata(repository)
        old_targets = Metadata[Targets].from_bytes(self.newest(repository, "targets").read_bytes()).signed
        old_snapshot_data = self.newest(repository, "snapshot").read_bytes()
        old_snapshot = Metadata[Snapshot].from_bytes(old_snapshot_data).signed
        stamp = Metadata[Timestamp].from_bytes((folder / "timestamp.json").read_bytes()).signed
        old_targets.version += 1
        targets(old_targets)
        data = _write(folder / f"{old_targets.version}.targets.json", old_targets, self.signers(repository, "targets"))
        pinned = {
            "version": old_snapshot.version,
            "length": len(old_snapshot_data),
            "sha384": hashlib.sha384(old_snapshot_data).hexdigest(),
        }
        extra = {"issued_at": time.time_ns() // 1000, "previous": pinned}
        old_snapshot.unrecognized_fields = extra
        old_snapshot.version += 1
        old_snapshot.meta["targets.json"] = MetaFile.from_data(old_targets.version, data, ["sha384"])
        snapshot(old_snapshot)
        data = _write(
            folder / f"{old_snapshot.version}.snapshot.json", old_snapshot, self.signers(repository, "snapshot")
        )
        stamp.version += 1
        stamp.snapshot_meta = MetaFile.from_data(old_snapshot.version, data, ["sha384"])
        timestamp(stamp)
        _write(folder / "timestamp.json", stamp, self.signers(repository, "timestamp"))

    def next_root(self, repository: str, change: Change, signers: Sequence[Signer] | None = None) -> Path:
        """The next root with changed content, signed by these keys, or by all of the old ones."""
        path = self.newest(repository, "root")
        root = Metadata[Root].from_bytes(path.read_bytes()).signed
        root.version += 1
        change(root)
        following = path.with_name(f"{root.version}.root.json")
        _write(following, root, self.signers(repository, "root") if signers is None else signers)
        return following

    def add_target(self, repository: str, name: str, data: bytes) -> Change:
        """Put a file where clients fetch it; the returned change lists it in targets."""
        digest = hashlib.sha384(data).hexdigest()
        folder, _, base = name.rpartition("/")
        path = self.folder / repository / "targets" / folder / f"{digest}.{base}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

        def change(targets: Targets) -> None:
            targets.targets[name] = TargetFile.from_data(name, data, ["sha384"])

        return change


def _write(path: Path, signed: Signed, signers: Sequence[Signer]) -> bytes:
    metadata: Metadata[Any] = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    data = metadata.to_bytes(JSONSerializer(compact=True))
    path.write_bytes(data)
    return data


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a file without any key."""
    content = json.loads(path.read_bytes())
    change(content)
    path.write_bytes(json.dumps(content).encode())
