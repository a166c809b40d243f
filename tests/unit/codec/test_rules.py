"""What an event must be beyond its schema."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

import agencybus_schemas
from agencybus.codec import Codec
from agencybus.errors import EventError
from agencybus_schemas.events import Area, Correlation, CorrelationKind, Event, HoldAction, Vehicle, WantedPerson
from sample_events import NOW, alert, all_events, cargo_hold, event_id, fugitive_sighting

CODEC = Codec(agencybus_schemas.load())
HANDLING = cargo_hold().handling
STORY = Correlation(kind=CorrelationKind.CANCELS, event_id=event_id(2), root=event_id(2))


def correlated(**changes: Any) -> Correlation:
    return msgspec.structs.replace(STORY, **changes)


@pytest.mark.parametrize(
    ("rule", "field", "event"),
    [
        ("label", "label", alert(label="SECRET//REL TO MEX, USA")),
        ("label", "label", alert(label="COSMIC")),
        ("uuid7", "event_id", alert(event_id=UUID("5a0dff9e-25b1-4f10-9cf4-7ec8a05fb1a9"))),
        ("uuid7", "event_id", alert(event_id=UUID(int=event_id().int ^ 1 << 63))),
        ("occurred-late", "occurred_at", alert(occurred_at=NOW + timedelta(minutes=5, microseconds=1))),
        ("retention", "handling.retain_until", alert(handling=msgspec.structs.replace(HANDLING, retain_until=NOW))),
        ("correlation", "correlation.event_id", alert(correlation=correlated(event_id=event_id()))),
        ("correlation", "correlation.event_id", alert(correlation=correlated(root=event_id()))),
        ("expiry", "expires_at", alert(expires_at=NOW - timedelta(hours=1))),
        ("range", "person.height_min_cm", alert(person=WantedPerson(name="X", height_min_cm=180, height_max_cm=170))),
        ("range", "person.weight_min_kg", alert(person=WantedPerson(name="X", weight_min_kg=90, weight_max_kg=80))),
        ("circle", "areas[1].radius_km", alert(areas=(Area(description="a"), Area(description="b", radius_km=1.0)))),
        ("vehicle", "vehicles[0]", fugitive_sighting(vehicles=(Vehicle(plate_issuer="US-TX"),))),
        ("hold-story", "correlation", cargo_hold(action=HoldAction.RELEASED)),
        ("hold-story", "correlation", cargo_hold(action=HoldAction.CHANGED)),
    ],
)
def test_an_event_that_breaks_a_rule_is_refused_with_field_rule_and_hint(rule: str, field: str, event: Event) -> None:
    with pytest.raises(EventError) as caught:
        CODEC.check(event)
    assert (caught.value.rule, caught.value.field) == (rule, field)
    assert caught.value.code == ("label-invalid" if rule == "label" else "event-invalid")
    assert caught.value.hint


@pytest.mark.parametrize(
    "event",
    [
        *all_events(),
        alert(occurred_at=NOW + timedelta(minutes=5)),
        alert(correlation=STORY),
        alert(expires_at=None, person=None, areas=()),
        alert(person=WantedPerson(name="X", height_min_cm=170, height_max_cm=170, weight_max_kg=80)),
        cargo_hold(action=HoldAction.RELEASED, correlation=STORY),
        fugitive_sighting(vehicles=(), position=None),
        fugitive_sighting(remarks="Line one\n\tline two, \u00a0 José \u200f \U0001f697"),
    ],
)
def test_an_event_at_the_edge_of_the_rules_passes(event: Event) -> None:
    CODEC.check(event)


def test_a_refusal_repeats_nothing_of_the_event() -> None:
    secret = "HUNTER2"
    for event in (cargo_hold(port=secret + "*"), cargo_hold(mode=secret), cargo_hold(shipper=secret + "\x07")):
        with pytest.raises(EventError) as caught:
            CODEC.check(event)
        assert secret not in str(caught.value) + caught.value.hint
