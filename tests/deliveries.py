"""Deliveries as a subscriber hands them out, without a subscriber."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from agencybus.codec import uuid7
from agencybus.subscribing.delivery import Batch, Delivery, Position
from agencybus.wire.headers import FrameHeader
from agencybus_schemas.events import Event
from sample_events import AT, alert

TOPIC = "us.fbi.fugitives.routine"


def header(*, sequence: int, label: str, topic: str = TOPIC) -> FrameHeader:
    return FrameHeader(
        realm=bytes(16),
        endpoint="us.fbi/wanted",
        signer_key_id=bytes(48),
        sealed_at=AT,
        directory=bytes(48),
        writer="main",
        channel=topic,
        partition=0,
        sequence=sequence,
        previous=bytes(48),
        previous_sealed_at=AT - 1,
        state="run",
        type="alert",
        schema_id=bytes(48),
        label=label,
        programme="fugitives",
        precedence="PRIORITY",
        count=1,
        audience_key_id=bytes(48),
        commitment=bytes(48),
    )


@dataclass
class Frame:
    """The events of one frame, and what became of them."""

    offset: int
    count: int = 1
    topic: str = TOPIC
    redelivered: bool = False
    batch: Batch = field(init=False)

    def __post_init__(self) -> None:
        self.batch = Batch(set(range(self.count)), self.count)

    def __iter__(self) -> Iterator[Delivery]:
        for number in range(self.count):
            event = self.event(number)
            head = header(sequence=self.offset, label=event.label, topic=self.topic)
            position = Position(self.topic, 0, self.offset, number)
            yield Delivery(event, b"", head, position, self.redelivered, self.batch, lambda _delivery: None)

    def event(self, number: int) -> Event:
        """An event of its own: the same at each delivery."""
        return alert(event_id=self.event_id(number), reference=f"{self.topic}/{self.offset}/{number}")

    def event_id(self, number: int = 0) -> UUID:
        return uuid7(AT, (self.offset * 1000 + number).to_bytes(10, "big"))

    @property
    def answered(self) -> int:
        return self.count - len(self.batch.left)


def frames(*offsets: int, count: int = 1) -> list[Delivery]:
    """The deliveries of single frames, in this order."""
    return [delivery for offset in offsets for delivery in Frame(offset, count)]
