"""Events that wait for their frame, and the memory that they may take."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from agencybus.errors import EventError
from agencybus.seal.sealer import Content
from agencybus.state.writer import Reference
from agencybus.wire import limits

GATHER_BYTES = limits.FRAME_BODY_BYTES - 32 * limits.KIB  # of encoded events in a frame: they fit uncompressed


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a frame lies.

    Attributes:
        channel: its topic.
        partition: its partition.
        offset: its offset there.
        sequence: its number in the lineage.
    """

    channel: str
    partition: int
    offset: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of the events of a gathering.

    Attributes:
        placed: where their frame lies; None if every event had been published before.
        known: by index, events that had been published before under their reference.
    """

    placed: Placed | None
    known: dict[int, Reference]


@dataclass(eq=False)
class Gathering:
    """Events of one content that will share a frame.

    Attributes:
        content: what they share.
        events: encoded.
        references: of each event.
        size: bytes of all.
        done: one awaitable for all who wait.
    """

    content: Content
    events: list[bytes] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    size: int = 0
    done: asyncio.Future[Fate] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _index: dict[bytes, int] = field(default_factory=dict)

    def takes(self, content: Content, size: int) -> bool:
        """Whether an event of this content and size still fits."""
        full = len(self.events) >= limits.FRAME_EVENTS or self.size + size > GATHER_BYTES
        return content is self.content and not full

    def add(self, encoded: bytes, reference: Reference) -> int:
        """Take an event and return its index. The same reference twice is one event.

        Raises:
            EventError: `reference-reused`: the reference stands for other content here already.
        """
        index = self._index.setdefault(reference.key, len(self.events))
        if index < len(self.events):
            check_repeat(self.references[index], reference)
        else:
            self.events.append(encoded)
            self.references.append(reference)
        self.size += len(encoded)  # a repetition too: its bytes are given back with the others'
        return index


def check_repeat(known: Reference, now: Reference) -> None:
    """Tell a repetition from a reference that is used for something else.

    Raises:
        EventError: `reference-reused`.
    """
    if known.content != now.content:
        raise EventError("reference-reused", "other content was published under this reference", field="reference")


class Room:
    """Bounds the bytes that wait. Whoever finds it full waits."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._freed = asyncio.Event()

    def fits(self, size: int) -> bool:
        """Take `size` bytes if they are free; one oversized taker gets in alone."""
        if self._used and self._used + size > self._size:
            return False
        self._used += size
        return True

    async def take(self, size: int) -> None:
        """Wait until `size` bytes are free, and take them."""
        while not self.fits(size):
            self._freed.clear()
            await self._freed.wait()

    def give(self, size: int) -> None:
        """Give `size` bytes back."""
        self._used -= size
        self._freed.set()
