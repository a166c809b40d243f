"""What this bus demands of TUF metadata beyond TUF itself (docs/adr), and the few facts that it takes from them.

Signatures, thresholds, versions and expiry are python-tuf's business (ngclient). Here is what TUF leaves open:

1. Keys (`check_root`): every role is signed by all of its keys, half of them ML-DSA-87, half P-384, and none of them
   comes twice under two ids: python-tuf counts ids. A joint role holds such a pair of every country.
2. Pins: length and SHA-384, nothing weaker or else, for everything below the root; no delegations.
3. A snapshot carries `issued_at` and pins its predecessor (`previous`). So the newest one vouches for the whole
   history without any old key, a client that was away can fetch what it missed, and two histories of one repository
   can't both be shown to anybody unnoticed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from securesystemslib.signer import Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, T, TargetFile, Targets, Timestamp

from agencybus.directory.spec import micros
from agencybus.errors import DirectoryError

ROLES: Final = (Root.type, Targets.type, Snapshot.type, Timestamp.type)
MLDSA_SCHEME: Final = "ml-dsa-87/1"
P384_SCHEME: Final = "ecdsa-sha2-nistp384"
HASH: Final = "sha384"

METADATA_BYTES: Final = 1024 * 1024  # any metadata file; the sample's largest, the joint root, has 53 KB
TIMESTAMP_BYTES: Final = 65_536  # signatures of two countries take 18.8 KB of it, of six 56 KB
TARGET_BYTES: Final = 4 * 1024 * 1024  # one target file; 256 endpoints of 8 KB (keys in base64) take half of it
TARGETS: Final = 1024  # target files of one repository

# A SubjectPublicKeyInfo of exactly this beginning and length has one encoding, so equal keys have equal bytes.
_SPKI: Final = {
    ("ml-dsa", MLDSA_SCHEME): (bytes.fromhex("30820a32300b060960864801650304031303820a2100"), 2614),
    ("ecdsa", P384_SCHEME): (bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"), 120),
}
_PATH: Final = re.compile(r"(?:[a-z]{1,32}/)?[a-z0-9][a-z0-9.-]{0,99}\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pin:
    """What a signed file says about another: its version (0 for target files), length in bytes and SHA-384."""

    version: int
    length: int
    digest: bytes

    def check(self, data: bytes, *, where: str) -> bytes:
        """Return the data if they are what is pinned.

        Raises:
            DirectoryError: `directory-invalid`.
        """
        if len(data) != self.length or hashlib.sha384(data).digest() != self.digest:
            raise _invalid(where, "length or SHA-384 is not what was signed")
        return data


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """What the bus takes from a snapshot.

    Attributes:
        digest: SHA-384 of the file.
        issued_at: when its authority made it, microseconds, as it says.
        expires_at: first moment past its date, microseconds.
        targets: pin of the targets file.
        previous: pin of the snapshot before it; None for the first.
    """

    digest: bytes
    issued_at: int
    expires_at: int
    targets: Pin
    previous: Pin | None


@dataclass(frozen=True, slots=True)
class TargetsFacts:
    """What the bus takes from a targets file.

    Attributes:
        expires_at: first moment past its date, microseconds.
        files: path → pin.
    """

    expires_at: int
    files: dict[str, Pin]


def read_snapshot(data: bytes, *, where: str) -> SnapshotFacts:
    """Take the facts from a snapshot that is trusted or about to be pinned.

    Raises:
        DirectoryError: `directory-invalid`.
    """
    signed = _load(data, Snapshot, where).signed
    extra = dict(signed.unrecognized_fields)
    issued_at, previous = extra.pop("issued_at", None), extra.pop("previous", None)
    if extra or not isinstance(issued_at, int) or not 0 <= issued_at < 2**63:
        raise _invalid(where, "issued_at is missing, or a field is unknown")
    if signed.meta.keys() != {"targets.json"}:
        raise _invalid(where, "a snapshot lists targets.json and nothing else")
    meta = signed.meta["targets.json"]
    return SnapshotFacts(
        digest=hashlib.sha384(data).digest(),
        issued_at=issued_at,
        expires_at=micros(signed.expires),
        targets=_pin(meta, meta.version, METADATA_BYTES, where),
        previous=None if previous is None else _read_previous(previous, signed.version, where),
    )


def read_targets(data: bytes, *, where: str) -> TargetsFacts:
    """Take the facts from a targets file that is trusted or about to be pinned.

    Raises:
        DirectoryError: `directory-invalid`.
    """
    signed = _load(data, Targets, where).signed
    if signed.delegations is not None or signed.unrecognized_fields:
        raise _invalid(where, "delegations are not used, and no field is unknown")
    if len(signed.targets) > TARGETS:
        raise _invalid(where, f"more than {TARGETS} target files")
    if odd := [path for path in signed.targets if not _PATH.fullmatch(path)]:
        raise _invalid(where, f"{odd[0][:80]!r} is no name of a target file")
    files = {path: _pin(target, 0, TARGET_BYTES, where) for path, target in signed.targets.items()}
    return TargetsFacts(expires_at=micros(signed.expires), files=files)


def read_timestamp(data: bytes, *, where: str) -> tuple[int, Pin]:
    """Take the first moment past its date (microseconds) and the snapshot's pin.

    Raises:
        DirectoryError: `directory-invalid`.
    """
    signed = _load(data, Timestamp, where).signed
    return micros(signed.expires), _pin(signed.snapshot_meta, signed.snapshot_meta.version, METADATA_BYTES, where)


def check_root(data: bytes, *, where: str, roles: Iterable[str] = ROLES) -> tuple[int, int]:
    """Demand the keys that the module's first rule names.

    Args:
        data: a root file.
        where: for errors.
        roles: those looked at; of a root that has a successor only `root` still matters.

    Returns:
        Its version, and the first moment past its date, microseconds.

    Raises:
        DirectoryError: `directory-invalid`.
    """
    signed = _load(data, Root, where).signed
    if not signed.consistent_snapshot:
        raise _invalid(where, "consistent_snapshot is off")
    for name in roles:
        role = signed.roles[name]
        keys = [signed.keys[key_id] for key_id in role.keyids]
        schemes = [key.scheme for key in keys]
        if role.threshold != len(keys):
            raise _invalid(where, f"{name}: the threshold is not the number of keys")
        if len({_raw_key(key, where) for key in keys}) != len(keys):
            raise _invalid(where, f"{name}: one key value under two ids, so its signature would count twice")
        if not schemes or schemes.count(MLDSA_SCHEME) != schemes.count(P384_SCHEME):
            raise _invalid(where, f"{name}: not one ML-DSA-87 and one P-384 key each")
    return signed.version, micros(signed.expires)


def _raw_key(key: Key, where: str) -> bytes:
    """Return the one encoding of a key of ours."""
    expected = _SPKI.get((key.keytype, key.scheme))
    lines = str(key.keyval.get("public", "")).strip().splitlines()
    try:
        raw = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid(where, "a key is not PEM") from error
    if expected is None or not raw.startswith(expected[0]) or len(raw) != expected[1]:
        raise _invalid(where, "a key that is neither ML-DSA-87 nor P-384")
    return raw


def _load(data: bytes, kind: type[T], where: str) -> Metadata[T]:
    try:
        loaded = Metadata[kind].from_bytes(data)  # type: ignore[valid-type]
    except RepositoryError as error:
        raise _invalid(where, "not TUF metadata") from error
    if not isinstance(loaded.signed, kind):
        raise _invalid(where, f"not a {kind.type} file")
    return loaded


def _pin(file: MetaFile | TargetFile, version: int, most: int, where: str) -> Pin:
    if file.hashes is None or file.hashes.keys() != {HASH} or file.length is None:
        raise _invalid(where, "an entry without length and SHA-384, or with another hash")
    return _checked_pin(version, file.length, file.hashes[HASH], most, where)


def _read_previous(value: Any, version: int, where: str) -> Pin:
    if not isinstance(value, dict) or value.keys() != {"version", "length", HASH}:
        raise _invalid(where, "previous is not {version, length, sha384}")
    if not isinstance(value["version"], int) or not 0 < value["version"] < version:
        raise _invalid(where, "previous is not older")
    if not isinstance(value["length"], int):
        raise _invalid(where, "previous has no length")
    return _checked_pin(value["version"], value["length"], value[HASH], METADATA_BYTES, where)


def _checked_pin(version: int, length: int, digest: Any, most: int, where: str) -> Pin:
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{96}", digest, re.ASCII):
        raise _invalid(where, "a SHA-384 is 96 lower-case hexadecimal digits")
    if not 0 < length <= most:
        raise _invalid(where, f"a length beyond {most} bytes")
    return Pin(version, length, bytes.fromhex(digest))


def _invalid(where: str, what: str) -> DirectoryError:
    return DirectoryError("directory-invalid", what, where=where)
