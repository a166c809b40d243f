"""What `event check` says: line, field, rule, hint."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

import agencybus_schemas
from agencybus.codec import Codec, Profile
from agencybus.codec.json_form import line_of
from agencybus.errors import EventError, SchemaError
from agencybus.label import Precedence
from agencybus_schemas.events import TYPES, Event, Permission, SourceGrading
from sample_events import AT, all_events, cargo_hold

CODEC = Codec(agencybus_schemas.load())
PROFILE = Profile(
    programme="fugitives",
    label="UNCLASSIFIED//REL TO USA, MEX",
    purpose="Finding wanted persons",
    legal_basis="Extradition Treaty of 1978",
    retain_days=365,
    personal_data=True,
    precedence=Precedence.PRIORITY,
    onward_release=Permission.FORBIDDEN,
    court_use=Permission.WITH_CONSENT,
    source_grading=SourceGrading.B,
    information_grading=2,
)
FRESH: dict[str, Any] = {"originator": "us.fbi/wanted", "at": AT, "random10": bytes(10)}


def refusal(data: bytes, type_name: str = "fugitive_sighting", **place: Any) -> EventError:
    with pytest.raises(EventError) as caught:
        CODEC.from_json(type_name, data, **place)
    return caught.value


def altered(change: dict[str, Any]) -> bytes:
    """A template on many lines, with a change."""
    return json.dumps(CODEC.template("fugitive_sighting") | change, indent=1).encode()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", TYPES)
def test_a_template_is_a_valid_event_of_its_type(name: str, *, full: bool) -> None:
    values = CODEC.template(name, full=full)
    event = CODEC.from_json(name, json.dumps(values).encode())
    assert event.type_name == name
    assert list(values) == [member.name for member in CODEC.schema(name).examined.record.fields]


def test_a_template_made_at_a_time_is_of_that_time_and_has_an_id_of_its_own() -> None:
    made = [CODEC.template("alert", at=AT, random10=bytes([number]) * 10) for number in (1, 2)]
    assert made[0]["reported_at"] == "2026-03-01T12:00:00+00:00"
    assert made[0]["event_id"] != made[1]["event_id"]
    assert made[0]["handling"]["retain_until"] == "2031-03-01T12:00:00+00:00"


def test_an_unknown_type_has_no_template() -> None:
    with pytest.raises(SchemaError, match="type-unknown"):
        CODEC.template("riot")


@pytest.mark.parametrize(
    ("change", "field", "rule", "hint"),
    [
        ({"precedence": "HIGH"}, "precedence", "structure", "One of FLASH, IMMEDIATE, PRIORITY, ROUTINE."),
        ({"handling": {}}, "handling.purpose", "structure", "Purpose for which it is shared"),
        ({"labl": "SECRET"}, "labl", "structure", "Did you mean label?"),
        ({"vehicles": [{"plate": "A"}, {"plat": 1}]}, "vehicles[1].plat", "structure", "Did you mean plate?"),
        ({"position": {"latitude_deg": 91, "longitude_deg": 0}}, "position.latitude_deg", "structure", "27.4989"),
        ({"reported_at": "yesterday"}, "reported_at", "structure", "2026-01-31T12:00:00Z"),
        ({"event_id": "1"}, "event_id", "structure", "UUID of version 7"),
        ({"confidence_percent": "80"}, "confidence_percent", "structure", "in percent"),
        ({"label": "secret"}, "label", "label", "SECRET//LES//REL TO USA, MEX"),
        ({"occurred_at": "2026-02-01T00:00:00Z"}, "occurred_at", "occurred-late", "clock"),
        ({"place": "a\u0000b"}, "place", "text", "control characters"),
    ],
)
def test_a_refusal_names_field_rule_and_hint(change: dict[str, Any], field: str, rule: str, hint: str) -> None:
    error = refusal(altered(change))
    assert (error.field, error.rule) == (field, rule)
    assert hint in error.hint


@pytest.mark.parametrize("change", [{"label": "secret"}, {"place": "a\u0000b"}, {"precedence": "HIGH"}, {"country": 1}])
def test_a_refusal_names_file_and_line(change: dict[str, Any]) -> None:
    (field,) = change
    data = altered(change)
    line = next(number for number, text in enumerate(data.decode().splitlines()) if text.startswith(f' "{field}":'))
    assert refusal(data, source="forms.json", line=100).where == f"forms.json:{100 + line}: {field}"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a", 2),
        ("b", 3),
        ("b.c", 4),
        ("b.c[0]", 5),
        ("b.c[1]", 6),
        ("b.c[1].d", 6),
        ("b.e", 8),
        ("f", 10),
        ("b.zzz", 3),
        ("", 1),
    ],
)
def test_the_line_of_a_field_is_found_in_pretty_json(path: str, line: int) -> None:
    data = b"""{
 "a": "x,]}\\"{",
 "b": {
  "c": [
   {"d": 0},
   {"d": 1}
  ],
  "e": null
 },
 "f": [[], [1, 2]]
}"""
    assert json.loads(data)
    assert line_of(data, path) == line


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", 1),
        (b"{", 1),
        (b'{\n"reference": "a"\n"label"}', 3),
        (b'{"reference": "\xff"}', 1),
        (b"{} {}", 1),
        (b"[" * 100_000, 1),
        (b'{"reference":' + b"[" * 100_000, 1),
    ],
)
def test_what_is_no_json_is_refused_with_its_line(data: bytes, line: int) -> None:
    error = refusal(data)
    assert error.code == "event-invalid"
    assert error.where.startswith(f"line {line}")


def test_json_of_more_than_its_bound_is_not_parsed() -> None:
    assert refusal(b" " * (1 << 20) + b"{}").code == "event-too-large"


def test_unknown_names_from_outside_are_shown_without_their_escapes() -> None:
    error = refusal(json.dumps({"\x1b[31m" + "x" * 500: 1}).encode())
    assert "\x1b" not in str(error)
    assert len(str(error)) < 300


def test_a_profile_gives_the_common_part_and_the_json_the_rest() -> None:
    own = {name: value for name, value in CODEC.template("alert").items() if name not in Event.__struct_fields__}
    common = PROFILE.common(**FRESH, reference="FBI-1")
    event = CODEC.from_json("alert", json.dumps(own).encode(), defaults=common)
    assert event.reference == "FBI-1"
    assert msgspec.structs.asdict(event).items() >= common.items()
    told = CODEC.from_json("alert", json.dumps(own | {"reference": "FBI-2"}).encode(), defaults=common)
    assert told.reference == "FBI-2"


def test_a_profile_makes_events_in_code_as_well() -> None:
    event = cargo_hold(**PROFILE.common(**FRESH, reference="H-1"))
    CODEC.check(event)
    assert (event.handling.retain_until - event.reported_at).days >= 365


def test_an_event_made_twice_in_a_month_from_a_profile_says_the_same() -> None:
    first, second = (PROFILE.defaults(**FRESH | {"at": at}) for at in (AT, AT + 28 * 86_400_000_000))
    assert first["handling"] == second["handling"]
    assert f"{first['handling']['retain_until']:%Y-%m-%d}" == "2027-04-01"


def test_a_profile_fills_in_what_handling_leaves_out_and_no_more() -> None:
    own = CODEC.template("alert")
    own["handling"] = {"court_use": "FORBIDDEN", "retain_until": "2026-05-01T00:00:00Z"}
    event = CODEC.from_json("alert", json.dumps(own).encode(), defaults=PROFILE.defaults(**FRESH))
    assert (event.handling.court_use, event.handling.purpose) == (Permission.FORBIDDEN, PROFILE.purpose)
    assert f"{event.handling.retain_until:%Y-%m-%d}" == "2026-05-01"


def test_what_neither_profile_nor_event_says_is_missing() -> None:
    own = {name: value for name, value in CODEC.template("alert").items() if name != "label"}
    error = refusal(json.dumps(own).encode(), "alert", defaults=Profile(purpose="x").defaults(**FRESH))
    assert (error.field, error.what) == ("label", "missing")


def test_an_event_made_in_code_needs_a_complete_profile() -> None:
    with pytest.raises(EventError, match="legal_basis"):
        msgspec.structs.replace(PROFILE, legal_basis=None).common(**FRESH, reference="H-1")


def test_of_two_profiles_the_first_goes_before() -> None:
    told = Profile(label="UNCLASSIFIED", purpose="Test").over(PROFILE)
    assert (told.label, told.purpose, told.retain_days) == ("UNCLASSIFIED", "Test", 365)


def test_all_events_are_json_that_other_programs_read() -> None:
    for event in all_events():
        values = json.loads(msgspec.json.encode(event))
        assert values["event_id"] == str(event.event_id)
        assert values["reported_at"] == "2026-03-01T12:00:00.123456Z"
