"""Make records field by field, right or wrong. For tests only: it signs whatever it is told.

Signatures of ML-DSA-87 and key wraps are randomised by the library; `Kept` remembers them beside the vectors, so that
making the vectors anew gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agencybus.seal import commitment, frame, suite
from agencybus.seal.grant import AudienceKey, wrap_info
from agencybus.seal.suite import SealError
from agencybus.wire import ids
from agencybus.wire.envelope import Record, signed_bytes
from agencybus.wire.headers import CheckpointHeader, FrameHeader, GrantHeader, Header, Recipient
from vectors import world
from vectors.world import CHANNEL, CURRENT, FBI, FGR, KEMS, NOW, REALM, SECOND, SIGNERS

LABEL = "UNCLASSIFIED//REL TO USA, MEX"
SECRET = world.seed("frame secret", 32)


class Kept:
    """Random results by what they are of, in a file."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.values: dict[str, str] = json.loads(path.read_text()) if path and path.exists() else {}
        self.used: set[str] = set()

    def get(self, name: bytes) -> bytes | None:
        key = hashlib.sha256(name).hexdigest()[:32]
        self.used.add(key)
        value = self.values.get(key)
        return base64.b64decode(value) if value else None

    def put(self, name: bytes, value: bytes) -> bytes:
        self.values[hashlib.sha256(name).hexdigest()[:32]] = base64.b64encode(value).decode()
        return value

    def save(self) -> str:
        return json.dumps({key: self.values[key] for key in sorted(self.used)}, indent=0) + "\n"


KEPT = Kept()


def signatures(message: bytes, signer: suite.SigningKey) -> tuple[bytes, bytes]:
    """Both signatures, the kept ones if they verify."""
    name = b"signature" + signer.public.id + message
    mldsa87, p384 = signer.sign(message)
    if kept := KEPT.get(name):
        try:
            signer.public.verify_mldsa(message, kept)
        except SealError:
            pass
        else:
            return kept, p384
    return KEPT.put(name, mldsa87), p384


def wrap(public: suite.KemPublicKey, key: bytes, info: bytes) -> bytes:
    name = b"wrap" + public.id + info + key
    return KEPT.get(name) or KEPT.put(name, public.wrap(key, info))


def link(**changes: Any) -> dict[str, Any]:
    """The fields of a first record."""
    fields: dict[str, Any] = {
        "realm": REALM,
        "endpoint": FBI,
        "writer": "main",
        "channel": CHANNEL,
        "partition": 0,
        "sequence": 0,
        "previous_sealed_at": 0,
        "sealed_at": NOW - 60 * SECOND,
        "directory": CURRENT.digest,
        "state": "open",
        "signer_key_id": SIGNERS[FBI].public.id,
    }
    fields |= changes
    if "previous" not in fields:
        place = fields["endpoint"], fields["writer"], fields["channel"], fields["partition"]
        fields["previous"] = ids.first_previous(fields["realm"], *place)
    return fields


def after(record: Record, **changes: Any) -> dict[str, Any]:
    """Fields of the record that follows `record`."""
    header = record.header
    assert isinstance(header, FrameHeader | CheckpointHeader)
    follows = {
        "sequence": header.sequence + 1,
        "previous": record.digest,
        "previous_sealed_at": header.sealed_at,
        "sealed_at": header.sealed_at + SECOND,
        "state": "run",
    }
    return {**follows, **changes}


def sign(
    header: Header, body: bytes, signer: str = FBI, *, header_bytes: bytes | None = None, kind_name: str = ""
) -> Record:
    """Sign a header (or other bytes in its place) and a body; as another kind, if told so."""
    encoded = header.encode() if header_bytes is None else header_bytes
    mldsa87, p384 = signatures(signed_bytes(kind_name or header.kind_name, encoded, body), SIGNERS[signer])
    return Record(header, encoded, mldsa87, p384, body)


def frame_record(
    events: Sequence[bytes],
    *,
    key: bytes | None = None,
    plaintext: bytes | None = None,
    secret: bytes = SECRET,
    signer: str = FBI,
    compress: bool = True,
    schema_id: bytes,
    edit: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Record:
    """A frame.

    Args:
        events: encoded events.
        key: audience key, the usual one if left out.
        plaintext: sealed in place of what the events give.
        secret: frame secret.
        signer: whose key signs.
        compress: packs with zstd.
        schema_id: 48 bytes.
        edit: header fields changed after the commitment was made.
        changes: header fields changed from the start.
    """
    key = world.audience_key().key if key is None else key
    fields = link() | {
        "type": "alert",
        "schema_id": schema_id,
        "label": LABEL,
        "programme": "fugitives",
        "precedence": "ROUTINE",
        "count": len(events),
        "audience_key_id": ids.audience_key_id(key),
        "commitment": commitment.commit(secret, events),
    }
    moved = {"channel", "partition", "writer", "endpoint", "realm"} & changes.keys()
    fields |= link(**changes) if moved and "previous" not in changes else changes
    header = FrameHeader(**{**fields, **changes, **(edit or {})})
    if plaintext is None:
        plaintext = frame.pack(secret, events, compress=compress)
    body = suite.seal_body(key, header.encode(), plaintext)
    return sign(header, body, signer)


def checkpoint_record(signer: str = FBI, **changes: Any) -> Record:
    return sign(CheckpointHeader(**link(**changes)), b"", signer)


def grant_record(
    key: AudienceKey | None = None,
    *,
    recipients: Sequence[tuple[str, suite.KemPublicKey]] = ((FGR, KEMS[FGR].public),),
    wrapped: bytes | None = None,
    signer: str = FBI,
    **changes: Any,
) -> Record:
    """A grant; `wrapped` is wrapped in place of the key."""
    key = key or world.audience_key()
    fields: dict[str, Any] = {
        "realm": REALM,
        "endpoint": key.endpoint,
        "signer_key_id": SIGNERS[signer].public.id,
        "agency": "mx.fgr",
        "audience_key_id": key.id,
        "audience": key.audience,
        "epoch_start": key.epoch_start,
        "epoch_end": key.epoch_end,
        "sealed_at": NOW - 3600 * SECOND,
        "directory": CURRENT.digest,
        "recipients": tuple(Recipient(endpoint, kem.id) for endpoint, kem in recipients),
    }
    header = GrantHeader(**{**fields, **changes})
    digest = header.digest()
    body = b"".join(wrap(kem, wrapped or key.key, wrap_info(digest, kem.id)) for _, kem in recipients)
    return sign(header, body, signer)
