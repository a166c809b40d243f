"""Bounds on everything that the wire controls, each with its unit and reason."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

RECORD_BYTES: Final = 640 * KIB  # whole record; below the topics' message.max.bytes of 700 KiB
HEADER_BYTES: Final = 4 * KIB  # bytes of header; a full frame header is below 700 bytes
GRANT_HEADER_BYTES: Final = 64 * KIB  # a grant names up to RECIPIENTS endpoints, 100 bytes each
RECIPIENTS: Final = 256  # endpoints of one agency in one grant; their wraps (1,713 B each) fit a record
FRAME_EVENTS: Final = 4096  # events in a frame; bounds a reader's work between two state commits
FRAME_BODY_BYTES: Final = 512 * KIB  # target of the sealer for a body; leaves room for header and signatures
UNPACKED_BYTES: Final = 16 * MIB  # zstd's declared content size; checked before anything is allocated
ZSTD_WINDOW_BYTES: Final = 8 * MIB  # RFC 8878, section 3.1.1.1.2 asks decoders for at least this much
EVENT_BYTES: Final = 256 * KIB  # one encoded event; half a frame, so a frame can always be made
TEXT_BYTES: Final = 256  # bytes, all printable ASCII, of any header string
CLOCK_SKEW_US: Final = 300 * 1_000_000  # microseconds a sealed_at may lie in the future
PAD_STEP_BYTES: Final = 1 * KIB  # plaintext is padded to steps of this ...
PAD_LINEAR_BYTES: Final = 32 * KIB  # ... up to here, and by Padmé beyond
EPOCH_US: Final = 24 * 3600 * 1_000_000  # microseconds an audience key may be sealed with
