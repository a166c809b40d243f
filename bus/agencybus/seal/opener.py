"""The opener: thirteen steps from raw bytes to events, in one order, each with its number.

docs/spec/records-v1.md, section 7. Steps 1 to 8 need no decryption key: readers that are not cleared and auditors run
the same code. Every function returns what it verified, or raises `RecordError` with step and code; none returns a bool.

    authenticate   steps 1-6    stateless: may run ahead of time, in a thread
    attest                      who signed, while the directory that step 3 asks for is not known
    lineage.advance     step 7  needs the reader's heads
    entitle             step 8
    unseal         steps 9-12   may run in a thread
    decode             step 13  event by event
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from agencybus.codec import Codec
from agencybus.directory import policy
from agencybus.directory.model import Directory, Endpoint, SignerKey
from agencybus.directory.views import DirectoryView
from agencybus.errors import EventError, LabelError, PolicyError, RecordError, SchemaError, Step
from agencybus.label import Label
from agencybus.seal import commitment, frame, suite
from agencybus.seal.grant import AudienceKey
from agencybus.wire import envelope, ids, limits
from agencybus.wire.envelope import Record
from agencybus.wire.headers import CheckpointHeader, FrameHeader, GrantHeader, LineageHeader
from agencybus_schemas.events import Event

SUPERSEDED_US: Final = 24 * 3600 * 1_000_000  # µs a writer may go on with a directory that has a successor
LANES: Final = frozenset({"urgent", "routine"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record was found.

    Attributes:
        realm: the reader's deployment, 16 bytes.
        channel: the topic's channel, or `<agency>.grants`.
        partition: the topic's partition.
    """

    realm: bytes
    channel: str
    partition: int

    @property
    def kinds(self) -> frozenset[int]:
        """The kinds of record that belong here."""
        return envelope.GRANT_KINDS if self.channel.endswith(".grants") else envelope.CHANNEL_KINDS


@dataclass(frozen=True, slots=True)
class Authentic:
    """A record that passed steps 1 to 6.

    Attributes:
        record: its parts.
        directory: the directory that the writer obeyed.
        successor: the one that was in force when the record was sealed, if that is another: it may only take away.
        label: the frame's label; None for records without.
    """

    record: Record
    directory: Directory
    successor: Directory | None
    label: Label | None


def authenticate(raw: bytes, place: Place, view: DirectoryView, *, now: int, arrived_at: int = 0) -> Authentic:
    """Steps 1 to 6: who says this, here, and may they?

    Args:
        raw: the value of a Kafka record.
        place: where it was found.
        view: the known directories.
        now: µs since the epoch, by the reader's clock.
        arrived_at: when the broker took it, µs since the epoch, as the broker says; 0 if nobody knows. It can only
            make a reader stricter.

    Raises:
        RecordError: with the step that refused it. `directory-unknown` is to be tried again later.
    """
    record = envelope.split(raw, place.kinds)
    _check_place(record, place)
    directory, successor = _find_directories(record, view)
    signer = _find_signer(record, directory)
    if successor is not None:
        _find_signer(record, successor)
    if record.header.sealed_at > now + limits.CLOCK_SKEW_US:
        ahead = (record.header.sealed_at - now) // 1_000_000
        raise RecordError(Step.SIGNER, "sealed-in-future", f"sealed {ahead} s ahead of this clock")
    _verify_signatures(record, signer)
    _check_canonical(record)
    label = _check_authority(record, directory, successor)
    _check_withdrawn(record, view, arrived_at)
    return Authentic(record, directory, successor, label)


def _check_place(record: Record, place: Place) -> None:
    # --- step 2: place
    header = record.header
    if header.realm != place.realm:
        raise RecordError(Step.PLACE, "realm-mismatch", f"realm {header.realm.hex()}")
    if isinstance(header, LineageHeader):
        if header.channel != place.channel:
            raise RecordError(Step.PLACE, "channel-mismatch", f"signed for {header.channel}", where=place.channel)
        if header.partition != place.partition:
            raise RecordError(Step.PLACE, "partition-mismatch", f"signed for partition {header.partition}")
    elif f"{header.endpoint.partition('/')[0]}.grants" != place.channel:
        raise RecordError(Step.PLACE, "channel-mismatch", f"a grant of {header.endpoint}", where=place.channel)


def _find_directories(record: Record, view: DirectoryView) -> tuple[Directory, Directory | None]:
    """The directory that the writer obeyed; beside it, if it had a successor by then, the one that was in force."""
    # --- step 3: signer known and valid
    header, at = record.header, record.header.sealed_at
    directory = view.get(header.directory)
    if directory is None:
        raise RecordError(Step.SIGNER, "directory-unknown", f"directory {header.directory.hex()[:16]}…")
    superseded = view.superseded_at(header.directory)
    if superseded is None or at < superseded:
        return directory, None
    if at > superseded + SUPERSEDED_US:
        raise RecordError(Step.SIGNER, "directory-superseded", "sealed a day or more after the directory's successor")
    return directory, view.in_force(at)


def _find_signer(record: Record, directory: Directory) -> SignerKey:
    # --- step 3: signer known and valid
    header, at = record.header, record.header.sealed_at
    endpoint = directory.endpoints.get(header.endpoint)
    if endpoint is None:
        raise RecordError(Step.SIGNER, "endpoint-unknown", header.endpoint)
    signer = endpoint.signer(header.signer_key_id)
    if signer is None:
        raise RecordError(
            Step.SIGNER, "signer-unknown", f"no key {header.signer_key_id.hex()[:16]}… of {endpoint.name}"
        )
    if at < signer.not_before:
        raise RecordError(Step.SIGNER, "signer-not-yet-valid", f"sealed before the key of {endpoint.name} is valid")
    if at >= signer.not_after:
        raise RecordError(Step.SIGNER, "signer-expired", f"sealed after the key of {endpoint.name} expired")
    return signer


@lru_cache(maxsize=4096)
def _verify_key(mldsa87: bytes, p384: bytes) -> suite.VerifyKey:
    """Parsed keys are kept: parsing costs a fifth of a verification."""
    return suite.VerifyKey(mldsa87, p384)


def _verify_signatures(record: Record, signer: SignerKey) -> None:
    # --- step 4: both signatures
    key = _verify_key(signer.mldsa, signer.p384)
    try:
        key.verify_mldsa(record.signed, record.mldsa87)
    except suite.SealError:
        raise RecordError(
            Step.SIGNATURES, "mldsa-signature-invalid", f"not signed by {record.header.endpoint}"
        ) from None
    try:
        key.verify_p384(record.signed, record.p384)
    except suite.SealError:
        raise RecordError(
            Step.SIGNATURES, "p384-signature-invalid", f"not signed by {record.header.endpoint}"
        ) from None


def _check_canonical(record: Record) -> None:
    # --- step 5: header canonical
    if record.header.encode() != record.header_bytes:
        raise RecordError(Step.CANONICAL, "header-not-canonical", "encoding the header anew gives other bytes")


def _check_authority(record: Record, directory: Directory, successor: Directory | None) -> Label | None:
    # --- step 6: authority
    endpoint = directory.endpoints[record.header.endpoint]
    match record.header:
        case FrameHeader() as header:
            label = _check_publication(header, directory, endpoint)
            return label if successor is None else _check_publication(header, successor, endpoint)
        case CheckpointHeader() as header:
            programme, _, lane = header.channel.removeprefix(f"{endpoint.agency}.").partition(".")
            if programme not in endpoint.publishes or lane not in LANES:
                raise RecordError(Step.AUTHORITY, "channel-not-own", f"{endpoint.name} has no channel {header.channel}")
        case GrantHeader() as header:
            _check_recipients(header, directory)
    return None


def _check_withdrawn(record: Record, view: DirectoryView, arrived_at: int) -> None:
    """A withdrawal, once known, counts from its own moment on, whatever older directory a record names.

    And for what came later, whatever time it says that it was sealed at: who holds a stolen key writes any time.
    """
    # --- step 6: authority
    header, today = record.header, view.in_force(policy.FOREVER)
    endpoint = None if today is None else today.endpoints.get(header.endpoint)
    if endpoint is None or endpoint.withdrawn_at is None:
        return
    if header.sealed_at >= endpoint.withdrawn_at:
        raise RecordError(Step.AUTHORITY, "endpoint-withdrawn", f"{endpoint.country} withdrew {endpoint.name}")
    if arrived_at >= endpoint.withdrawn_at + limits.CLOCK_SKEW_US:
        what = f"{endpoint.country} withdrew {endpoint.name} before this came, though it says that it is older"
        raise RecordError(Step.AUTHORITY, "endpoint-withdrawn", what)


def _check_publication(header: FrameHeader, directory: Directory, endpoint: Endpoint) -> Label:
    if header.channel != f"{endpoint.agency}.{header.programme}.{header.lane}":
        raise RecordError(Step.AUTHORITY, "channel-not-own", f"{endpoint.name} may not write {header.channel}")
    try:
        label = Label.parse(header.label)
        policy.may_publish(directory, endpoint.name, header.type, label, header.programme, header.sealed_at)
    except (LabelError, PolicyError) as error:
        raise RecordError(Step.AUTHORITY, error.code, error.what) from None
    return label


def _check_recipients(header: GrantHeader, directory: Directory) -> None:
    for line in header.recipients:
        recipient = directory.endpoints.get(line.endpoint)
        if recipient is None or recipient.agency != header.agency:
            raise RecordError(Step.AUTHORITY, "recipient-invalid", f"{line.endpoint} is no endpoint of {header.agency}")
        key = recipient.kem(line.kem_key_id)
        if key is None or not key.valid(header.epoch_start):
            what = f"a key that is not of {line.endpoint}, or not valid when the epoch begins"
            raise RecordError(Step.AUTHORITY, "recipient-invalid", what)


def attest(raw: bytes, place: Place, directory: Directory, *, now: int) -> str:
    """Who signed a record that passed step 2 and names a directory that is not known; empty if that can't be told.

    The id of a key is a digest of it, so what it signed is its endpoint's, whatever directory the record names. This
    accepts nothing: it decides who answers for the waiting and for the place in quarantine.

    Args:
        raw: the value of a Kafka record.
        place: where it was found.
        directory: today's.
        now: µs since the epoch, by the reader's clock.
    """
    try:
        record = envelope.split(raw, place.kinds)
        endpoint = directory.endpoints.get(record.header.endpoint)
        signer = None if endpoint is None or endpoint.withdrawn(now) else endpoint.signer(record.header.signer_key_id)
        if signer is None or not signer.valid(now):
            return ""
        _verify_signatures(record, signer)
    except RecordError:
        return ""
    return record.header.endpoint


def entitle(authentic: Authentic) -> policy.Audience:
    """Step 8: the audience of a frame, from its header alone. A reader that is not in it stops there.

    Its digest is that of the directory that the writer obeyed; of its endpoints, those that may still read.

    Raises:
        RecordError: step 8, `audience-empty`.
    """
    # --- step 8: entitlement
    header, label = authentic.record.header, authentic.label
    if not isinstance(header, FrameHeader) or label is None:
        raise TypeError("not a frame")
    asked = (header.endpoint, header.type, label, header.programme, header.sealed_at)
    try:
        audience = policy.audience(authentic.directory, *asked)
        if authentic.successor is None:
            return audience
        left = set(policy.audience(authentic.successor, *asked).endpoints)
    except PolicyError as error:
        raise RecordError(Step.ENTITLEMENT, error.code, error.what) from None
    return msgspec.structs.replace(audience, endpoints=tuple(name for name in audience.endpoints if name in left))


def unseal(authentic: Authentic, audience: policy.Audience, key: AudienceKey | None, codec: Codec) -> list[bytes]:
    """Steps 9 to 12: the encoded events of a frame.

    Args:
        authentic: the frame, its lineage accepted.
        audience: what step 8 gave.
        key: the key that was granted under the header's audience_key_id, None if none was yet.
        codec: the known event types; it says which are never compressed.

    Raises:
        RecordError: with the step. `grant-missing` is to be tried again later.
    """
    record, header = authentic.record, authentic.record.header
    if not isinstance(header, FrameHeader):
        raise TypeError("not a frame")
    secret_key = _check_key(header, audience, key)
    # --- step 10: decrypt
    try:
        plaintext = suite.open_body(secret_key, record.header_bytes, record.body)
    except suite.SealError:
        raise RecordError(Step.DECRYPT, "decrypt-failed", "the body does not open with the granted key") from None
    frame_secret, events = frame.unpack(plaintext, header.count, compress=_may_compress(header, codec))
    # --- step 12: commitment
    if commitment.commit(frame_secret, events) != header.commitment:
        raise RecordError(Step.COMMITMENT, "commitment-mismatch", "the events are not the ones that were signed")
    return events


def _may_compress(header: FrameHeader, codec: Codec) -> bool:
    """What the schema says. Of an unknown one it does not matter: step 13 refuses it."""
    try:
        return codec.schema_of(header.schema_id).compress
    except SchemaError:
        return True


def decode(header: FrameHeader, event: bytes, codec: Codec) -> Event:
    """Step 13: one event of a frame, which says of itself what the signed header says of all.

    Raises:
        RecordError: step 13, `schema-unknown`, `event-undecodable` or `event-header-mismatch`.
    """
    # --- step 13: decode
    try:
        decoded = codec.decode(header.schema_id, event)
    except (SchemaError, EventError) as error:
        raise RecordError(Step.DECODE, error.code, error.what, where=error.where) from None
    signed = (header.type, header.endpoint, header.label, header.programme, header.precedence)
    said = (decoded.type_name, decoded.originator, decoded.label, decoded.programme, decoded.precedence.value)
    if said != signed:
        raise RecordError(Step.DECODE, "event-header-mismatch", "the event contradicts the frame's header")
    return decoded


def _check_key(header: FrameHeader, audience: policy.Audience, key: AudienceKey | None) -> bytes:
    # --- step 9: audience key and its id
    if key is None:
        name = header.audience_key_id.hex()[:16]
        raise RecordError(Step.AUDIENCE_KEY, "grant-missing", f"no grant of key {name}… by {header.endpoint} yet")
    if key.endpoint != header.endpoint:
        raise RecordError(Step.AUDIENCE_KEY, "grant-foreign", f"the key was granted by {key.endpoint}")
    if key.audience != audience.digest:
        raise RecordError(Step.AUDIENCE_KEY, "grant-audience-mismatch", "granted to other readers than the rules give")
    if not key.epoch_start <= header.sealed_at < key.epoch_end:
        raise RecordError(Step.AUDIENCE_KEY, "grant-expired", "sealed outside of the key's epoch")
    if ids.audience_key_id(key.key) != header.audience_key_id:
        raise RecordError(Step.AUDIENCE_KEY, "audience-key-mismatch", "the granted key is not the one the header names")
    return key.key
