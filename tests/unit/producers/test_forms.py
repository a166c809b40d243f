"""Forms: what people wrote becomes an event, numbers are checked, every fault names field and line."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import msgspec
import pytest

from agencybus.errors import EventError
from agencybus_producers.changes import Change, Entry, Plan, Planned
from agencybus_producers.forms import form, hold, numbers, sighting
from agencybus_producers.stamp import codec
from agencybus_schemas.events import CargoHold, CorrelationKind, FugitiveSighting, HoldAction
from producing import AT, DATA, DAY, PROFILE, entries, stamp

SAMPLES = resources.files("agencybus_producers.forms") / "samples"
CARGO = msgspec.structs.replace(PROFILE, programme="cargo-targeting")
CBP = "us.cbp/ntc-cargo"
LATER = stamp(at=AT + DAY, profile=CARGO, originator=CBP)


def sample(name: str) -> dict[str, Any]:
    folder = SAMPLES if name in {"sighting.json", "hold-set.json"} else DATA / "forms"
    found: dict[str, Any] = json.loads((folder / name).read_bytes())
    return found


def text(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode()


def plan(
    one: form.Plans, *forms: dict[str, Any], known: dict[str, Entry] | None = None
) -> tuple[Plan, list[EventError]]:
    files = [(f"{number}.json", text(value)) for number, value in enumerate(forms)]
    return form.plan(files, known or {}, LATER, one)


def message(one: form.Plans, value: dict[str, Any], known: dict[str, Entry] | None = None) -> Planned:
    made, errors = plan(one, value, known=known)
    assert not errors
    [found] = made.messages
    return found


def fault(one: form.Plans, value: dict[str, Any], known: dict[str, Entry] | None = None) -> EventError:
    made, [error] = plan(one, value, known=known)
    assert not made.messages
    return error


# --- numbers


@pytest.mark.parametrize("number", ["CSQU3054383", "MSKU9070323", "TGHU7568411", "HASU5044950", "csqu 305438-3"])
def test_a_container_number_with_the_right_check_digit_passes(number: str) -> None:
    assert numbers.container(number) == numbers.compact(number)


@pytest.mark.parametrize("place", range(10))
def test_one_wrong_character_of_a_container_number_is_noticed(place: int) -> None:
    number = "CSQU3054383"
    other = "A" if number[place].isalpha() else str((int(number[place]) + 1) % 10)
    if place == 3:
        other = "J"
    with pytest.raises(ValueError, match="check digit is 3, by ISO 6346 it would be"):
        numbers.equipment(number[:place] + other + number[place + 1 :])


@pytest.mark.parametrize("number", ["JBHT 531284", "T-9081", "UTIL5300417X"])
def test_a_trailer_number_is_taken_as_it_is_unless_a_size_says_that_it_is_a_container(number: str) -> None:
    assert numbers.equipment(number) == numbers.compact(number)
    with pytest.raises(ValueError, match="not a container number"):
        numbers.container(number)


@pytest.mark.parametrize("vin", ["1M8GDM9AXKP042788", "1xkyd-p9x1nj123456", "11111111111111111", "WDB9634031L000000"])
def test_a_vin_with_the_right_check_digit_or_from_elsewhere_passes(vin: str) -> None:
    assert numbers.vin(vin) == numbers.compact(vin)


@pytest.mark.parametrize("vin", ["1M8GDM9A1KP042788", "1M8GDM9AXKP04278", "1M8GDM9AXKP04278O", "1M8GDM9AXKPÑ42788"])
def test_a_wrong_vin_is_refused(vin: str) -> None:
    with pytest.raises(ValueError, match=r"check digit|17 letters"):
        numbers.vin(vin)


# --- sightings


def test_the_sample_sighting_becomes_an_event_with_numbers_written_one_way() -> None:
    event = message(sighting.plan_one, sample("sighting.json")).entry.event
    assert isinstance(event, FugitiveSighting)
    assert (event.vehicles[0].plate, event.vehicles[0].vin) == ("R123456", "1XKYDP9X1NJ123456")
    assert event.vehicles[1].plate == "48UL7Y"
    assert event.reported_at.isoformat() == "2026-02-01T12:00:00+00:00"
    assert (event.originator, event.label) == (CBP, CARGO.label)
    codec().encode(event)


def test_a_form_changes_only_those_parts_of_the_handling_that_it_names() -> None:
    handling = message(sighting.plan_one, sample("sighting.json")).entry.event.handling
    assert handling.source_grading.value == "A"
    assert handling.legal_basis == PROFILE.legal_basis


def test_a_form_may_narrow_the_label() -> None:
    assert (
        message(sighting.plan_one, sample("sighting.json") | {"label": "SECRET//LES"}).entry.event.label
        == "SECRET//LES"
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"vehicles": [{"vin": "1XKYDP9X0NJ123456"}]}, "vehicles[0].vin"),
        ({"vehicles": [{"plate": "R12*34"}]}, "vehicles[0].plate"),
        ({"vehicles": [{"plate": "R1", "plate_issuer": "Texas"}]}, "vehicles[0].plate_issuer"),
        ({"vehicles": [{"plate": 7}]}, "vehicles[0].plate"),
        ({"vehicles": "none"}, "vehicles"),
        ({"port": "24"}, "port"),
        ({"country": "MEX", "port": "2304"}, "port"),
        ({"country": "US"}, "country"),
        ({"confidence_percent": 101}, "confidence_percent"),
        ({"position": {"latitude_deg": 95, "longitude_deg": 0}}, "position.latitude_deg"),
        ({"occurred_at": "2026-01-31T05:42:00"}, "occurred_at"),
        ({"occurred_at": "2027-01-31T05:42:00Z"}, "occurred_at"),
        ({"label": "SECRET//REL TO MEX"}, "label"),
        ({"remarks": "a\u0000b"}, "remarks"),
        ({"armd": "YES"}, "armd"),
        ({"originator": "us.fbi/wanted"}, "originator"),
        ({"event_id": "019a0000-0000-7000-8000-000000000001"}, "event_id"),
        ({"handling": {"purpos": "x"}}, "handling.purpos"),
        ({"handling": "secret"}, "handling"),
        ({"updates": "never-sent"}, "updates"),
        ({"updates": 7}, "updates"),
    ],
)
def test_a_fault_in_a_sighting_names_the_field_and_its_line(change: dict[str, Any], field: str) -> None:
    value = sample("sighting.json") | change
    error = fault(sighting.plan_one, value)
    assert error.field == field
    line = int(error.where.split(":")[1])
    name = field.rpartition(".")[2].partition("[")[0]
    assert f'"{name}"' in text(value).decode().splitlines()[line - 1]
    assert error.where == f"0.json:{line}: {field}"


def test_an_empty_object_is_named_by_the_line_on_which_it_stands() -> None:
    error = fault(sighting.plan_one, sample("sighting.json") | {"vehicles": [{}]})
    assert error.field == "vehicles[0]"
    lines = text(sample("sighting.json") | {"vehicles": [{}]}).decode().splitlines()
    assert lines[int(error.where.split(":")[1]) - 1].strip() == "{}"


@pytest.mark.parametrize("missing", ["reference", "occurred_at", "subject_name", "place"])
def test_a_missing_field_is_named(missing: str) -> None:
    value = sample("sighting.json")
    del value[missing]
    assert fault(sighting.plan_one, value).field == missing


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"a": "\xff"}', b"[" * 100_000, b'"x"', b"{}{}"])
def test_what_is_no_form_at_all_is_refused_with_the_name_of_its_file(data: bytes) -> None:
    [error] = form.plan([("x.json", data)], {}, LATER, sighting.plan_one)[1]
    assert "x.json" in error.where


def test_a_form_beyond_the_limit_is_refused() -> None:
    assert fault(sighting.plan_one, {"remarks": "x" * form.FORM_BYTES}).code == "event-too-large"


def test_a_form_that_was_published_is_not_published_again() -> None:
    first = message(sighting.plan_one, sample("sighting.json"))
    made, errors = plan(sighting.plan_one, sample("sighting.json"), known=entries([first]))
    assert (made.messages, made.unchanged, errors) == ([], 1, [])


def test_a_reference_names_one_form_for_ever() -> None:
    first = message(sighting.plan_one, sample("sighting.json"))
    error = fault(sighting.plan_one, sample("sighting.json") | {"armed": "YES"}, entries([first]))
    assert (error.code, error.field) == ("reference-reused", "reference")


def test_a_sighting_is_updated_and_withdrawn_by_the_references_of_its_forms() -> None:
    first = message(sighting.plan_one, sample("sighting.json"))
    second_form = sample("sighting.json") | {"reference": "B", "updates": first.entry.event.reference, "armed": "YES"}
    second = message(sighting.plan_one, second_form, entries([first]))
    assert (second.change, second.fields) == (Change.UPDATED, ("armed",))
    assert second.entry.root == first.entry.event.event_id
    third_form = sample("sighting.json") | {"reference": "C", "cancels": "B", "remarks": "Somebody else."}
    third = message(sighting.plan_one, third_form, entries([second]))
    assert third.change is Change.CANCELLED
    assert third.entry.event.correlation == second.entry.correlation(CorrelationKind.CANCELS)
    known = entries([third])
    assert plan(sighting.plan_one, third_form, known=known)[0].unchanged == 1
    assert fault(sighting.plan_one, sample("sighting.json"), known).code == "reference-reused"
    assert (
        fault(sighting.plan_one, sample("sighting.json") | {"reference": "D", "updates": "C"}, known).field == "updates"
    )


def test_one_form_has_one_relation() -> None:
    known = entries([message(sighting.plan_one, sample("sighting.json"))])
    both = sample("sighting.json") | {"reference": "B", "updates": sample("sighting.json")["reference"], "cancels": "x"}
    assert fault(sighting.plan_one, both, known).field == "cancels"


# --- holds


def test_the_sample_hold_becomes_an_event_with_numbers_written_one_way() -> None:
    event = message(hold.plan_one, sample("hold-set.json")).entry.event
    assert isinstance(event, CargoHold)
    assert [container.number for container in event.containers] == ["MSKU9070323", "TGHU7568411"]
    assert [line.hs_code for line in event.lines] == ["401120", "87087060"]
    assert event.pedimento == "262434566000123"
    assert event.reference == "2304-26-000042/1"
    codec().encode(event)


def test_a_hold_is_set_changed_and_released_by_its_number_alone() -> None:
    known: dict[str, Entry] = {}
    expected = [
        ("hold-set.json", Change.NEW, HoldAction.SET, None),
        ("hold-changed.json", Change.UPDATED, HoldAction.CHANGED, CorrelationKind.UPDATES),
        ("hold-released.json", Change.CANCELLED, HoldAction.RELEASED, CorrelationKind.CANCELS),
    ]
    roots = set()
    for serial, (name, change, action, kind) in enumerate(expected, 1):
        found = message(hold.plan_one, sample(name), known)
        event = found.entry.event
        assert isinstance(event, CargoHold)
        assert (found.change, event.action, event.reference) == (change, action, f"2304-26-000042/{serial}")
        assert (event.correlation.kind if event.correlation else None) == kind
        codec().encode(event)
        known |= entries([found])
        roots.add(found.entry.root)
        assert plan(hold.plan_one, sample(name), known=known)[0].unchanged == 1
    assert len(roots) == 1
    assert fault(hold.plan_one, sample("hold-set.json"), known).field == "hold_number"


def test_a_hold_that_stands_is_not_set_again() -> None:
    known = entries([message(hold.plan_one, sample("hold-set.json"))])
    assert fault(hold.plan_one, sample("hold-set.json") | {"disposition": "1H"}, known).field == "action"


def test_a_hold_that_was_not_set_here_is_changed_only_with_the_event_that_set_it() -> None:
    assert fault(hold.plan_one, sample("hold-changed.json")).field == "hold_number"
    elsewhere = "019a0000-0000-7000-8000-000000000001"
    correlation = {"kind": "UPDATES", "event_id": elsewhere, "root": elsewhere}
    found = message(hold.plan_one, sample("hold-changed.json") | {"correlation": correlation})
    assert str(found.entry.root) == elsewhere


def test_two_forms_about_one_hold_go_one_after_the_other() -> None:
    made, [error] = plan(hold.plan_one, sample("hold-set.json"), sample("hold-set.json") | {"port": "2305"})
    assert len(made.messages) == 1
    assert error.where == "1.json"


def test_a_mexican_hold_has_a_mexican_port() -> None:
    mexican = {"code_system": "ANAM", "authority": "ANAM", "disposition": "R1", "port": "24"}
    assert message(hold.plan_one, sample("hold-set.json") | mexican)
    assert fault(hold.plan_one, sample("hold-set.json") | mexican | {"port": "2304"}).field == "port"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"containers": [{"number": "MSKU9070324", "size_type": "45G1"}]}, "containers[0].number"),
        ({"containers": [{"number": "MSKU9070324"}]}, "containers[0].number"),
        ({"containers": [{"number": "T-9081", "size_type": "45G1"}]}, "containers[0].number"),
        ({"containers": [{"number": "T-9081"}, {"number": "t 9081"}]}, "containers[1].number"),
        ({"lines": [{"hs_code": "tyres", "quantity": 1, "unit": "PKG"}]}, "lines[0].hs_code"),
        ({"lines": [{"hs_code": "4011.20", "quantity": -1, "unit": "PKG"}]}, "lines[0].quantity"),
        ({"pedimento": "26 24 3456"}, "pedimento"),
        ({"port": "Laredo"}, "port"),
        ({"carrier_scac": "K"}, "carrier_scac"),
        ({"mode": "CART"}, "mode"),
        ({"action": "HELD"}, "action"),
        ({"hold_number": ""}, "hold_number"),
        ({"hold_number": 7}, "hold_number"),
    ],
)
def test_a_fault_in_a_hold_names_the_field(change: dict[str, Any], field: str) -> None:
    assert fault(hold.plan_one, sample("hold-set.json") | change).field == field
