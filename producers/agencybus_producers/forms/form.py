"""A form as an event: what people may leave out is filled in, numbers are written one way, faults name the line. Pure.

A form is one JSON object with the fields of its event type (docs/spec/events-v1.md). It leaves out what the bus makes
(`event_id`, `originator`, `reported_at`) and may leave out what the profile says (`label`, `programme`, `precedence`,
`handling`, whole or in part).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from agencybus.codec.json_form import line_of
from agencybus.errors import EventError
from agencybus_producers.changes import Entry, Plan, Planned
from agencybus_producers.notes import RefusedError
from agencybus_producers.stamp import Stamp, codec
from agencybus_schemas.events import Event

FORM_BYTES: Final = 1024 * 1024  # of a form; an event ends at 256 KiB
_OURS: Final = ("event_id", "originator", "reported_at")

_HINT: Final = "`agencybus event new` and the command's --sample show what belongs there."
Rewrite = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Form:
    """A form that was read.

    Attributes:
        where: name of the file.
        data: the file, to find lines in.
        event: what it says.
    """

    where: str
    data: bytes
    event: Event

    def error(self, field: str, what: str, hint: str, *, code: str = "event-invalid", rule: str = "form") -> EventError:
        """A fault of it that shows only beside what was published, with its line."""
        return placed(self.where, self.data, EventError(code, what, field=field, rule=rule, hint=hint))


Plans = Callable[[str, bytes, Mapping[str, Entry], Stamp], Planned | None]


def plan(
    forms: Iterable[tuple[str, bytes]], known: Mapping[str, Entry], stamp: Stamp, one: Plans
) -> tuple[Plan, list[EventError]]:
    """Plan what forms say, given what was published.

    Args:
        forms: name and content of each file, in the order in which they are to be published.
        known: what was published, by subject.
        stamp: time, label, programme and handling.
        one: plans one form; None if it was published before.

    Returns:
        The plan, and what is wrong with forms that are left out of it.
    """
    made, refused = Plan(), list[EventError]()
    subjects: set[str] = set()
    for name, data in forms:
        try:
            planned = one(name, data, known, stamp)
        except EventError as error:
            refused.append(error)
            continue
        if planned is None:
            made.unchanged += 1
        elif planned.entry.key in subjects:
            hint = "Send them one after the other: the second builds on what became of the first."
            refused.append(EventError("event-invalid", "a form before it is about the same", where=name, hint=hint))
        else:
            subjects.add(planned.entry.key)
            made.messages.append(planned)
    return made, refused


def placed(name: str, data: bytes, error: EventError) -> EventError:
    """The same error, with file and line."""
    line = line_of(data, error.field) if error.field else 1
    where = f"{name}:{line}: {error.field}" if error.field else f"{name}:{line}"
    return EventError(error.code, error.what, field=error.field, rule=error.rule, where=where, hint=error.hint)


def read(type_name: str, name: str, data: bytes, stamp: Stamp, rewrite: Rewrite) -> Form:
    """Read a form.

    Args:
        type_name: the event type.
        name: of the file, for errors.
        data: the file.
        stamp: time, label, programme and handling.
        rewrite: writes numbers of the form one way and replaces what is not the event's, in place; may raise
            RefusedError.

    Raises:
        EventError: `event-invalid`, `label-invalid` or `event-too-large`, with field, rule, hint and line.
    """
    if len(data) > FORM_BYTES:
        raise EventError("event-too-large", f"{len(data):,} bytes", where=name)
    given = _object(type_name, name, data)
    try:
        _check_ours(given)
        rewrite(given)
    except RefusedError as refused:
        error = EventError("event-invalid", refused.reason, field=refused.field, rule="form", hint=_HINT)
        raise placed(name, data, error) from None
    defaults = _defaults(given, stamp)
    try:
        event = codec().from_json(type_name, msgspec.json.encode(given), defaults=defaults)
    except EventError as error:
        raise placed(name, data, error) from None
    return Form(name, data, event)


def _object(type_name: str, name: str, data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        codec().from_json(type_name, data, source=name)  # says what is wrong with it, and where
        raise AssertionError("JSON that one decoder refuses and the other takes") from None


def _check_ours(given: Mapping[str, Any]) -> None:
    for key in _OURS:
        if key in given:
            raise RefusedError(key, "made by the bus: leave it out")


def _defaults(given: dict[str, Any], stamp: Stamp) -> dict[str, Any]:
    """Fields of the profile; those of its handling that the form gives are the form's."""
    defaults = stamp.common("")
    del defaults["reference"], defaults["occurred_at"], defaults["correlation"]
    if isinstance(handling := given.get("handling"), dict):
        given["handling"] = msgspec.to_builtins(defaults["handling"]) | handling
    return {name: value for name, value in defaults.items() if name not in given}


# --- for rewriting


def every(form: Mapping[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a list, with their paths; what is no list of objects is left to the schema's check."""
    members = form.get(name)
    for index, member in enumerate(members if isinstance(members, list) else ()):
        if isinstance(member, dict):
            yield f"{name}[{index}]", member


def rewritten(holder: dict[str, Any], path: str, name: str, write: Callable[[str], str]) -> None:
    """Write one text one way, in place.

    Args:
        holder: the object it stands in.
        path: of that object, empty for the form itself.
        name: of the text.
        write: makes it; raises ValueError.

    Raises:
        RefusedError: with the path of the text.
    """
    value = holder.get(name)
    if isinstance(value, str):
        try:
            holder[name] = write(value)
        except ValueError as error:
            raise RefusedError(f"{path}.{name}".lstrip("."), str(error)) from None
