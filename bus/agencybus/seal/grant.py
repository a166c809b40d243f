"""Grants: an audience key of one publishing endpoint, wrapped to the endpoints of one agency.

docs/spec/records-v1.md, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agencybus.errors import RecordError, Step
from agencybus.seal import suite
from agencybus.wire import ids
from agencybus.wire.envelope import WRAP_BYTES, Record
from agencybus.wire.headers import GrantHeader


@dataclass(frozen=True, slots=True)
class AudienceKey:
    """A key that one endpoint seals frames with, for one audience, in one epoch.

    Attributes:
        key: 32 bytes; never shown.
        id: audience_key_id, 48 bytes.
        endpoint: who granted it.
        audience: digest of the whole audience and its keys, 48 bytes.
        epoch_start: µs since the epoch; frames sealed before are refused.
        epoch_end: µs since the epoch; frames sealed at or after it are refused.
    """

    key: bytes = field(repr=False)
    id: bytes
    endpoint: str
    audience: bytes
    epoch_start: int
    epoch_end: int


def wrap_info(header_digest: bytes, kem_key_id: bytes) -> bytes:
    """The HPKE `info` that binds a wrap to its grant and recipient."""
    return b"agencybus/v1/wrap\x00" + header_digest + kem_key_id


def wraps(header_digest: bytes, key: bytes, recipients: Iterable[suite.KemPublicKey]) -> bytes:
    """A grant's body: the wraps in the header's order."""
    return b"".join(kem.wrap(key, wrap_info(header_digest, kem.id)) for kem in recipients)


def open_grant(record: Record, endpoint: str, kems: Sequence[suite.KemPrivateKey]) -> AudienceKey | None:
    """Step 9 for a grant: take one's own key out of a verified one; None if it names no key of this endpoint.

    Raises:
        RecordError: step 9, `grant-unwrap-failed` or `audience-key-mismatch`.
    """
    # --- step 9: audience key
    header = record.header
    if not isinstance(header, GrantHeader):
        raise TypeError("not a grant")
    mine = {kem.public.id: kem for kem in kems}
    for index, line in enumerate(header.recipients):
        if line.endpoint != endpoint or line.kem_key_id not in mine:
            continue
        wrapped = record.body[index * WRAP_BYTES : (index + 1) * WRAP_BYTES]
        info = wrap_info(record.header_digest, line.kem_key_id)
        try:
            key = mine[line.kem_key_id].unwrap(wrapped, info)
        except suite.SealError:
            raise _refuse("grant-unwrap-failed", f"the wrap for {endpoint} does not open") from None
        if ids.audience_key_id(key) != header.audience_key_id:
            raise _refuse("audience-key-mismatch", "the wrapped key is not the one that the grant names")
        return AudienceKey(
            key=key,
            id=header.audience_key_id,
            endpoint=header.endpoint,
            audience=header.audience,
            epoch_start=header.epoch_start,
            epoch_end=header.epoch_end,
        )
    return None


def _refuse(code: str, what: str) -> RecordError:
    return RecordError(Step.AUDIENCE_KEY, code, what)
