"""Events ⇄ plaintext of a frame: lengths, zstd, padding. Step 11 of the opener.

docs/spec/records-v1.md, section 5. zstd objects are not safe to share between threads (sharing one crashes the
process), so each call makes its own: 10 µs a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import zstandard

from agencybus.errors import RecordError, Step
from agencybus.wire import limits

SECRET_BYTES: Final = 32
_PREFIX: Final = 5  # codec u8 ‖ length u32be
_NONE: Final = 0
_ZSTD: Final = 1
_LEVEL: Final = 3


def padded_size(size: int) -> int:
    """The size that `size` bytes are padded to: steps of 1 KiB up to 32 KiB, Padmé beyond (≤ 6.3 % more).

    Padmé: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PoPETs 2019.
    """
    if size <= limits.PAD_LINEAR_BYTES:
        step = limits.PAD_STEP_BYTES
    else:
        exponent = size.bit_length() - 1
        step = 1 << (exponent - exponent.bit_length())
    return -(-size // step) * step


def pack(frame_secret: bytes, events: Sequence[bytes], *, compress: bool) -> bytes:
    """The padded plaintext of a frame.

    Args:
        frame_secret: 32 fresh bytes.
        events: encoded events, none empty.
        compress: False for types that carry outside text beside secrets.
    """
    lengths = b"".join([len(event).to_bytes(4, "big") for event in events])
    data, codec = b"".join((frame_secret, lengths, *events)), _NONE
    if compress:
        data, codec = zstandard.ZstdCompressor(level=_LEVEL).compress(data), _ZSTD
    size = padded_size(_PREFIX + len(data))
    return (bytes([codec]) + len(data).to_bytes(4, "big") + data).ljust(size, b"\0")


def unpack(plaintext: bytes, count: int, *, compress: bool) -> tuple[bytes, list[bytes]]:
    """Step 11: the frame secret and the events of a decrypted body.

    Args:
        plaintext: what step 10 gave.
        count: the number of events that the header promises.
        compress: whether the type may be compressed.

    Raises:
        RecordError: step 11, with the code of what is wrong.
    """
    # --- step 11: unpack
    size = int.from_bytes(plaintext[1:_PREFIX], "big")
    data, rest = plaintext[_PREFIX : _PREFIX + size], plaintext[_PREFIX + size :]
    if len(data) != size or len(plaintext) != padded_size(_PREFIX + size):
        raise _refuse("padding-invalid", f"{len(plaintext)} bytes of plaintext for {size} bytes of data")
    if rest.strip(b"\0"):
        raise _refuse("padding-invalid", "the padding is not zero")
    codec = plaintext[0]
    if codec not in {_NONE, _ZSTD}:
        raise _refuse("codec-unknown", f"codec {codec}")
    if codec == _ZSTD:
        if not compress:
            raise _refuse("compression-refused", "this event type is never compressed")
        data = _decompress(data)
    return _split(data, count)


def _decompress(data: bytes) -> bytes:
    """Exactly one zstd frame; the decompressor sees to it that there is no dictionary.

    What it declares is checked first: the decompressor's own cap yields to a declared size.
    """
    try:
        declared = zstandard.get_frame_parameters(data)
    except zstandard.ZstdError as error:
        raise _refuse("compression-invalid", "not a zstd frame") from error
    if declared.content_size > limits.UNPACKED_BYTES:  # an absent size is 2^64 - 1
        raise _refuse("unpacked-too-large", f"zstd declares {declared.content_size} bytes or no size")
    if declared.window_size > limits.ZSTD_WINDOW_BYTES:
        raise _refuse("unpacked-too-large", f"zstd asks for a window of {declared.window_size} bytes")
    decompressor = zstandard.ZstdDecompressor(max_window_size=limits.ZSTD_WINDOW_BYTES)
    try:
        unpacked = decompressor.decompress(data, max_output_size=limits.UNPACKED_BYTES, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _refuse("compression-invalid", "the zstd frame is damaged, or bytes follow it") from error
    return unpacked


def _split(data: bytes, count: int) -> tuple[bytes, list[bytes]]:
    first = SECRET_BYTES + 4 * count
    sizes = [int.from_bytes(data[at : at + 4], "big") for at in range(SECRET_BYTES, first, 4)]
    if not all(0 < size <= limits.EVENT_BYTES for size in sizes):
        raise _refuse("count-invalid", f"an event is empty or larger than {limits.EVENT_BYTES} bytes")
    if first + sum(sizes) != len(data):
        raise _refuse("count-invalid", "the lengths of the events do not add up")
    ends = accumulate(sizes, initial=first)
    return data[:SECRET_BYTES], [data[at : at + size] for at, size in zip(ends, sizes, strict=False)]


def _refuse(code: str, what: str) -> RecordError:
    return RecordError(Step.UNPACK, code, what)
