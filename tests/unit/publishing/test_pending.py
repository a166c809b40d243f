"""What waits for a frame is bounded, shares its frame, and knows a repetition from a reference used twice."""

from __future__ import annotations

import asyncio

import pytest

from agencybus.errors import EventError
from agencybus.publishing.pending import GATHER_BYTES, Gathering, Room
from agencybus.seal.sealer import Content
from agencybus.state.writer import Reference
from agencybus.wire import limits

CONTENT = Content(type="alert", schema_id=b"s" * 48, label="SECRET", programme="p", precedence="ROUTINE", compress=True)


def reference(number: int, content: bytes = b"c" * 16) -> Reference:
    return Reference(number.to_bytes(16, "big"), b"e" * 16, content)


async def test_who_finds_the_room_full_waits_until_something_is_given_back() -> None:
    room = Room(100)
    await room.take(60)
    waiting = asyncio.create_task(room.take(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert not room.fits(41)
    room.give(60)
    await asyncio.wait_for(waiting, 1)
    assert not room.fits(41)
    assert room.fits(40)


async def test_one_oversized_taker_gets_in_alone() -> None:
    room = Room(100)
    await asyncio.wait_for(room.take(500), 1)
    assert not room.fits(1)
    room.give(500)
    assert room.fits(1)


async def test_a_gathering_ends_where_a_frame_ends() -> None:
    gathering = Gathering(CONTENT)
    assert gathering.takes(CONTENT, GATHER_BYTES)
    gathering.add(b"x" * (GATHER_BYTES - 10), reference(0))
    assert gathering.takes(CONTENT, 10)
    assert not gathering.takes(CONTENT, 11)
    many = Gathering(CONTENT)
    for number in range(limits.FRAME_EVENTS):
        many.add(b"x", reference(number))
    assert not many.takes(CONTENT, 1)


async def test_a_reference_twice_in_a_frame_is_one_event_or_refused() -> None:
    gathering = Gathering(CONTENT)
    assert gathering.add(b"first", reference(1)) == 0
    assert gathering.add(b"first", reference(1)) == 0
    assert gathering.events == [b"first"]
    assert gathering.size == 10  # what was taken of the room is given back whole
    with pytest.raises(EventError) as refused:
        gathering.add(b"other", reference(1, b"d" * 16))
    assert refused.value.code == "reference-reused"
    assert gathering.size == 10
