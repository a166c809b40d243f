"""The strict form of Avro against fastavro as the oracle, and against bytes that nobody meant."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any

import fastavro
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import agencybus_schemas
from agencybus.codec import Codec, examine
from agencybus.codec.binary import MalformedError, compile_reader, compile_writer, read_whole, write_number
from agencybus.codec.gate import Examined
from agencybus.codec.shape import Array, Blob, Double, Enum, Fixed, Int, Kind, Long, Record, Text, bounds
from agencybus.errors import BusError
from agencybus_schemas.events import TYPES
from sample_events import all_events, schema

CODEC = Codec(agencybus_schemas.load())
ENCODED = {event.type_name: CODEC.encode(event) for event in all_events()}
TEXT = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), include_characters="\n\t", exclude_characters=[
        *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)),
    ])
)  # fmt: skip


@st.composite
def schemas(draw: st.DrawFn) -> Examined:
    """Any schema of the language, a few types deep."""
    numbers = count()

    def named(kind: dict[str, Any]) -> dict[str, Any]:
        return kind | {"name": f"T{next(numbers)}", "doc": "A type."}

    def one(depth: int) -> Any:
        makers: list[Any] = [
            lambda: draw(st.sampled_from(["boolean", "int", "long"])),
            lambda: {"type": draw(st.sampled_from(["string", "bytes"])), "maxLength": 300},
            lambda: {"type": "double", "minimum": -1e300, "maximum": 1e300},
            lambda: {"type": "int", "logicalType": "date"},
            lambda: {"type": "long", "logicalType": "timestamp-micros"},
            lambda: named({"type": "fixed", "size": draw(st.sampled_from([1, 16, 48]))}),
            lambda: named({"type": "enum", "symbols": [f"S{i}" for i in range(draw(st.integers(1, 64)))]}),
        ]
        if depth < 4:
            makers += [
                lambda: {"type": "array", "items": kind(depth + 1), "maxItems": 100},
                lambda: named({"type": "record", "fields": fields(depth + 1)}),
            ]
        return draw(st.sampled_from(makers))()

    def kind(depth: int) -> Any:
        return ["null", one(depth)] if draw(st.booleans()) else one(depth)

    def fields(depth: int) -> list[Any]:
        return [{"name": f"f{i}", "type": kind(depth), "doc": "A field."} for i in range(draw(st.integers(1, 4)))]

    return examine(schema(*fields(0)))


def values(kind: Kind, examined: Examined) -> st.SearchStrategy[Any]:  # noqa: C901, PLR0911 - a case for each kind
    """Any value of a type."""
    match kind:
        case "boolean":
            return st.booleans()
        case str():
            bare: dict[str, Kind] = {"int": Int(), "long": Long()}
            return values(bare[kind] if kind in bare else examined.named[kind], examined)
        case tuple():
            return st.none() | values(kind[1], examined)
        case Text():
            return TEXT
        case Blob():
            return st.binary(max_size=kind.max_length)
        case Int(logical_type="date"):
            return st.dates()
        case Long(logical_type="timestamp-micros"):
            return st.datetimes(timezones=st.just(UTC))
        case Int() | Long():
            return st.integers(*bounds(kind))
        case Double():
            return st.floats(kind.minimum, kind.maximum)
        case Fixed():
            return st.binary(min_size=kind.size, max_size=kind.size)
        case Enum():
            return st.sampled_from(kind.symbols)
        case Array():
            return st.lists(values(kind.items, examined), max_size=4)
    assert isinstance(kind, Record)
    return st.fixed_dictionaries({member.name: values(member.type, examined) for member in kind.fields})


def outcome(make: Callable[[], Any]) -> Any:
    """What comes of it, a documented error included; anything else is raised."""
    try:
        return make()
    except BusError as error:
        return error


def written(examined: Examined, value: Any) -> bytes:
    pieces: list[bytes] = []
    compile_writer(examined.record, examined.named)(value, pieces.append)
    return b"".join(pieces)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_any_value_of_any_schema_has_the_bytes_that_fastavro_gives_it(data: st.DataObject) -> None:
    examined = data.draw(schemas())
    value = data.draw(values(examined.record, examined))
    oracle, out = fastavro.parse_schema(examined.plain), io.BytesIO()
    fastavro.schemaless_writer(out, oracle, value)
    assert written(examined, value) == out.getvalue()
    assert read_whole(compile_reader(examined.record, examined.named), out.getvalue()) == value


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_any_bytes_that_are_read_are_the_only_form_of_their_value(data: st.DataObject) -> None:
    examined = data.draw(schemas())
    raw = data.draw(st.binary(max_size=64))
    try:
        value = read_whole(compile_reader(examined.record, examined.named), raw)
    except MalformedError:
        return
    assume(b"\xf8\x7f" not in raw and b"\xf0\x7f" not in raw)  # NaN: no event has one, since doubles have ranges
    assert written(examined, value) == raw


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_number_has_the_bytes_that_fastavro_gives_it(number: int) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    assert write_number(number) == out.getvalue()


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """An event's bytes after a few cuts, insertions and flips."""
    name = draw(st.sampled_from(sorted(ENCODED)))
    raw = bytearray(ENCODED[name])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(raw) - 1, 0)))
        size = draw(st.integers(0, 3))
        raw[at : at + size] = draw(st.binary(max_size=3))
    return name, bytes(raw)


@settings(max_examples=500)
@given(damaged())
def test_a_damaged_event_is_refused_or_is_another_event_in_its_only_form(pair: tuple[str, bytes]) -> None:
    name, raw = pair
    schema_of = CODEC.schema(name)
    event = outcome(lambda: CODEC.decode(schema_of.id, raw))
    if isinstance(event, BusError):
        assert event.code == "event-undecodable"
        return
    read = compile_reader(schema_of.examined.record, schema_of.examined.named)
    assert written(schema_of.examined, read_whole(read, raw)) == raw


def test_every_byte_of_an_event_matters() -> None:
    """No bit can be turned without changing what is read."""
    for name, raw in ENCODED.items():
        schema_id = CODEC.schema(name).id
        original = CODEC.decode(schema_id, raw)
        for at in range(len(raw)):
            for bit in (1, 0x80):
                changed = raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :]
                assert outcome(partial(CODEC.decode, schema_id, changed)) != original, at


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def put_somewhere(data: st.DataObject, tree: Any, replacement: st.SearchStrategy[Any]) -> None:
    """Put another value into some place of some JSON."""
    while True:
        key = data.draw(st.sampled_from(sorted(tree) if isinstance(tree, dict) else range(len(tree))))
        if not (isinstance(tree[key], (dict, list)) and tree[key] and data.draw(st.integers(0, 3))):
            break
        tree = tree[key]
    tree[key] = data.draw(replacement)


@settings(max_examples=200)
@given(st.sampled_from(sorted(TYPES)), st.data())
def test_json_with_any_value_in_any_field_is_an_event_or_an_event_error(name: str, data: st.DataObject) -> None:
    given_ = CODEC.template(name, full=True)
    put_somewhere(data, given_, JSON_VALUES)
    event = outcome(lambda: CODEC.from_json(name, json.dumps(given_).encode()))
    if isinstance(event, BusError):
        assert event.where.startswith("line 1")
        return
    assert CODEC.decode(CODEC.schema(name).id, CODEC.encode(event)) == event


@settings(max_examples=300)
@given(st.data())
def test_a_schema_with_any_value_in_any_place_passes_the_gate_or_is_refused_by_it(data: st.DataObject) -> None:
    tree = json.loads(agencybus_schemas.load()[2].current)
    put_somewhere(data, tree, JSON_VALUES | st.sampled_from(["null", "long", "fugitive_sighting", ["null", "Uuid"]]))
    examined = outcome(lambda: examine(json.dumps(tree).encode()))
    if isinstance(examined, BusError):
        assert examined.code == "schema-refused"
        return
    fastavro.parse_schema(examined.plain)
    compile_reader(examined.record, examined.named)
    compile_writer(examined.record, examined.named)


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_of_any_zone_keeps_its_instant(when: datetime) -> None:
    examined = examine(schema(("at", {"type": "long", "logicalType": "timestamp-micros"})))
    assume(1 < when.year < 9999)
    read = read_whole(compile_reader(examined.record, examined.named), written(examined, {"at": when}))
    assert read["at"] == when.astimezone(UTC)
