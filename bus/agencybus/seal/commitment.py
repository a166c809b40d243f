"""The commitment of a frame to its events: one event can be shown to a court without opening another.

docs/spec/records-v1.md, section 4. Flat: 0.9 µs an event; evidence carries the leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from agencybus.seal import suite

SALT_BYTES = 32


def salts(frame_secret: bytes, count: int) -> bytes:
    """`count` salts of 32 bytes, joined."""
    return suite.keystream(frame_secret, SALT_BYTES * count)


def leaf(salt: bytes, event: bytes) -> bytes:
    """SHA-384(0x00 ‖ salt ‖ event), 48 bytes."""
    return hashlib.sha384(b"\x00" + salt + event).digest()


def commit(frame_secret: bytes, events: Sequence[bytes]) -> bytes:
    """SHA-384(0x01 ‖ count u32be ‖ leaves), 48 bytes."""
    salt, size = salts(frame_secret, len(events)), SALT_BYTES
    digest = hashlib.sha384(b"\x01" + len(events).to_bytes(4, "big"))
    digest.update(b"".join([leaf(salt[i * size : i * size + size], event) for i, event in enumerate(events)]))
    return digest.digest()
