"""The registry of schemas, and events to bytes and back."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

import fastavro
import msgspec
from fastavro.read import SchemaResolutionError

from agencybus.codec.binary import MalformedError, Read, Write, compile_reader, compile_writer, read_whole
from agencybus.codec.gate import Examined, examine
from agencybus.codec.json_form import Fault, Origin, fault_of, line_of
from agencybus.codec.rules import check_rules
from agencybus.codec.template import template
from agencybus.codec.uuid7 import uuid7
from agencybus.errors import EventError, SchemaError
from agencybus.wire import ids, limits
from agencybus_schemas import Family
from agencybus_schemas.events import TYPES, Event

JSON_BYTES: Final = 4 * limits.EVENT_BYTES  # bytes of one event as JSON; escapes and names take more than Avro
_NATIVE: Final = (bytes, UUID, datetime, date)  # kept as they are on the way to Avro ...
_READ: Final = (bytes, datetime, date)  # ... and on the way back, where a UUID is 16 bytes
_KEEP_YEARS: Final = 5  # of retention in a template


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of an event type.

    Attributes:
        type_name: the event type.
        version: number of the released version, or 0 if it is not released yet.
        avsc: exact bytes of the schema.
        id: SHA-384 of them, 48 bytes; what a frame's header names.
        current: whether events are written with it.
        compress: whether frames of it may be compressed.
        examined: what the gate let through.
    """

    type_name: str
    version: int
    avsc: bytes
    id: bytes
    current: bool
    compress: bool
    examined: Examined


@dataclass(frozen=True, slots=True)
class _Form:
    """The machinery of one schema."""

    schema: Schema
    event: type[Event]
    read: Read
    write: Write
    adapt: Callable[[bytes], Any] | None  # reads an older version as the current one; None if it is that one


def _adapter(older: Examined, current: Examined) -> Callable[[bytes], Any]:
    """Read an older version as the current one, by Avro's rules of schema resolution.

    This is fastavro's: the bytes were read strictly before, and the evolution check keeps the two alike.
    """
    writer, reader = fastavro.parse_schema(older.plain), fastavro.parse_schema(current.plain)

    def adapt(data: bytes) -> Any:
        try:
            return fastavro.schemaless_reader(io.BytesIO(data), writer, reader)
        except SchemaResolutionError:
            raise MalformedError("the current version has no place for a value of this older one") from None

    return adapt


class Codec:
    """All event types of this installation.

    Args:
        families: their schemas, such as `agencybus_schemas.load()`.
        types: the class of each.

    Raises:
        SchemaError: `schema-refused`, if a schema fails the gate.
    """

    def __init__(self, families: Iterable[Family], types: Mapping[str, type[Event]] = TYPES) -> None:
        self._current: dict[str, _Form] = {}
        self._by_id: dict[bytes, _Form] = {}
        for family in families:
            released = {avsc: number for number, avsc in enumerate(family.released, 1)}
            current = examine(family.current)
            for avsc in {family.current: None, **released}:
                examined = examine(avsc)
                form = _Form(
                    schema=Schema(
                        type_name=examined.record.name,
                        version=released.get(avsc, 0),
                        avsc=avsc,
                        id=ids.schema_id(avsc),
                        current=avsc == family.current,
                        compress=examined.record.compress is not False,
                        examined=examined,
                    ),
                    event=types[family.name],
                    read=compile_reader(examined.record, examined.named),
                    write=compile_writer(examined.record, examined.named),
                    adapt=None if avsc == family.current else _adapter(examined, current),
                )
                self._by_id[form.schema.id] = form
                if form.schema.current:
                    self._current[family.name] = form

    @property
    def types(self) -> tuple[str, ...]:
        """Names of all event types, sorted."""
        return tuple(sorted(self._current))

    def _form(self, type_name: str) -> _Form:
        form = self._current.get(type_name)
        if form is None:
            raise SchemaError("type-unknown", f"known are {', '.join(self.types)}")
        return form

    def schema(self, type_name: str) -> Schema:
        """The schema that events of a type are written with.

        Raises:
            SchemaError: `type-unknown`.
        """
        return self._form(type_name).schema

    def schema_of(self, schema_id: bytes) -> Schema:
        """The schema that a frame names, current or released before.

        Raises:
            SchemaError: `schema-unknown`.
        """
        form = self._by_id.get(schema_id)
        if form is None:
            raise SchemaError("schema-unknown", f"schema {schema_id[:8].hex()}… is not known here")
        return form.schema

    def _plain(self, event: Event) -> tuple[_Form, Any]:
        """Check an event; give it as plain values."""
        form = self._form(getattr(event, "type_name", ""))
        if type(event) is not form.event:
            raise EventError("event-invalid", "no event of this package", rule="structure")
        try:
            plain = msgspec.to_builtins(event, builtin_types=_NATIVE)
            msgspec.convert(plain, form.event, builtin_types=_NATIVE)
        except msgspec.ValidationError as error:
            fault = fault_of(error, form.schema.examined)
            raise EventError(
                "event-invalid", fault.what, field=fault.field, rule="structure", hint=fault.hint
            ) from None
        except (TypeError, RecursionError):  # a value of a class that no event has, so no field of its own to name
            raise EventError("event-invalid", "it holds an object that is no value", rule="structure") from None
        check_rules(event)
        return form, plain

    def check(self, event: Event) -> None:
        """Check an event as `encode()` does, without its size.

        Raises:
            EventError: `event-invalid` or `label-invalid`, with field, rule and hint.
            SchemaError: `type-unknown`.
        """
        form, plain = self._plain(event)
        _written(form, plain)

    def encode(self, event: Event) -> bytes:
        """Check an event and give its bytes.

        Raises:
            EventError: `event-invalid`, `label-invalid` or `event-too-large`, with field, rule and hint.
            SchemaError: `type-unknown`.
        """
        form, plain = self._plain(event)
        data = _written(form, plain)
        if len(data) > limits.EVENT_BYTES:
            raise EventError("event-too-large", f"{len(data)} bytes")
        return data

    def decode(self, schema_id: bytes, data: bytes) -> Event:
        """Read an event, all of it and in its only form; of an older version as of the current one.

        What the schema says is checked, so that a sink can build on it: lengths, ranges, patterns. The rules of
        `check()` are the publisher's and are not.

        Args:
            schema_id: the writer's schema, as the frame names it.
            data: the event.

        Raises:
            SchemaError: `schema-unknown`.
            EventError: `event-undecodable` with the field, or `event-too-large`.
        """
        form = self._by_id.get(schema_id)
        if form is None:
            raise SchemaError("schema-unknown", f"schema {schema_id[:8].hex()}… is not known here")
        if len(data) > limits.EVENT_BYTES:
            raise EventError("event-too-large", f"{len(data)} bytes")
        try:
            plain = read_whole(form.read, data)
            if form.adapt is not None:
                plain = form.adapt(data)
            return msgspec.convert(plain, form.event, builtin_types=_READ)
        except MalformedError as error:
            raise EventError("event-undecodable", error.what, field=".".join(error.path)) from None
        except msgspec.ValidationError as error:
            fault = fault_of(error, form.schema.examined)
            raise EventError("event-undecodable", fault.what, field=fault.field) from None

    def from_json(
        self,
        type_name: str,
        data: bytes,
        *,
        defaults: Mapping[str, Any] | None = None,
        source: str = "",
        line: int = 1,
    ) -> Event:
        """Read an event that a person or an agency system wrote, and check it.

        Args:
            type_name: the event type.
            data: one JSON object in UTF-8, on any number of lines.
            defaults: fields that it may leave out, such as `Profile.defaults()`; in `handling` field by field.
            source: name of the file, for errors.
            line: number of the line in it where the object begins, for errors.

        Raises:
            EventError: `event-invalid`, `label-invalid` or `event-too-large`, with field, rule, hint and line.
            SchemaError: `type-unknown`.
        """
        form = self._form(type_name)
        origin = Origin(data, source, line)
        if len(data) > JSON_BYTES:
            raise origin.error("event-too-large", Fault(f"more than {JSON_BYTES} bytes of JSON", "", None), "size")
        try:
            if defaults is None:
                event = msgspec.json.decode(data, type=form.event)
            else:
                given = msgspec.json.decode(data, type=dict[str, Any])
                event = msgspec.convert(_completed(given, msgspec.to_builtins(defaults)), form.event)
            self.encode(event)
        except msgspec.ValidationError as error:
            fault = fault_of(error, form.schema.examined)
            raise origin.error("event-invalid", fault, "structure", line=line_of(data, fault.field)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise origin.broken(error) from None
        except EventError as error:
            fault = Fault(error.what, error.field, error.hint)
            raise origin.error(error.code, fault, error.rule, line=line_of(data, error.field)) from None
        return event

    def template(
        self, type_name: str, *, at: int | None = None, random10: bytes | None = None, full: bool = False
    ) -> dict[str, Any]:
        """A valid event to start from, as JSON values.

        Args:
            type_name: the event type.
            at: now, microseconds since the Unix epoch; if given, the template's times are made from it.
            random10: 10 random bytes; if given with `at`, the event has an id of its own.
            full: show the inside of optional parts, to be cut down by hand.

        Raises:
            SchemaError: `type-unknown`.
        """
        values = template(self._form(type_name).schema.examined, full=full)
        if at is not None:
            now = datetime.fromtimestamp(at // 1_000_000, tz=UTC)
            kept = now.replace(year=now.year + _KEEP_YEARS, day=min(now.day, 28))
            values |= {"reported_at": now.isoformat(), "occurred_at": now.isoformat()}
            values["handling"] |= {"retain_until": kept.isoformat()}
            if random10 is not None:
                values["event_id"] = str(uuid7(at, random10))
        return values


def _completed(given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """What was given, and of the defaults what was left out, also inside of records that both have."""
    both = {
        name: value | inner
        for name, value in defaults.items()
        if isinstance(value, dict) and isinstance(inner := given.get(name), dict)
    }
    return defaults | given | both


def _written(form: _Form, plain: Any) -> bytes:
    """The bytes of checked values; texts are checked while they are written."""
    pieces: list[bytes] = []
    try:
        form.write(plain, pieces.append)
    except MalformedError as error:
        hint = "Line feeds and tabs are text; other control characters and those that turn text around are not."
        raise EventError("event-invalid", error.what, field=".".join(error.path), rule="text", hint=hint) from None
    return b"".join(pieces)
