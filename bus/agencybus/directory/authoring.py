"""Writing the three repositories: what authorities do, with all their keys in one process.

This is how a federation for trying, tests and the demo is made. Real ceremonies bring the signatures together from
two countries and from offline keys; they stand on `Repository` too, which signs with whatever signers it is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, T, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from agencybus.directory.files import write_whole
from agencybus.directory.profile import HASH, MLDSA_SCHEME, P384_SCHEME, ROLES, check_root
from agencybus.directory.spec import EndpointKeys, FederationSpec, country_files, joint_files, micros
from agencybus.errors import DirectoryError

JOINT: Final = "joint"
Signers = Mapping[str, Sequence[Signer]]
"""Role → everybody who signs it."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long what is signed counts. Short where signing is automatic, since it bounds how long a freeze can last."""

    root: timedelta = timedelta(days=365)
    targets: timedelta = timedelta(days=180)  # and snapshot
    timestamp: timedelta = timedelta(days=7)


class Authority:
    """One country's signing keys: a pair of ML-DSA-87 and P-384 per role, for its own repository and the joint one.

    Attributes:
        country: its code.
        own: signers of its own repository.
        joint: its signers of the joint repository.
    """

    def __init__(self, country: str, own: Signers, joint: Signers) -> None:
        self.country = country
        self.own = own
        self.joint = joint

    @classmethod
    def generate(cls, country: str) -> Authority:
        """Make all keys anew."""
        return cls(country, {role: _pair() for role in ROLES}, {role: _pair() for role in ROLES})

    def __repr__(self) -> str:
        return f"<Authority {self.country}>"


def _pair() -> tuple[Signer, Signer]:
    return (
        CryptoSigner.generate_mldsa(scheme=MLDSA_SCHEME),
        CryptoSigner.generate_ecdsa(scheme=P384_SCHEME),
    )


class Repository:
    """One TUF repository on disk: `metadata/` and `targets/`, ready to be served as files or by any web server."""

    def __init__(self, folder: Path, signers: Signers, lifetimes: Lifetimes = Lifetimes()) -> None:
        self._metadata = folder / "metadata"
        self._targets = folder / "targets"
        self._signers = signers
        self._lifetimes = lifetimes

    def first_root(self, now: datetime) -> bytes:
        """Return the first root, which clients pin; made and signed if it is not there yet."""
        path = self._metadata / "1.root.json"
        if not path.exists():
            self._write_root(1, now, self._signers[Root.type])
        return path.read_bytes()

    def rotate(self, signers: Signers, now: datetime) -> None:
        """Go over to other keys: the next root, signed by the old and the new ones, and everything signed anew."""
        version = max(int(path.name.split(".")[0]) for path in self._metadata.glob("*.root.json")) + 1
        old, self._signers = self._signers, signers
        both = [*old[Root.type], *(signer for signer in signers[Root.type] if signer not in old[Root.type])]
        self._write_root(version, now, both)
        targets = self._read("targets", Targets)
        files = {path: self._target(path, target) for path, target in targets.targets.items()} if targets else {}
        self.publish(files, now, renew=True)

    def publish(self, files: Mapping[str, bytes], now: datetime, *, renew: bool = False) -> None:
        """Make these the target files; if they are already, and not half expired, only the timestamp is signed anew.

        Args:
            files: path → content, all of them.
            now: the moment of signing.
            renew: sign everything anew even if nothing changed (other keys).
        """
        targets, snapshot = self._read("targets", Targets), self._read("snapshot", Snapshot)
        wanted = {path: TargetFile.from_data(path, data, [HASH]) for path, data in sorted(files.items())}
        if (
            targets is None
            or snapshot is None
            or targets.targets != wanted
            or min(targets.expires, snapshot.expires) < _expiry(now, self._lifetimes.targets / 2)
            or renew
        ):
            for path, data in files.items():
                write_whole(self._target_path(path, wanted[path]), data)
            version = 1 if targets is None else targets.version + 1
            targets = Targets(version, expires=_expiry(now, self._lifetimes.targets), targets=wanted)
            listed = self._write(f"{version}.targets.json", targets, self._signers[Targets.type])
            snapshot = self._snapshot(snapshot, MetaFile.from_data(version, listed, [HASH]), now)
            self._write(f"{snapshot.version}.snapshot.json", snapshot, self._signers[Snapshot.type])
        pinned = (self._metadata / f"{snapshot.version}.snapshot.json").read_bytes()
        stamp = self._read("timestamp", Timestamp)
        stamp = Timestamp(
            1 if stamp is None else stamp.version + 1,
            expires=_expiry(now, self._lifetimes.timestamp),
            snapshot_meta=MetaFile.from_data(snapshot.version, pinned, [HASH]),
        )
        # Last, and in one step: until then a client sees the repository as it was.
        self._write("timestamp.json", stamp, self._signers[Timestamp.type])

    def _write_root(self, version: int, now: datetime, signers: Sequence[Signer]) -> None:
        root = Root(version, expires=_expiry(now, self._lifetimes.root), consistent_snapshot=True)
        for role in ROLES:
            for signer in self._signers[role]:
                root.add_key(signer.public_key, role)
            root.roles[role].threshold = len(self._signers[role])
        # Before it is there: clients never forgive a root whose own keys are not of the profile.
        check_root(Metadata(root).to_bytes(), where=str(self._metadata))
        self._write(f"{version}.root.json", root, signers)

    def _snapshot(self, last: Snapshot | None, targets: MetaFile, now: datetime) -> Snapshot:
        """Make the next snapshot, which pins the last one (profile.py, rule 3)."""
        version = 1 if last is None else last.version + 1
        extra: dict[str, Any] = {"issued_at": micros(now)}
        if last is not None:
            data = (self._metadata / f"{last.version}.snapshot.json").read_bytes()
            digest = hashlib.sha384(data).hexdigest()
            extra["previous"] = {"version": last.version, "length": len(data), HASH: digest}
        expires = _expiry(now, self._lifetimes.targets)
        return Snapshot(version, expires=expires, meta={"targets.json": targets}, unrecognized_fields=extra)

    def _read(self, role: str, kind: type[T]) -> T | None:
        """Read the newest file of a role, or None."""
        paths = list(self._metadata.glob(f"*{role}.json"))
        if not paths:
            return None
        newest = max(paths, key=lambda path: int(path.name.split(".")[0]) if path.name[0].isdigit() else 0)
        signed = Metadata.from_bytes(newest.read_bytes()).signed
        assert isinstance(signed, kind)
        return signed

    def _write(self, name: str, signed: T, signers: Sequence[Signer]) -> bytes:
        metadata = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        data = metadata.to_bytes(JSONSerializer(compact=True))
        write_whole(self._metadata / name, data)
        return data

    def _target_path(self, path: str, target: TargetFile) -> Path:
        folder, _, name = path.rpartition("/")
        return self._targets / folder / f"{target.hashes[HASH]}.{name}"

    def _target(self, path: str, target: TargetFile) -> bytes:
        return self._target_path(path, target).read_bytes()


def _expiry(now: datetime, life: timedelta) -> datetime:
    return now.astimezone(UTC) + life


def author(
    spec: FederationSpec,
    keys: Mapping[str, EndpointKeys],
    authorities: Mapping[str, Authority],
    out: Path,
    now: datetime,
    *,
    lifetimes: Lifetimes = Lifetimes(),
) -> bytes:
    """Write or update the repositories of a federation: `out/joint` and `out/<country>`.

    Args:
        spec: what was agreed.
        keys: endpoint name → public keys.
        authorities: country code → its signing keys; the same ones for every update.
        out: folder of the repositories.
        now: the moment of signing, with an offset.
        lifetimes: how long the signatures count.

    Returns:
        The first root of the joint repository: what every client pins, and the source of the realm.

    Raises:
        DirectoryError: `directory-invalid`, if a country's authority is missing, or its keys are not of the profile.
        OSError: the folder can't be written.
    """
    roots: dict[str, bytes] = {}
    for country in spec.countries:
        if country.code not in authorities:
            raise DirectoryError("directory-invalid", f"no authority signs for {country.code}", where=str(out))
        repository = Repository(out / country.code, authorities[country.code].own, lifetimes)
        roots[country.code] = repository.first_root(now)
        repository.publish(country_files(spec, country.code, keys), now)
    members = [authorities[country.code] for country in spec.countries]
    together = {role: [signer for member in members for signer in member.joint[role]] for role in ROLES}
    joint = Repository(out / JOINT, together, lifetimes)
    root = joint.first_root(now)
    joint.publish(joint_files(spec, roots), now)
    return root
