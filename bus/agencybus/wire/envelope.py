"""The envelope of every record: fixed slots, so that two signatures are structure and not policy.

docs/spec/records-v1.md, section 2. This module is step 1 of the opener.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from agencybus.errors import RecordError, Step
from agencybus.wire import limits
from agencybus.wire.headers import HEADERS, CheckpointHeader, FrameHeader, GrantHeader, Header, HeaderError

MAGIC: Final = b"AGB"
VERSION: Final = b"1"
HEADER_AT: Final = 9
MLDSA_BYTES: Final = 4627
P384_BYTES: Final = 96
WRAP_BYTES: Final = 1713
MIN_FRAME_BODY: Final = limits.PAD_STEP_BYTES + 16  # one padded block and the tag

CHANNEL_KINDS: Final = frozenset({FrameHeader.kind, CheckpointHeader.kind})
GRANT_KINDS: Final = frozenset({GrantHeader.kind})


@dataclass(frozen=True)
class Record:
    """The parts of a record. Nothing in it is verified yet.

    Attributes:
        header: decoded header.
        header_bytes: the header as received; signed and hashed as such, never encoded anew.
        mldsa87: 4,627 bytes.
        p384: 96 bytes.
        body: what remains.
    """

    header: Header
    header_bytes: bytes
    mldsa87: bytes
    p384: bytes
    body: bytes

    @cached_property
    def signed(self) -> bytes:
        """The bytes that both signatures are over."""
        return signed_bytes(self.header.kind_name, self.header_bytes, self.body)

    @cached_property
    def digest(self) -> bytes:
        """The record's identity, 48 bytes."""
        return hashlib.sha384(self.signed).digest()

    @cached_property
    def header_digest(self) -> bytes:
        """SHA-384 of the header as received, 48 bytes."""
        return hashlib.sha384(self.header_bytes).digest()

    def encode(self) -> bytes:
        """The record's bytes."""
        size = len(self.header_bytes).to_bytes(4, "big")
        start = MAGIC + VERSION + bytes([self.header.kind]) + size
        return b"".join((start, self.header_bytes, self.mldsa87, self.p384, self.body))


def signed_bytes(kind_name: str, header: bytes, body: bytes) -> bytes:
    """What is signed: domain, header with its length, digest of the body."""
    domain = b"agencybus/v1/" + kind_name.encode("ascii") + b"\x00"
    return domain + len(header).to_bytes(4, "big") + header + hashlib.sha384(body).digest()


def _refuse(code: str, what: str) -> RecordError:
    return RecordError(Step.LAYOUT, code, what)


def split(raw: bytes, kinds: frozenset[int]) -> Record:
    """Step 1, size and layout: take a record apart.

    Args:
        raw: the value of a Kafka record.
        kinds: the kinds that belong into the topic.

    Raises:
        RecordError: step 1, with the code of what is wrong.
    """
    # --- step 1: size and layout
    if len(raw) > limits.RECORD_BYTES:
        raise _refuse("record-too-large", f"{len(raw)} bytes, at most {limits.RECORD_BYTES}")
    if not raw.startswith(MAGIC):
        raise _refuse("magic-unknown", f"begins with {raw[:4].hex() or 'nothing'}")
    if raw[3:4] != VERSION:
        raise _refuse("version-unknown", f"version byte {raw[3:4].hex() or 'missing'}")
    if len(raw) < HEADER_AT:
        raise _refuse("record-too-short", f"{len(raw)} bytes are no envelope")
    cls = HEADERS.get(raw[4])
    if cls is None:
        raise _refuse("kind-unknown", f"kind {raw[4]}")
    if raw[4] not in kinds:
        raise _refuse("kind-unexpected", f"a {cls.kind_name} in this topic")
    size = int.from_bytes(raw[5:HEADER_AT], "big")
    if size > cls.max_bytes:
        raise _refuse("header-too-large", f"{size} bytes, at most {cls.max_bytes}")
    mldsa_at = HEADER_AT + size
    p384_at = mldsa_at + MLDSA_BYTES
    body_at = p384_at + P384_BYTES
    if len(raw) < body_at:
        raise _refuse("record-too-short", f"{len(raw)} bytes, {body_at} before the body")
    header_bytes = raw[HEADER_AT:mldsa_at]
    try:
        header = cls.decode(header_bytes)
    except HeaderError as error:
        code = "header-value-invalid" if error.invalid else "header-undecodable"
        raise _refuse(code, str(error)) from None
    record = Record(header, header_bytes, raw[mldsa_at:p384_at], raw[p384_at:body_at], raw[body_at:])
    _check_body(record)
    return record


def _check_body(record: Record) -> None:
    size, header = len(record.body), record.header
    match header:
        case FrameHeader() if size < MIN_FRAME_BODY:
            raise _refuse("body-length-invalid", f"a frame's body of {size} bytes, at least {MIN_FRAME_BODY}")
        case CheckpointHeader() if size:
            raise _refuse("body-length-invalid", f"a checkpoint with a body of {size} bytes")
        case GrantHeader() if size != WRAP_BYTES * len(header.recipients):
            raise _refuse("body-length-invalid", f"{size} bytes of wraps for {len(header.recipients)} recipients")
        case _:
            pass
