"""The hold form: customs holds cargo, changes the hold or releases it. Pure.

A hold is a state with a number. The desk remembers which holds stand, so a form that changes or releases one needs no
event id; a form without a `reference` gets one of the hold's number and a count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agencybus_producers.changes import Change, Entry, Planned, differing
from agencybus_producers.forms import numbers
from agencybus_producers.forms.form import Form, every, read, rewritten
from agencybus_producers.notes import RefusedError
from agencybus_producers.stamp import Stamp
from agencybus_schemas.events import CargoHold, CorrelationKind, HoldAction

TYPE: Final = "cargo_hold"
SOURCE: Final = "hold-form"
_PORTS: Final = {"CBP": numbers.cbp_port, "ANAM": numbers.aduana}
_CHANGES: Final = {
    HoldAction.SET: Change.NEW,
    HoldAction.CHANGED: Change.UPDATED,
    HoldAction.RELEASED: Change.CANCELLED,
}
_KINDS: Final = {"CHANGED": CorrelationKind.UPDATES, "RELEASED": CorrelationKind.CANCELS}


def plan_one(name: str, data: bytes, known: Mapping[str, Entry], stamp: Stamp) -> Planned | None:
    """The message of a form, None if it was published before.

    Args:
        name: of the file.
        data: the file.
        known: what was published, by number of the hold.
        stamp: time, label, programme and handling.

    Raises:
        EventError: the form is wrong, or does not follow what was published; with field, rule, hint and line.
    """
    form = read(TYPE, name, data, stamp, lambda given: _rewrite(given, known))
    hold = form.event
    assert isinstance(hold, CargoHold)
    entry = known.get(hold.hold_number)
    if entry is None:
        return Planned(_CHANGES[hold.action], Entry(hold.hold_number, 1, hold), (), name)
    fields = differing(entry.event, hold)
    if not fields:
        return None
    _check_order(form, hold, entry)
    return Planned(_CHANGES[hold.action], Entry(hold.hold_number, entry.serial + 1, hold), fields, name)


def _check_order(form: Form, hold: CargoHold, entry: Entry) -> None:
    if not entry.stands:
        raise form.error("hold_number", "this hold was released", "A new hold takes a new number.")
    if hold.action is HoldAction.SET:
        raise form.error("action", "this hold is set already", "CHANGED changes it, RELEASED ends it.")
    if hold.reference == entry.event.reference:
        hint = "Leave the reference out, or give the form one of its own."
        raise form.error("reference", "published before, with other content", hint, code="reference-reused")


def _rewrite(form: dict[str, Any], known: Mapping[str, Entry]) -> None:
    """Write numbers one way, and name the message before, as the bus does."""
    for name in ("hold_number", "bill", "house_bill", "carrier_scac", "disposition"):
        rewritten(form, "", name, lambda text: text.strip().upper())
    rewritten(form, "", "pedimento", numbers.pedimento)
    if isinstance(system := form.get("code_system"), str) and system in _PORTS:
        rewritten(form, "", "port", _PORTS[system])
    seen: set[str] = set()
    for path, container in every(form, "containers"):
        sized = bool(container.get("size_type"))
        rewritten(container, path, "number", numbers.container if sized else numbers.equipment)
        if (number := str(container.get("number"))) in seen:
            raise RefusedError(f"{path}.number", "given twice")
        seen.add(number)
    for path, line in every(form, "lines"):
        rewritten(line, path, "hs_code", numbers.hs_code)
    _follow(form, known)


def _follow(form: dict[str, Any], known: Mapping[str, Entry]) -> None:
    """Reference and correlation, where the form leaves them out."""
    number, action = form.get("hold_number"), form.get("action")
    if not isinstance(number, str) or not isinstance(action, str):
        return  # the schema's check says what is wrong
    entry = known.get(number)
    form.setdefault("reference", f"{number}/{entry.serial + 1 if entry else 1}")
    if action in _KINDS and entry:
        form.setdefault("correlation", msgspec.to_builtins(entry.correlation(_KINDS[action])))
    if action in _KINDS and "correlation" not in form:
        raise RefusedError(
            "hold_number", "no hold with this number was set from here; of another desk's hold give the correlation"
        )
