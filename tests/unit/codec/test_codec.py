"""Events to bytes and back: ids, versions, sizes, and what is no event."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

import agencybus_schemas
from agencybus.codec import Codec, examine
from agencybus.errors import EventError, SchemaError
from agencybus_schemas.events import Area, Container, Event, FugitiveSighting, Position
from agencybus_schemas.generate import generate
from sample_events import alert, all_events, cargo_hold, fugitive_sighting

CODEC = Codec(agencybus_schemas.load())


def family(name: str) -> agencybus_schemas.Family:
    return next(each for each in agencybus_schemas.load() if each.name == name)


SIGHTING = family("fugitive_sighting")


def changed(name: str, change: Any) -> bytes:
    """A schema of the package with a change made to its JSON."""
    tree = json.loads(family(name).current)
    change({member["name"]: member for member in tree["fields"]}, tree)
    return json.dumps(tree).encode()


@pytest.mark.parametrize("event", all_events(), ids=lambda event: event.type_name)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    data = CODEC.encode(event)
    assert CODEC.decode(CODEC.schema(event.type_name).id, data) == event
    assert 300 <= len(data) <= 600


@pytest.mark.parametrize("event", all_events(), ids=lambda event: event.type_name)
def test_an_event_survives_its_json_form(event: Event) -> None:
    assert CODEC.from_json(event.type_name, msgspec.json.encode(event)) == event


def test_a_schema_is_named_by_the_hash_of_its_exact_bytes() -> None:
    avsc = family("alert").current
    assert CODEC.schema("alert").id == hashlib.sha384(avsc).digest()
    assert CODEC.schema_of(CODEC.schema("alert").id).avsc == avsc


def test_a_time_keeps_its_microseconds_and_forgets_its_offset() -> None:
    local = datetime(2026, 3, 1, 5, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-6)))
    event = CODEC.decode(CODEC.schema("alert").id, CODEC.encode(alert(occurred_at=local)))
    assert event.occurred_at == local
    assert event.occurred_at.tzinfo is UTC


def test_types_that_carry_text_from_outside_beside_secrets_are_not_compressed() -> None:
    compressed = {name: CODEC.schema(name).compress for name in CODEC.types}
    assert compressed == {"alert": True, "cargo_hold": False, "fugitive_sighting": False}


def test_an_unknown_type_or_schema_is_named_as_such() -> None:
    with pytest.raises(SchemaError, match="type-unknown"):
        CODEC.schema("riot")
    with pytest.raises(SchemaError, match="schema-unknown"):
        CODEC.schema_of(bytes(48))
    with pytest.raises(SchemaError, match="schema-unknown"):
        CODEC.decode(bytes(48), b"")


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 100, -1])
def test_an_event_cut_off_is_refused(cut: int) -> None:
    data = CODEC.encode(cargo_hold())
    with pytest.raises(EventError) as caught:
        CODEC.decode(CODEC.schema("cargo_hold").id, data[:cut])
    assert caught.value.code == "event-undecodable"


def test_a_byte_after_the_event_is_refused() -> None:
    with pytest.raises(EventError, match="left over"):
        CODEC.decode(CODEC.schema("cargo_hold").id, CODEC.encode(cargo_hold()) + b"\x00")


def test_an_event_of_more_than_its_bound_is_refused_on_both_sides() -> None:
    area = Area(description="Everywhere", polygon="1,2 " * 2000)
    assert len(CODEC.encode(alert(areas=(area,) * 32))) < 262_144
    heavier = alert(areas=(msgspec.structs.replace(area, polygon="\u00e9" * 8192),) * 32)
    with pytest.raises(EventError, match="event-too-large"):
        CODEC.encode(heavier)
    with pytest.raises(EventError, match="event-too-large"):
        CODEC.decode(CODEC.schema("alert").id, bytes(262_145))


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (cargo_hold(reported_at=datetime(2026, 1, 1)), "reported_at"),  # noqa: DTZ001 - without a time zone, on purpose
        (cargo_hold(port="LAREDO, TX"), "port"),
        (cargo_hold(carrier_scac="ABCD\n"), "carrier_scac"),
        (cargo_hold(mode="SHIP"), "mode"),
        (cargo_hold(correlation={"kind": "UPDATES"}), "correlation.event_id"),
        (cargo_hold(containers=(Container(number="x"),)), "containers[0].number"),
        (cargo_hold(containers=(Container(number="A"),) * 201), "containers"),
        (cargo_hold(shipper="x" * 129), "shipper"),
        (cargo_hold(shipper="a\rb"), "shipper"),
        (cargo_hold(shipper="\u202emoc.live"), "shipper"),
        (cargo_hold(shipper="\ud800"), "shipper"),
        (cargo_hold(shipper=7), "shipper"),
        (fugitive_sighting(confidence_percent=101), "confidence_percent"),
        (fugitive_sighting(position=Position(latitude_deg=90.5, longitude_deg=0.0)), "position.latitude_deg"),
        (fugitive_sighting(position=Position(latitude_deg=0.0, longitude_deg=float("nan"))), "position.longitude_deg"),
        (fugitive_sighting(position=Position(latitude_deg=0.0, longitude_deg=float("inf"))), "position.longitude_deg"),
        (fugitive_sighting(companions=True), "companions"),
    ],
)
def test_an_event_that_breaks_its_schema_is_not_encoded(event: Event, field: str) -> None:
    with pytest.raises(EventError) as caught:
        CODEC.encode(event)
    assert caught.value.code == "event-invalid"
    assert caught.value.field == field
    assert caught.value.hint


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}])
def test_an_event_holding_something_that_is_no_value_is_an_event_error(value: object) -> None:
    with pytest.raises(EventError):
        CODEC.encode(cargo_hold(shipper=value))


def test_something_else_than_an_event_is_refused() -> None:
    with pytest.raises(SchemaError, match="type-unknown"):
        CODEC.encode("an alert")  # type: ignore[arg-type]

    class Forged(FugitiveSighting, frozen=True):
        """Of another class than the schema's."""

    with pytest.raises(EventError, match="no event"):
        CODEC.encode(Forged(**msgspec.structs.asdict(fugitive_sighting())))


def codec_after(change: Any) -> Codec:
    """The codec of an installation in which `fugitive_sighting` went on to another version."""
    pair = replace(SIGHTING, current=changed(SIGHTING.name, change), released=(SIGHTING.current,))
    made: dict[str, Any] = {}
    exec(compile(generate([examine(pair.current)]), "events", "exec", dont_inherit=True), made)
    return Codec([pair], made["TYPES"])


def test_a_released_version_is_read_as_the_current_one() -> None:
    """The next version drops a field, adds one, and knows one symbol less."""

    def change(fields: dict[str, Any], tree: dict[str, Any]) -> None:
        tree["fields"].remove(fields["remarks"])
        fields["method"]["type"]["symbols"].remove("PLATE_READER")
        tree["fields"].append({"name": "weather", "type": "int", "doc": "New.", "default": 7})

    codec = codec_after(change)
    old = CODEC.schema("fugitive_sighting")
    event = msgspec.to_builtins(codec.decode(old.id, CODEC.encode(fugitive_sighting())))
    before = msgspec.to_builtins(fugitive_sighting())
    del before["remarks"]
    assert event == before | {"weather": 7, "method": "OTHER"}
    assert [codec.schema_of(old.id).version, codec.schema("fugitive_sighting").version] == [1, 0]


def test_a_version_that_does_not_resolve_is_undecodable_not_a_crash() -> None:
    def change(fields: dict[str, Any], _: dict[str, Any]) -> None:
        fields["confidence_percent"]["type"] = {"type": "string", "maxLength": 3}

    with pytest.raises(EventError, match="event-undecodable"):
        codec_after(change).decode(CODEC.schema("fugitive_sighting").id, CODEC.encode(fugitive_sighting()))
