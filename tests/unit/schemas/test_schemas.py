"""The files of the contract: classes that follow them, docs with units, versions that stay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import agencybus_schemas
from agencybus.codec.gate import examine
from agencybus.codec.shape import Double, Int, Long
from agencybus.label import Precedence
from agencybus_schemas import evolution, generate
from agencybus_schemas.events import TYPES, Event

FAMILIES = agencybus_schemas.load()
SIGHTING = FAMILIES[2]
COMMON = [
    "event_id",
    "reported_at",
    "occurred_at",
    "reference",
    "originator",
    "label",
    "precedence",
    "programme",
    "handling",
    "correlation",
]
# SHA-384 of every version that was ever released, first 8 bytes. A line is added, never changed: frames name these.
RELEASED = {
    "alert/1": "4c6dc3207eee57b8",
    "cargo_hold/1": "ff7ea905a0fb92eb",
    "fugitive_sighting/1": "94a1e70ea16f7862",
}


def by_name(family: agencybus_schemas.Family) -> str:
    return family.name


def test_the_classes_are_what_the_schemas_say() -> None:
    assert generate.main(["--check"]) == 0


def test_a_call_that_nobody_meant_changes_nothing() -> None:
    assert generate.main(["--help"]) == 2
    assert evolution.main(["--relase"]) == 2


def test_two_schemas_that_disagree_on_the_common_part_make_no_classes() -> None:
    tree = json.loads(FAMILIES[1].current)
    tree["fields"][0], tree["fields"][1] = tree["fields"][1], tree["fields"][0]
    with pytest.raises(SystemExit, match="common part"):
        generate.generate([examine(FAMILIES[0].current), examine(json.dumps(tree).encode())])


def test_two_schemas_that_disagree_on_a_name_make_no_classes() -> None:
    tree = json.loads(FAMILIES[1].current.replace(b'"PERMITTED"', b'"ALLOWED"'))
    with pytest.raises(SystemExit, match="Permission differs"):
        generate.generate([examine(FAMILIES[0].current), examine(json.dumps(tree).encode())])


def test_precedences_of_another_kind_than_the_bus_decides_by_make_no_classes() -> None:
    with pytest.raises(SystemExit, match="Precedence"):
        generate.generate([examine(FAMILIES[0].current.replace(b'"FLASH"', b'"BLITZ"').replace(b"FLASH and", b"and"))])
    assert [each.value for each in Precedence] == ["FLASH", "IMMEDIATE", "PRIORITY", "ROUTINE"]


@pytest.mark.parametrize("family", FAMILIES, ids=by_name)
def test_every_schema_begins_with_the_common_part_in_its_order(family: agencybus_schemas.Family) -> None:
    assert [member.name for member in examine(family.current).record.fields][: len(COMMON)] == COMMON
    assert list(Event.__struct_fields__) == COMMON
    assert TYPES[family.name].type_name == family.name


@pytest.mark.parametrize("family", FAMILIES, ids=by_name)
def test_every_number_says_its_unit(family: agencybus_schemas.Family) -> None:
    units = ("microseconds", "days", "degrees", "percent", "metres", "centimetres", "kilo", "dollars", "4x4", "Number")
    for named in examine(family.current).named.values():
        for member in getattr(named, "fields", ()):
            kind = member.type[1] if isinstance(member.type, tuple) else member.type
            if isinstance(kind, (Int, Long, Double)) or kind in ("int", "long"):
                assert any(unit in member.doc for unit in units), f"{named.name}.{member.name}"


@pytest.mark.parametrize("family", FAMILIES, ids=by_name)
def test_a_type_that_is_not_compressed_says_why(family: agencybus_schemas.Family) -> None:
    record = examine(family.current).record
    assert record.compress is not True
    assert ("Compression is off" in record.doc) == (record.compress is False)
    assert "Compression is" in record.doc


def test_a_released_version_is_never_edited() -> None:
    found = {
        f"{family.name}/{number}": hashlib.sha384(avsc).hexdigest()[:16]
        for family in FAMILIES
        for number, avsc in enumerate(family.released, 1)
    }
    assert found == RELEASED


def test_all_versions_read_each_other_and_the_current_one_is_released() -> None:
    assert evolution.main([]) == 0
    for family in FAMILIES:
        assert evolution.check(family) == []
        assert family.released[-1] == family.current


Change = Callable[[Any], None]


def fresh(**attributes: Any) -> dict[str, Any]:
    return {"name": "fresh", "type": "int", "doc": "New."} | attributes


def part(tree: Any, path: str) -> Any:
    """A part of a schema's JSON: keys, places in lists, or names of fields, with slashes."""
    for step in path.split("/") if path else ():
        if isinstance(tree, list) and not step.isdigit():
            tree = next(member for member in tree if member["name"] == step)
        else:
            tree = tree[int(step) if isinstance(tree, list) else step]
    return tree


def update(path: str, **attributes: Any) -> Change:
    return lambda tree: part(tree, path).update(attributes)


def drop(path: str, key: str) -> Change:
    return lambda tree: part(tree, path).pop(key)


def add(path: str, item: Any) -> Change:
    return lambda tree: part(tree, path).append(item)


def remove(path: str, item: str) -> Change:
    """Take a symbol or a field out."""
    return lambda tree: part(tree, path).remove(item if item.isupper() else part(tree, f"{path}/{item}"))


def changed(change: Change) -> list[evolution.Problem]:
    """What the check says of a next version with a change made to its JSON."""
    tree = json.loads(SIGHTING.current)
    change(tree)
    return evolution.check(replace(SIGHTING, current=json.dumps(tree).encode()))


POINT = "fields/position/type/1"
BREAKING = [
    ("no-default", "fresh", add("fields", fresh())),
    ("no-default", "place", remove("fields", "place")),
    ("no-default", "position.fresh", add(f"{POINT}/fields", fresh())),
    ("type-changed", "companions", update("fields/companions", type="long")),
    ("type-changed", "heading_deg", update("fields/heading_deg", type="int", default=0)),
    ("constraint-changed", "place", update("fields/place/type", maxLength=512)),
    ("constraint-changed", "country", update("fields/country/type", pattern="^[A-Z]{2}$")),
    ("constraint-changed", "vehicles", update("fields/vehicles/type", maxItems=9)),
    ("constraint-changed", "vehicles[].vin", update("fields/vehicles/type/items/fields/vin/type", maxLength=18)),
    ("constraint-changed", "position.latitude_deg", update(f"{POINT}/fields/latitude_deg/type", maximum=89)),
    ("constraint-changed", "reported_at", drop("fields/reported_at/type", "logicalType")),
    ("symbol-unknown", "precedence", add("fields/precedence/type/symbols", "WHENEVER")),
    ("name-changed", "position", update(POINT, name="Point")),
    ("name-changed", "", update("", name="sighting")),
    ("compress-changed", "", drop("", "compress")),
]


@pytest.mark.parametrize(("rule", "field", "change"), BREAKING)
def test_a_change_that_some_version_could_not_read_is_named(rule: str, field: str, change: Change) -> None:
    problems = changed(change)
    assert {(problem.rule, problem.field) for problem in problems} == {(rule, field)}
    assert all(rule in str(problem) and "fugitive_sighting" in str(problem) for problem in problems)


@pytest.mark.parametrize(
    "change",
    [
        add("fields", fresh(default=0)),
        add(f"{POINT}/fields", fresh(default=0)),
        remove("fields", "remarks"),
        add("fields/method/type/symbols", "SATELLITE"),
        remove("fields/method/type/symbols", "CAMERA"),
        update("fields/place", doc="Other words.", example="Elsewhere"),
    ],
)
def test_a_change_that_every_version_reads_passes(change: Change) -> None:
    assert changed(change) == []


def test_what_was_once_released_counts_for_ever() -> None:
    """Version 2 adds a field with a default; version 3 takes the default away, and version 1 has no such field."""
    tree = json.loads(SIGHTING.current)
    tree["fields"].append(fresh(default=0))
    two = json.dumps(tree).encode()
    del tree["fields"][-1]["default"]
    three = json.dumps(tree).encode()
    assert evolution.check(replace(SIGHTING, released=(SIGHTING.current, two), current=two)) == []
    problems = evolution.check(replace(SIGHTING, released=(SIGHTING.current, two), current=three))
    assert [(problem.reader, problem.writer) for problem in problems] == [("the current one", "version 1")]


def test_a_release_keeps_the_exact_bytes_once(tmp_path: Path) -> None:
    family = replace(FAMILIES[0], released=())
    file = evolution.release(family, tmp_path)
    assert file is not None
    assert file.read_bytes() == family.current
    assert evolution.release(replace(family, released=(family.current,)), tmp_path) is None


def test_a_broken_evolution_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = json.loads(SIGHTING.current)
    tree["fields"].append(fresh())
    families = [replace(SIGHTING, current=json.dumps(tree).encode())]
    monkeypatch.setattr(evolution, "load", lambda: families)
    assert evolution.main([]) == 1
    assert "fugitive_sighting.fresh: no-default" in capsys.readouterr().err
    monkeypatch.setattr(evolution, "load", lambda: [replace(SIGHTING, current=b"{}")])
    assert evolution.main([]) == 1
    assert "schema-refused" in capsys.readouterr().err
