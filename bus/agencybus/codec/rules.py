"""What an event must be beyond its schema: rules that compare fields, or that know what a text means.

docs/spec/events-v1.md, section 3.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Final, NoReturn

from agencybus.codec.uuid7 import is_uuid7
from agencybus.errors import EventError, LabelError
from agencybus.label import Label
from agencybus.wire import limits
from agencybus_schemas.events import Alert, CargoHold, Event, FugitiveSighting, HoldAction

_SKEW: Final = timedelta(microseconds=limits.CLOCK_SKEW_US)


def _refuse(rule: str, field: str, what: str, hint: str) -> NoReturn:
    raise EventError("event-invalid", what, field=field, rule=rule, hint=hint)


@lru_cache(maxsize=1024)
def _label_fault(text: str) -> str:
    """Why a label is refused, or nothing. Parsing is 100 times dearer than looking up, and labels are few."""
    try:
        Label.parse(text)
    except LabelError as error:
        return error.what
    return ""


def check_rules(event: Event) -> None:
    """Check what the schema can't say; the structure was checked before.

    Raises:
        EventError: `event-invalid` with field, rule and hint; `label-invalid` for the label.
    """
    if fault := _label_fault(event.label):
        raise EventError("label-invalid", fault, field="label", rule="label")
    if not is_uuid7(event.event_id):
        hint = "Make it with agencybus.codec.uuid7(), or leave it out where the bus fills it in."
        _refuse("uuid7", "event_id", "no UUID of version 7", hint)
    if event.occurred_at > event.reported_at + _SKEW:
        hint = "Put events to come into the text, or check the clock and the time zones."
        _refuse("occurred-late", "occurred_at", "happens after it was reported", hint)
    if event.handling.retain_until <= event.reported_at:
        hint = "Give recipients a time until which they may keep it."
        _refuse("retention", "handling.retain_until", "not after reported_at", hint)
    if event.correlation is not None and event.event_id in {event.correlation.event_id, event.correlation.root}:
        _refuse("correlation", "correlation.event_id", "correlated with itself", "Name the event that came before.")
    _check_own(event)


def _check_own(event: Event) -> None:
    """Rules of single types."""
    match event:
        case Alert():
            _check_alert(event)
        case FugitiveSighting():
            for place, vehicle in enumerate(event.vehicles):
                if not (vehicle.plate or vehicle.vin or vehicle.description):
                    _refuse("vehicle", f"vehicles[{place}]", "says nothing", "Give plate, VIN or description.")
        case CargoHold():
            if event.action is not HoldAction.SET and event.correlation is None:
                hint = "CHANGED and RELEASED name the event that set the hold."
                _refuse("hold-story", "correlation", "missing", hint)


def _check_alert(alert: Alert) -> None:
    if alert.expires_at is not None and alert.expires_at <= alert.occurred_at:
        _refuse("expiry", "expires_at", "ends before it begins", "Leave it out if the alert stands until cancelled.")
    if (person := alert.person) is not None:
        _check_range("height", person.height_min_cm, person.height_max_cm, "person.height_min_cm")
        _check_range("weight", person.weight_min_kg, person.weight_max_kg, "person.weight_min_kg")
    for place, area in enumerate(alert.areas):
        if len({area.latitude_deg is None, area.longitude_deg is None, area.radius_km is None}) > 1:
            hint = "A circle takes latitude, longitude and radius."
            _refuse("circle", f"areas[{place}].radius_km", "half a circle", hint)


def _check_range(what: str, least: int | None, most: int | None, field: str) -> None:
    if least is not None and most is not None and least > most:
        _refuse("range", field, f"least {what} above the greatest", "Exchange the two.")
