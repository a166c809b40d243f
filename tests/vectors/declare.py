"""A vector in one line: a record, and what a reader must say of it."""

from __future__ import annotations

from typing import Any

from agencybus.wire.envelope import Record
from vectors.events import ALERT, ALERT_ID
from vectors.forge import frame_record
from vectors.reader import Vector


def frame(events: list[bytes] | None = None, **changes: Any) -> Record:
    return frame_record([ALERT] if events is None else events, schema_id=changes.pop("schema_id", ALERT_ID), **changes)


def refused(step: int, code: str, name: str, comment: str, record: Record | bytes, **more: Any) -> Vector:
    raw = record if isinstance(record, bytes) else record.encode()
    return Vector(name, comment, "refused", raw, step=step, code=code, **more)


def taken(expect: str, name: str, comment: str, record: Record, **more: Any) -> Vector:
    return Vector(name, comment, expect, record.encode(), **more)
