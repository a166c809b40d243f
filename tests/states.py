"""States of writers and readers for tests: real folders, real SQLite."""

from __future__ import annotations

import hashlib
from pathlib import Path

from agencybus.lineage import Head, LineageId
from agencybus.seal.grant import AudienceKey
from agencybus.state import ReaderState, Reference, WriterState
from agencybus.state.vault import Refused
from agencybus.wire import ids

ENDPOINT = "us.cbp/ntc-cargo"
REALM = bytes(range(16))
STORAGE_KEY = bytes(range(32))
CHANNEL = "us.cbp.cargo-targeting.routine"
TOPIC = "mx.anam.cargo-targeting.routine"
LINEAGE = LineageId("mx.anam/aduanas", "main", TOPIC, 0)
NOON = 1_790_000_000_000_000  # µs since the epoch
HOUR = 3600 * 1_000_000
DAY = 24 * HOUR
KIB = 1024


def writer(folder: Path, **changed: object) -> WriterState:
    asked: dict[str, object] = {"endpoint": ENDPOINT, "realm": REALM, "writer": "main", "storage_key": STORAGE_KEY}
    return WriterState.open(folder, **asked | changed)  # type: ignore[arg-type]


def reader(folder: Path, **changed: object) -> ReaderState:
    asked: dict[str, object] = {"endpoint": ENDPOINT, "realm": REALM, "route": "siem", "storage_key": STORAGE_KEY}
    return ReaderState.open(folder, **asked | changed)  # type: ignore[arg-type]


def digest(number: int) -> bytes:
    return hashlib.sha384(b"record %d" % number).digest()


def record(number: int, size: int = 2 * KIB) -> bytes:
    return (b"record %d " % number * size)[:size]


def begin(state: WriterState, number: int, *, size: int = 2 * KIB, references: list[Reference] | None = None) -> None:
    """Journal record `number` of the one lineage that these tests write."""
    state.begin(
        CHANNEL,
        0,
        sequence=number,
        digest=digest(number),
        sealed_at=NOON + number,
        record=record(number, size),
        references=references or [],
    )


def key(number: int) -> bytes:
    """The hash of a reference."""
    return hashlib.sha256(b"reference %d" % number).digest()[:16]


def reference(number: int) -> Reference:
    return Reference(key(number), number.to_bytes(16, "big"), digest(number))


def head(number: int) -> Head:
    return Head(number, digest(number), NOON + number, "run")


def refused(number: int, **changed: object) -> Refused:
    fields: dict[str, object] = {
        "raw": record(number),
        "topic": TOPIC,
        "partition": 0,
        "offset": number,
        "received_at": NOON,
        "step": 4,
        "code": "mldsa-signature-invalid",
        "reason": "the signature does not verify",
    }
    return Refused(**fields | changed)  # type: ignore[arg-type]


def audience_key(start: int = NOON, *, secret: bytes = b"canary-of-a-32-byte-audience-key") -> AudienceKey:
    return AudienceKey(secret, ids.audience_key_id(secret), ENDPOINT, digest(0), start, start + DAY)
