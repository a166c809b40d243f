"""Identities of events: UUIDs of version 7 (RFC 9562, section 5.7), from a time and random bytes that are handed in."""

from __future__ import annotations

from typing import Final
from uuid import UUID

RANDOM_BYTES: Final = 10  # 80 bits, of which 74 are used
VERSION: Final = 7
_MILLISECONDS: Final = 48  # bits of the time part


def uuid7(at: int, random10: bytes) -> UUID:
    """Make the identity of an event.

    Args:
        at: when it is made, microseconds since the Unix epoch, UTC; milliseconds of it are kept.
        random10: 10 fresh random bytes.

    Raises:
        ValueError: the time is before 1970 or after 10889, or the random bytes are not 10.
    """
    milliseconds = at // 1000
    if not 0 <= milliseconds < 1 << _MILLISECONDS or len(random10) != RANDOM_BYTES:
        raise ValueError("a UUID of version 7 takes a time from 1970 to 10889 and 10 random bytes")
    number = milliseconds << 80 | int.from_bytes(random10)
    number = number & ~(0xF << 76) | VERSION << 76
    return UUID(int=number & ~(0b11 << 62) | 0b10 << 62)


def is_uuid7(value: UUID) -> bool:
    """Whether a UUID has the version and variant bits of version 7."""
    return value.int >> 76 & 0xF == VERSION and value.int >> 62 & 0b11 == 0b10  # noqa: PLR2004 - RFC 9562's variant
