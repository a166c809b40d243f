"""The schema gate refuses by name what fastavro would take, and lets in what the events need."""

from __future__ import annotations

import json
from typing import Any

import pytest

import agencybus_schemas
from agencybus.codec.gate import RULES, examine
from agencybus.errors import SchemaError
from sample_events import schema

TEXT = {"type": "string", "maxLength": 10}
UUID_TYPE = {"type": "fixed", "name": "Uuid", "size": 16, "logicalType": "uuid"}
ENUM = {"type": "enum", "name": "Colour", "doc": "A colour.", "symbols": ["RED", "BLUE"]}


def record(name: str, *fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "doc": "Inner.", "fields": list(fields)}


def field(name: str, kind: Any, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "doc": "A field."} | attributes


def pattern(text: str, length: int = 10) -> bytes:
    return schema(("a", {"type": "string", "maxLength": length, "pattern": text}))


def refused_by(avsc: bytes) -> str:
    with pytest.raises(SchemaError) as caught:
        examine(avsc)
    assert caught.value.code == "schema-refused"
    return caught.value.what.split(":")[0]


@pytest.mark.parametrize("family", agencybus_schemas.load(), ids=lambda family: family.name)
def test_every_schema_of_the_package_passes(family: agencybus_schemas.Family) -> None:
    for avsc in (family.current, *family.released):
        assert examine(avsc).record.name == family.name


@pytest.mark.parametrize(
    "kind",
    [
        "boolean",
        "int",
        "long",
        TEXT,
        {"type": "bytes", "maxLength": 3},
        {"type": "double", "minimum": 0, "maximum": 1},
        {"type": "int", "minimum": 0, "maximum": 0},
        {"type": "int", "logicalType": "date"},
        {"type": "long", "logicalType": "timestamp-micros"},
        UUID_TYPE,
        {"type": "fixed", "name": "Digest", "size": 48},
        ENUM,
        ["null", TEXT],
        {"type": "array", "items": TEXT, "maxItems": 3},
        {"type": "array", "items": ["null", "int"], "maxItems": 3},
        record("Inner", field("b", "int")),
    ],
    ids=str,
)
def test_each_kind_of_type_passes(kind: Any) -> None:
    assert examine(schema(("a", kind))).record.fields[0].name == "a"


def test_a_name_is_known_after_its_definition() -> None:
    examined = examine(schema(("a", UUID_TYPE), ("b", ["null", "Uuid"]), ("c", "Uuid")))
    assert list(examined.named) == ["Uuid", "thing"]


@pytest.mark.parametrize(
    ("rule", "avsc"),
    [
        ("not-json", b""),
        ("not-json", b"[]"),
        ("not-json", b"\xff"),
        ("not-json", b"\xef\xbb\xbf" + schema(("a", "int"))),
        ("not-json", schema(("a", "int")) + b"{}"),
        ("not-json", schema(("a", "int")).replace(b'"name": "thing"', b'"name": "thing", "name": "other"')),
        ("shape", schema()),
        ("shape", schema(("a", TEXT), name="")),
        ("shape", schema(("a b", TEXT))),
        ("shape", schema(("a\n", TEXT))),
        ("shape", schema(("a", TEXT), namespace="elsewhere")),
        ("shape", schema(("a", TEXT), aliases=["other"])),
        ("shape", schema(field("a", TEXT, aliases=["b"]))),
        ("shape", schema(field("a", TEXT, order="ignore"))),
        ("shape", schema(("a", {"type": "map", "values": "int"}))),
        ("shape", schema(("a", {"type": "error", "name": "E", "fields": []}))),
        ("shape", schema(("a", {"type": "string"}))),
        ("shape", schema(("a", {"type": "array", "items": "int"}))),
        ("shape", schema(("a", {"type": "double"}))),
        ("shape", schema(("a", {"type": "fixed", "name": "F", "size": 0}))),
        ("shape", schema(("a", {"type": "fixed", "name": "F", "size": 1 << 20}))),
        ("shape", schema(("a", {"type": "int", "logicalType": "time-millis"}))),
        ("shape", schema(("a", {"type": "long", "logicalType": "timestamp-millis"}))),
        ("shape", schema(("a", {"type": "string", "maxLength": 36, "logicalType": "uuid"}))),
        ("shape", schema(("a", ENUM | {"symbols": []}))),
        ("shape", schema({"name": "a", "type": "int"})),
        ("shape", schema(("a", ["null"]))),
        ("shape", schema(("a", ["int", "null"]))),
        ("shape", schema(("a", ["null", "int", "long"]))),
        ("shape", schema(("a", ["null", ["null", "int"]]))),
        ("shape", schema(("a", record("Inner", field("b", "int")) | {"compress": False}))),
        ("shape", json.dumps(record("thing", field("a", "int"))).encode()),
        ("type", schema(("a", "string"))),
        ("type", schema(("a", "float"))),
        ("type", schema(("a", "Unknown"))),
        ("type", schema(("b", "Uuid"), ("a", UUID_TYPE))),
        ("zero-bytes", schema(("a", "null"))),
        ("zero-bytes", schema(("a", ["null", "null"]))),
        ("zero-bytes", schema(("a", {"type": "array", "items": "null", "maxItems": 3}))),
        ("recursive", schema(("a", ["null", "thing"]))),
        ("recursive", schema(("a", {"type": "array", "items": "thing", "maxItems": 3}))),
        ("recursive", schema(("a", record("Inner", field("b", ["null", "Inner"]))))),
        ("name", schema(("a", "int"), ("a", "int"))),
        ("name", schema(("a", UUID_TYPE), ("b", UUID_TYPE))),
        ("name", schema(("a", record("thing", field("b", "int"))))),
        ("name", schema(("a", record("string", field("b", "int"))))),
        ("name", schema(("a", ENUM | {"symbols": ["RED", "RED"]}))),
        ("logical-type", schema(("a", UUID_TYPE | {"size": 15}))),
        ("logical-type", schema(("a", {"type": "int", "logicalType": "date", "minimum": 0}))),
        ("default", schema(("a", ENUM | {"default": "GREEN"}))),
        ("default", schema(field("a", TEXT, default="x" * 11))),
        ("default", schema(field("a", {"type": "string", "maxLength": 5000}, default="x" * 2000))),
        ("default", schema(field("a", TEXT, default=None))),
        ("default", schema(field("a", ["null", TEXT], default=""))),
        ("default", schema(field("a", "int", default=1 << 31))),
        ("default", schema(field("a", "int", default=True))),
        ("default", schema(field("a", "boolean", default=0))),
        ("default", schema(field("a", {"type": "int", "minimum": 0, "maximum": 0}, default=1))),
        ("default", schema(field("a", {"type": "double", "minimum": 0, "maximum": 1}, default=2))),
        ("default", schema(field("a", {"type": "array", "items": "int", "maxItems": 3}, default=[1]))),
        ("default", schema(field("a", {"type": "long", "logicalType": "timestamp-micros"}, default=0))),
        ("default", schema(field("a", {"type": "bytes", "maxLength": 3}, default="x"))),
        ("default", schema(field("a", record("Inner", field("b", "int")), default={"b": 1}))),
        ("pattern", pattern("[A-Z]+")),
        ("pattern", pattern("^(a+)+$")),
        ("pattern", pattern("^a|b$")),
        ("pattern", pattern("^[a-z]+[a-z]+[a-z]+$")),
        ("pattern", pattern("^[a-z]{1,9}[a-z]{1,9}[a-z]{1,9}$")),
        ("pattern", pattern("^[z-a]$")),
        ("pattern", pattern("^[a-z]+$", length=257)),
        ("too-many-fields", schema(*((f"a{i}", record(f"R{i}", field("b", "int"))) for i in range(129)))),
    ],
)
def test_a_schema_outside_of_the_language_is_refused_by_a_named_rule(rule: str, avsc: bytes) -> None:
    assert refused_by(avsc) == rule
    assert rule in RULES


def test_a_refusal_names_the_field() -> None:
    with pytest.raises(SchemaError) as caught:
        examine(schema(("a", record("Inner", field("b", "Unknown")))))
    assert caught.value.where == "a.b"


def test_types_are_counted_through_names() -> None:
    """Each record holds the one before: 14 of them are 16 types deep with the outermost and the int."""
    inner = [("f0", record("R0", field("x", "int")))]
    inner += [(f"f{i}", record(f"R{i}", field("x", f"R{i - 1}"))) for i in range(1, 15)]
    assert examine(schema(*inner[:14]))
    assert refused_by(schema(*inner)) == "too-deep"


def test_a_pattern_does_not_let_a_line_feed_slip_through_at_the_end() -> None:
    accepted = schema(field("a", {"type": "string", "maxLength": 4, "pattern": "^[A-Z]{3}$"}, default="USA"))
    assert examine(accepted)
    assert refused_by(accepted.replace(b'"USA"', b'"USA\\n"')) == "default"
