"""Public keys as the directory carries them: raw values, checked so that every one of them loads.

The checks are arithmetic on public values, not cryptography: a country's file with a key that no library accepts
must be refused when it is read, not when a publisher of the other country wraps to it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Final

import msgspec

from agencybus.wire import ids

DAY_US: Final = 24 * 3600 * 1_000_000
KEM_LIFE_US: Final = 35 * DAY_US  # microseconds; bounds what one stolen reader key opens (design, section 1)

MLDSA_BYTES: Final = 2592  # FIPS 204, table 2
MLKEM_BYTES: Final = 1568  # FIPS 203, table 3
P384_BYTES: Final = 97  # SEC 1, section 2.3.3, uncompressed

# SP 800-186, section 3.2.1.4; a = -3
_P384_P: Final = 2**384 - 2**128 - 2**96 + 2**32 - 1
_P384_B: Final = int(
    "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef", 16
)
_UNCOMPRESSED: Final = 4  # SEC 1, section 2.3.3: the first byte of an uncompressed point
_MLKEM_Q: Final = 3329  # FIPS 203, section 2.3

Micros = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Microseconds since the Unix epoch, UTC."""


def _check_p384(point: bytes) -> None:
    """SP 800-56A rev. 3, section 5.6.2.3.4 (the curve has cofactor 1, so no more is needed)."""
    x, y = int.from_bytes(point[1:49], "big"), int.from_bytes(point[49:], "big")
    if point[0] != _UNCOMPRESSED or x >= _P384_P or y >= _P384_P or (y * y - x * x * x + 3 * x - _P384_B) % _P384_P:
        raise ValueError("p384 is not an uncompressed point of the curve P-384")


def _check_mlkem(key: bytes) -> None:
    """FIPS 203, section 7.2, the modulus check: every 12-bit coefficient is below q."""
    packed = int.from_bytes(key[:1536], "little")
    if any((packed >> shift) & 0xFFF >= _MLKEM_Q for shift in range(0, 1536 * 8, 12)):
        raise ValueError("mlkem is not an encapsulation key")


class _Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A pair of public keys with its time.

    Attributes:
        p384: uncompressed point, 97 bytes.
        not_before: first moment of validity, microseconds.
        not_after: first moment after validity, microseconds.
    """

    p384: Annotated[bytes, msgspec.Meta(min_length=P384_BYTES, max_length=P384_BYTES)]
    not_before: Micros
    not_after: Micros

    def __post_init__(self) -> None:
        if self.not_before >= self.not_after:
            raise ValueError("not_before must be below not_after")
        _check_p384(self.p384)

    def valid(self, at: int) -> bool:
        """Whether it counts at this moment (microseconds)."""
        return self.not_before <= at < self.not_after


class SignerKey(_Key, frozen=True, kw_only=True):
    """What an endpoint's signatures are verified with: ML-DSA-87 and ECDSA P-384, always both."""

    mldsa: Annotated[bytes, msgspec.Meta(min_length=MLDSA_BYTES, max_length=MLDSA_BYTES)]

    @cached_property
    def id(self) -> bytes:
        """The signer_key_id, 48 bytes."""
        return ids.signer_key_id(self.mldsa, self.p384)

    def __repr__(self) -> str:
        return f"<SignerKey {self.id.hex()[:16]}>"


class KemKey(_Key, frozen=True, kw_only=True):
    """What audience keys are wrapped to for an endpoint: ML-KEM-1024 with P-384, at most 35 days."""

    mlkem: Annotated[bytes, msgspec.Meta(min_length=MLKEM_BYTES, max_length=MLKEM_BYTES)]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_mlkem(self.mlkem)
        if self.not_after - self.not_before > KEM_LIFE_US:
            raise ValueError("a KEM key lives at most 35 days")

    @cached_property
    def id(self) -> bytes:
        """The kem_key_id, 48 bytes."""
        return ids.kem_key_id(self.mlkem, self.p384)

    def __repr__(self) -> str:
        return f"<KemKey {self.id.hex()[:16]}>"
