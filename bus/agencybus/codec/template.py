"""An event to start from: `agencybus event new`."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from agencybus.codec import shape
from agencybus.codec.gate import Examined
from agencybus.codec.shape import Array, Enum, Field, Record


def template(schema: Examined, *, full: bool = False) -> dict[str, Any]:
    """A valid event as JSON values, made of the schema's examples and defaults.

    Args:
        schema: the event type.
        full: show the inside of optional parts and an item of each list, to be cut down by hand.
    """
    return _record(schema.record, schema, full=full)


def _record(record: Record, schema: Examined, *, full: bool) -> dict[str, Any]:
    return {member.name: _value(member, schema, full=full) for member in record.fields}


def _value(member: Field, schema: Examined, *, full: bool) -> Any:
    inner = member.type[1] if isinstance(member.type, tuple) else member.type
    inner = schema.named.get(inner, inner) if isinstance(inner, str) else inner
    item = inner.items if isinstance(inner, Array) else ""
    item = schema.named.get(item, item) if isinstance(item, str) else item
    if full and isinstance(item, Record):
        return [_record(item, schema, full=full)]
    if isinstance(inner, Record) and (full or member.default is UNSET):
        return _record(inner, schema, full=full)
    return _plain(member, inner, full=full)


def _plain(member: Field, kind: shape.Kind, *, full: bool) -> Any:
    if member.example is not UNSET and (full or member.default is UNSET):
        return member.example
    if member.default is not UNSET:
        return member.default
    return kind.symbols[0] if isinstance(kind, Enum) else None
