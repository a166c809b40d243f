"""The events inside the test vectors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import agencybus_schemas
from agencybus.codec import Codec
from agencybus_schemas.events import TYPES
from vectors import world
from vectors.world import FBI

CODEC = Codec(agencybus_schemas.load())
ALERT_ID = CODEC.schema("alert").id
HOLD_ID = CODEC.schema("cargo_hold").id
_AT = datetime.fromtimestamp(world.NOW // 1_000_000 - 120, UTC)


def _event(type_name: str, number: int, **changes: Any) -> bytes:
    """The schema's own example, as event `number`; unchecked, so that it can be wrong."""
    at, unique = world.NOW // 1000 - 120_000 + number, world.seed(f"event {type_name} {number}", 10)
    event_id = bytearray(at.to_bytes(6, "big") + unique)
    event_id[6] = event_id[6] & 0x0F | 0x70
    event_id[8] = event_id[8] & 0x3F | 0x80
    fields = CODEC.template(type_name) | {
        "event_id": str(UUID(bytes=bytes(event_id))),
        "reported_at": _AT.isoformat(),
        "occurred_at": _AT.isoformat(),
        "reference": f"VECTOR-{number}",
        "label": "UNCLASSIFIED//REL TO USA, MEX",
        "precedence": "ROUTINE",
    }
    fields["handling"]["retain_until"] = (_AT + timedelta(days=365)).isoformat()
    return CODEC.encode(_typed(type_name, fields | changes))


def _typed(type_name: str, fields: dict[str, Any]) -> Any:
    import msgspec  # noqa: PLC0415

    return msgspec.convert(fields, TYPES[type_name])


def alert(number: int, **changes: Any) -> bytes:
    return _event("alert", number, **{"originator": FBI, "programme": "fugitives", **changes})


ALERT = alert(1)
HOLD = _event("cargo_hold", 1, originator=FBI, programme="holds")
