"""The envelope: sizes, and that no byte of a record can be changed unnoticed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from agencybus.errors import RecordError, Step
from agencybus.wire import envelope, limits
from agencybus.wire.envelope import CHANNEL_KINDS, GRANT_KINDS, HEADER_AT, split
from vectors.reader import FOLDER, MemoryReader, Vector

FRAME = Vector.load(FOLDER / "frame.txt")
GRANT = Vector.load(FOLDER / "grant.txt")


@pytest.mark.parametrize(("vector", "kinds"), [(FRAME, CHANNEL_KINDS), (GRANT, GRANT_KINDS)])
def test_a_record_is_the_sum_of_its_parts(vector: Vector, kinds: frozenset[int]) -> None:
    record = split(vector.record, kinds)
    assert record.encode() == vector.record
    assert record.header.encode() == record.header_bytes
    assert len(record.digest) == 48


def test_a_record_over_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(RecordError) as refused:
        split(FRAME.record.ljust(limits.RECORD_BYTES + 1, b"\0"), CHANNEL_KINDS)
    assert (refused.value.step, refused.value.code) == (Step.LAYOUT, "record-too-large")


def test_the_largest_record_is_within_the_limit() -> None:
    assert HEADER_AT + limits.HEADER_BYTES + 4627 + 96 + limits.FRAME_BODY_BYTES + 16 <= limits.RECORD_BYTES
    grant = HEADER_AT + limits.GRANT_HEADER_BYTES + 4627 + 96 + limits.RECIPIENTS * envelope.WRAP_BYTES
    assert grant <= limits.RECORD_BYTES


def _refused(vector: Vector, raw: bytes) -> tuple[int, str]:
    expect, step, code = MemoryReader().take(replace(vector, record=raw))
    assert expect == "refused", "a changed record was taken"
    return step, code


@pytest.mark.parametrize("vector", [FRAME, GRANT], ids=["frame", "grant"])
def test_no_bit_can_be_flipped_unnoticed(vector: Vector) -> None:
    """Every byte of envelope and header, and a sample of signatures and body, one random bit each."""
    chance = random.Random(1)
    size = HEADER_AT + int.from_bytes(vector.record[5:HEADER_AT], "big")
    places = [*range(size), *chance.sample(range(size, len(vector.record)), 250)]
    for at in places:
        raw = bytearray(vector.record)
        raw[at] ^= 1 << chance.randrange(8)
        step, code = _refused(vector, bytes(raw))
        assert step <= Step.SIGNATURES, f"byte {at}: {code}"


@pytest.mark.parametrize("vector", [FRAME, GRANT], ids=["frame", "grant"])
def test_no_byte_can_be_cut_or_added(vector: Vector) -> None:
    chance = random.Random(2)
    for at in [*range(12), *chance.sample(range(len(vector.record)), 100)]:
        assert _refused(vector, vector.record[:at])[0] <= Step.SIGNATURES
    for more in (b"\0", b"\1", b"\0" * 1024):
        assert _refused(vector, vector.record + more)[0] <= Step.SIGNATURES


def test_garbage_is_refused_with_a_documented_error() -> None:
    chance = random.Random(3)
    for size in [0, 1, 3, 4, 5, 8, 9, 10, 100, 5000, 20000]:
        for prefix in (b"", b"AGB1\1", b"AGB1\1\0\0\1\0", b"AGB1\3\0\0\0\0", b"AGB1\2\0\0\0\x40"):
            step, _ = _refused(FRAME, prefix + chance.randbytes(size))
            assert step == Step.LAYOUT
