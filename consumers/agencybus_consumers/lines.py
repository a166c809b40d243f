"""An event as one line of JSON: what jsonl files, local programs and `consume --json` get.

    {"position":["us.fbi.fugitives.routine",0,17,0],"type":"alert","label":"…","sealed":{…},"redelivered":false,"event":{…}}

Times are ISO 8601 in UTC, ids are text. `position` comes first, in this form, so that a file can be scanned for it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agencybus.subscribing.delivery import Delivery, Position
from agencybus.subscribing.sealed import Sealed
from agencybus_schemas.events import Event

_ENCODER: Final = msgspec.json.Encoder()


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
    """One line, with its line feed."""
    header = delivery.header
    line = Line(delivery.position, header.type, header.label, Sealed.of(header), redelivered, delivery.event)
    return _ENCODER.encode(line) + b"\n"
