"""What a subscriber hands out: one event with where it comes from, and the three answers a tool can give."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from agencybus.wire.headers import FrameHeader
from agencybus_schemas.events import Event


class Position(NamedTuple):
    """Where an event lies: grows within a partition, the same at each delivery."""

    topic: str
    partition: int
    offset: int
    number: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one frame that are on their way.

    Attributes:
        left: indices that nobody answered for yet.
        size: how many there were.
        refused: index to reason, of those that the tool refused.
        done: set when all are answered.
    """

    left: set[int]
    size: int
    refused: dict[int, str] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, index: int, refused: str | None = None) -> None:
        """Take a tool's answer for one event."""
        if index in self.left:
            self.left.discard(index)
            if refused is not None:
                self.refused[index] = refused
        if not self.left:
            self.done.set()


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One verified, cleared, decrypted event.

    Attributes:
        event: the event.
        encoded: its signed bytes (Avro), for evidence and byte sinks.
        header: the frame's verified header: who sealed it, when, under which directory.
        position: where it lies.
        redelivered: a run of this reader before may have handed it out already.
    """

    event: Event
    encoded: bytes
    header: FrameHeader
    position: Position
    redelivered: bool
    _batch: Batch
    _again: Callable[[list[Delivery]], None]

    async def done(self) -> None:
        """The tool has it. The state moves on when all events of the frame are done or refused."""
        self._batch.answer(self.position.number)

    async def refuse(self, why: str) -> None:
        """The tool will never take it: its frame is kept in quarantine, with the reason; the rest goes on."""
        self._batch.answer(self.position.number, why)

    async def retry(self, after: float = 5.0) -> None:
        """The tool can't take it now: it is handed out again.

        Args:
            after: seconds.
        """
        asyncio.get_running_loop().call_later(after, self._again, [self])
