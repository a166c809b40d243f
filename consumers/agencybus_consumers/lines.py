"""An event as one line of JSON: what jsonl files, local programs and `consume --json` get.

    {"position":["us.fbi.fugitives.routine",0,17,0],"type":"alert","label":"…","sealed":{…},"redelivered":false,"event":{…}}

Times are ISO 8601 in UTC, ids are text. `position` comes first, in this form, so that a file can be scanned for it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from agencybus.subscribing.delivery import Delivery, Position
from agencybus.wire.headers import FrameHeader
from agencybus_schemas.events import Event

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_ENCODER: Final = msgspec.json.Encoder()


class Sealed(msgspec.Struct, frozen=True):
    """Who vouches for an event, by the verified header of its frame.

    Attributes:
        by: the endpoint that sealed it.
        writer: which of its processes.
        sequence: number of the frame in its lineage.
        at: when it was sealed.
        directory: digest of the directory whose rules it obeyed, hex.
    """

    by: str
    writer: str
    sequence: int
    at: datetime
    directory: str


class Line(msgspec.Struct, frozen=True):
    """One line.

    Attributes:
        position: topic, partition, offset, number in the frame: the same at each delivery.
        type: event type.
        label: how it is marked.
        sealed: who vouches for it.
        redelivered: it may have been given to the tool before.
        event: its fields.
    """

    position: Position
    type: str
    label: str
    sealed: Sealed
    redelivered: bool
    event: Event


def encode(delivery: Delivery, *, redelivered: bool) -> bytes:
    """One line of a delivery, with its line feed."""
    return line_of(delivery.position, delivery.header, delivery.event, redelivered=redelivered)


def line_of(position: Position, header: FrameHeader, event: Event, *, redelivered: bool) -> bytes:
    """One line, with its line feed."""
    sealed = Sealed(
        header.endpoint,
        header.writer,
        header.sequence,
        _EPOCH + timedelta(microseconds=header.sealed_at),
        header.directory.hex(),
    )
    return _ENCODER.encode(Line(position, header.type, header.label, sealed, redelivered, event)) + b"\n"
