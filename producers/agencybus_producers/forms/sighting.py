"""The sighting form: somebody saw a wanted person. Pure.

Besides the event's fields it may say `updates` or `cancels`, with the reference of an earlier form of this desk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agencybus_producers.changes import Change, Entry, Planned, differing
from agencybus_producers.forms import numbers
from agencybus_producers.forms.form import every, read, rewritten
from agencybus_producers.notes import RefusedError
from agencybus_producers.stamp import Stamp
from agencybus_schemas.events import CorrelationKind

TYPE: Final = "fugitive_sighting"
SOURCE: Final = "sighting-form"
_RELATIONS: Final = {"updates": CorrelationKind.UPDATES, "cancels": CorrelationKind.CANCELS}
_CHANGES: Final = {CorrelationKind.UPDATES: Change.UPDATED, CorrelationKind.CANCELS: Change.CANCELLED}
_PORTS: Final = {"USA": numbers.cbp_port, "MEX": numbers.aduana}
_NEXT: Final = 'Give the form a reference of its own, and the old one under "updates".'
_ISSUER: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")


def plan_one(name: str, data: bytes, known: Mapping[str, Entry], stamp: Stamp) -> Planned | None:
    """The message of a form, None if it was published before.

    Args:
        name: of the file.
        data: the file.
        known: what was published, by the reference of each story's first form.
        stamp: time, label, programme and handling.

    Raises:
        EventError: the form is wrong; with field, rule, hint and line.
    """
    newest = {entry.event.reference: entry for entry in known.values()}
    earlier: list[Entry] = []
    form = read(TYPE, name, data, stamp, lambda given: _rewrite(given, newest, earlier))
    event = form.event
    if sent := newest.get(event.reference):
        if not differing(sent.event, event) and sent.event.occurred_at == event.occurred_at:
            return None
        raise form.error("reference", "published before, with other content", _NEXT, code="reference-reused")
    if event.reference in known:
        raise form.error("reference", "published before, and updated since", _NEXT, code="reference-reused")
    change = _CHANGES[event.correlation.kind] if event.correlation else Change.NEW
    if not earlier:
        return Planned(change, Entry(event.reference, 1, event), (), name)
    entry = earlier[0]
    return Planned(change, Entry(entry.key, entry.serial + 1, event), differing(entry.event, event), name)


def _rewrite(form: dict[str, Any], newest: Mapping[str, Entry], earlier: list[Entry]) -> None:
    """Write numbers one way, and what earlier form it is about as the bus does."""
    for path, vehicle in every(form, "vehicles"):
        rewritten(vehicle, path, "plate", numbers.plate)
        rewritten(vehicle, path, "vin", numbers.vin)
        rewritten(vehicle, path, "plate_issuer", _issuer)
    if isinstance(document := form.get("document"), dict):
        rewritten(document, "document", "number", numbers.compact)
    if isinstance(country := form.get("country"), str) and country in _PORTS:
        rewritten(form, "", "port", _PORTS[country])
    for name, kind in _RELATIONS.items():
        if name not in form:
            continue
        if "correlation" in form:
            raise RefusedError(name, "one relation to one earlier event is enough")
        reference = form.pop(name)
        entry = newest.get(reference) if isinstance(reference, str) else None
        # A form that was published before names what was the newest then: it is compared, not refused.
        again = newest.get(form["reference"]) if isinstance(form.get("reference"), str) else None
        if again is None and (entry is None or not entry.stands):
            raise RefusedError(name, "not the newest form of a story that was sent from here and stands")
        if found := entry or again:
            earlier.append(found)
            form["correlation"] = msgspec.to_builtins(found.correlation(kind))


def _issuer(text: str) -> str:
    found = text.strip().upper()
    if found and not _ISSUER.fullmatch(found):
        raise ValueError("not a code of ISO 3166-2, such as US-TX or MX-NLE")
    return found
