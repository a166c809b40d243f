"""Make records: seal frames, sign checkpoints, write grants. The mirror of `opener`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agencybus.seal import commitment, frame, grant, suite
from agencybus.wire import ids, limits
from agencybus.wire.envelope import Record, signed_bytes
from agencybus.wire.headers import CheckpointHeader, FrameHeader, GrantHeader, Header, HeaderError, Recipient


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a header that place a record in its lineage (records-v1, section 3)."""

    realm: bytes
    endpoint: str
    writer: str
    channel: str
    partition: int
    sequence: int
    previous: bytes
    previous_sealed_at: int
    sealed_at: int
    directory: bytes
    state: str


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What all events of a frame share.

    Attributes:
        type: event type.
        schema_id: 48 bytes.
        label: canonical text.
        programme: the agreement.
        precedence: one of the four words.
        compress: whether the type may be compressed.
    """

    type: str
    schema_id: bytes
    label: str
    programme: str
    precedence: str
    compress: bool


def sign(header: Header, body: bytes, signer: suite.SigningKey) -> Record:
    """Put both signatures on a header and a body.

    Raises:
        ValueError: a value is out of range: every reader would refuse the record.
    """
    try:
        header.check()
    except HeaderError as error:
        raise ValueError(str(error)) from error
    header_bytes = header.encode()
    mldsa87, p384 = signer.sign(signed_bytes(header.kind_name, header_bytes, body))
    return Record(header, header_bytes, mldsa87, p384, body)


def seal_frame(
    link: Link, content: Content, events: Sequence[bytes], audience_key: bytes, signer: suite.SigningKey
) -> Record:
    """Seal 1 to 4,096 encoded events into one record. The frame secret is fresh at each call: never seal to resend.

    Args:
        link: place in the lineage.
        content: what the events share.
        events: encoded events, each 1 B to 256 KiB.
        audience_key: 32 bytes.
        signer: the endpoint's keys.

    Raises:
        ValueError: the events do not fit a record; seal fewer.
    """
    secret = suite.random_key()
    body_size = sum(map(len, events))
    if not 0 < len(events) <= limits.FRAME_EVENTS or body_size > limits.UNPACKED_BYTES // 2:
        raise ValueError("the events do not fit a frame")
    header = FrameHeader(
        **msgspec.structs.asdict(link),
        signer_key_id=signer.public.id,
        type=content.type,
        schema_id=content.schema_id,
        label=content.label,
        programme=content.programme,
        precedence=content.precedence,
        count=len(events),
        audience_key_id=ids.audience_key_id(audience_key),
        commitment=commitment.commit(secret, events),
    )
    plaintext = frame.pack(secret, events, compress=content.compress)
    if len(plaintext) > limits.FRAME_BODY_BYTES:
        raise ValueError("the events do not fit a frame")
    header_bytes = header.encode()
    body = suite.seal_body(audience_key, header_bytes, plaintext)
    return sign(header, body, signer)


def seal_checkpoint(link: Link, signer: suite.SigningKey) -> Record:
    """Sign a record without events: open, heartbeat, close."""
    header = CheckpointHeader(**msgspec.structs.asdict(link), signer_key_id=signer.public.id)
    return sign(header, b"", signer)


def seal_grant(
    key: grant.AudienceKey,
    recipients: Sequence[tuple[str, suite.KemPublicKey]],
    signer: suite.SigningKey,
    *,
    realm: bytes,
    agency: str,
    sealed_at: int,
    directory: bytes,
) -> Record:
    """Wrap an audience key to the endpoints of one agency.

    Args:
        key: the key with its audience and epoch.
        recipients: (endpoint, its encapsulation key), 1 to 256, all of `agency`.
        signer: the granting endpoint's keys.
        realm: 16 bytes.
        agency: the recipients' agency.
        sealed_at: µs since the epoch.
        directory: digest of the directory that gave the audience.
    """
    ordered = sorted(recipients, key=lambda line: (line[0], line[1].id))
    header = GrantHeader(
        realm=realm,
        endpoint=key.endpoint,
        signer_key_id=signer.public.id,
        agency=agency,
        audience_key_id=key.id,
        audience=key.audience,
        epoch_start=key.epoch_start,
        epoch_end=key.epoch_end,
        sealed_at=sealed_at,
        directory=directory,
        recipients=tuple(Recipient(endpoint, kem.id) for endpoint, kem in ordered),
    )
    body = grant.wraps(header.digest(), key.key, [kem for _, kem in ordered])
    return sign(header, body, signer)
