"""Events into a padded plaintext and back; every way it can be wrong."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest
import zstandard

from agencybus.errors import RecordError, Step
from agencybus.seal.frame import pack, padded_size, unpack
from agencybus.wire import limits

SECRET = bytes(range(32))
EVENTS = [b"first", b"second event", b"x" * 300]


def plain(
    codec: int, data: bytes, *, size: int | None = None, declared: int | None = None, pad: bytes = b"\0"
) -> bytes:
    length = len(data) if declared is None else declared
    return (bytes([codec]) + length.to_bytes(4, "big") + data).ljust(size or padded_size(5 + len(data)), pad)


def body(*events: bytes, sizes: list[int] | None = None) -> bytes:
    lengths = [len(event) for event in events] if sizes is None else sizes
    return SECRET + b"".join(size.to_bytes(4, "big") for size in lengths) + b"".join(events)


def refusal(plaintext: bytes, count: int = 1, *, compress: bool = True) -> str:
    with pytest.raises(RecordError) as refused:
        unpack(plaintext, count, compress=compress)
    assert refused.value.step is Step.UNPACK
    return refused.value.code


@pytest.mark.parametrize("compress", [True, False])
def test_what_was_packed_is_unpacked(compress: bool) -> None:  # noqa: FBT001
    plaintext = pack(SECRET, EVENTS, compress=compress)
    assert unpack(plaintext, 3, compress=compress) == (SECRET, EVENTS)
    assert len(plaintext) % limits.PAD_STEP_BYTES == 0


def test_sizes_are_hidden_in_steps() -> None:
    assert [padded_size(size) for size in (1, 1024, 1025, 32768)] == [1024, 1024, 2048, 32768]
    for size in range(32769, 600_000, 997):
        padded = padded_size(size)
        assert size <= padded <= size * 1.0625
        assert padded_size(padded) == padded
    assert len({padded_size(size) for size in range(32769, 65536)}) <= 32


def test_padding_must_be_exact_and_zero() -> None:
    data = body(b"event")
    assert refusal(plain(0, data, size=2048)) == "padding-invalid"
    assert refusal(plain(0, data, pad=b"\1")) == "padding-invalid"
    assert refusal(plain(0, data, declared=5000)) == "padding-invalid"


def test_an_unknown_codec_is_refused() -> None:
    assert refusal(plain(2, body(b"event"))) == "codec-unknown"


def test_a_type_that_is_never_compressed_refuses_compression() -> None:
    assert refusal(pack(SECRET, [b"event"], compress=True), compress=False) == "compression-refused"


def test_zstd_must_be_one_whole_frame_with_its_size() -> None:
    packed = zstandard.ZstdCompressor().compress(body(b"event"))
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(body(b"event"))
    assert refusal(plain(1, packed + b"\0")) == "compression-invalid"
    assert refusal(plain(1, packed + packed)) == "compression-invalid"
    assert refusal(plain(1, packed[:-1])) == "compression-invalid"
    assert refusal(plain(1, b"not zstd")) == "compression-invalid"
    assert refusal(plain(1, unsized)) == "unpacked-too-large"
    dictionary = zstandard.train_dictionary(1024, [os.urandom(64) + b"event" * 20 for _ in range(200)])
    with_dictionary = zstandard.ZstdCompressor(dict_data=dictionary).compress(body(b"event"))
    assert refusal(plain(1, with_dictionary)) == "compression-invalid"


def test_a_zstd_bomb_is_refused_before_memory_is_spent() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(64 * limits.MIB))
    assert len(bomb) < 10_000
    # In a process that could not allocate it: the refusal must come from the declared size.
    script = """
import sys
from agencybus.errors import RecordError
from agencybus.seal.frame import unpack
try:
    unpack(sys.stdin.buffer.read(), 1, compress=True)
except RecordError as error:
    print(error.code)
"""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (256 * limits.MIB, 256 * limits.MIB))

    done = subprocess.run(
        [sys.executable, "-c", script], input=plain(1, bomb), capture_output=True, check=False, preexec_fn=limit
    )
    assert done.stdout.strip() == b"unpacked-too-large", done.stderr[-500:]


def test_a_window_larger_than_allowed_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    wide = zstandard.ZstdCompressor(compression_params=parameters).compress(os.urandom(9 * limits.MIB))
    assert len(wide) < limits.UNPACKED_BYTES
    assert refusal(plain(1, wide)) == "unpacked-too-large"


def test_lengths_must_add_up() -> None:
    assert refusal(plain(0, body(b"event", sizes=[4]))) == "count-invalid"
    assert refusal(plain(0, body(b"event", sizes=[6]))) == "count-invalid"
    assert refusal(plain(0, body(b"event", b"")), 2) == "count-invalid"  # an empty event
    assert refusal(plain(0, body(b"event")), 2) == "count-invalid"
    assert refusal(plain(0, SECRET[:20])) == "count-invalid"
    assert refusal(plain(0, body(b"", sizes=[2**32 - 1]))) == "count-invalid"


def test_an_event_over_its_limit_is_refused() -> None:
    assert refusal(plain(0, body(b"x" * (limits.EVENT_BYTES + 1)))) == "count-invalid"
