"""Events as JSON, as people and agency systems write them: what is wrong, in which field, on which line, and a hint."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final

import msgspec

from agencybus.codec import shape
from agencybus.codec.gate import Examined
from agencybus.codec.shape import Array, Enum, Record
from agencybus.errors import EventError

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_NAME_CHARS: Final = 64  # characters of a name from outside that an error repeats


@dataclass(frozen=True, slots=True)
class Fault:
    """What msgspec found, in our words.

    Attributes:
        what: what is wrong; never the value.
        field: dotted path of the field, or empty.
        hint: what belongs there, or None if nothing is known of it.
    """

    what: str
    field: str
    hint: str | None


def _steps(path: str) -> list[str | int]:
    """`lines[0].hs_code` → `["lines", 0, "hs_code"]`."""
    found = _STEP.findall("." + path if path and path[0] != "[" else path)
    return [int(index) if index else name for name, index in found]


def _resolve(kind: shape.Kind, schema: Examined) -> shape.Kind:
    """A type behind its name and without null."""
    if isinstance(kind, tuple):
        kind = kind[1]
    return schema.named.get(kind, kind) if isinstance(kind, str) else kind


def _hint(path: str, schema: Examined) -> str | None:
    """The doc of a field, with the symbols of an enum and an example."""
    kind: shape.Kind = schema.record
    hint = None
    for step in _steps(path):
        kind = _resolve(kind, schema)
        if isinstance(kind, Array) and isinstance(step, int):
            kind = kind.items
            continue
        member = next((m for m in kind.fields if m.name == step), None) if isinstance(kind, Record) else None
        if member is None:
            return None
        kind, hint = member.type, member.doc
        if isinstance(final := _resolve(kind, schema), Enum):
            hint += f" One of {', '.join(final.symbols)}."
        elif member.example is not msgspec.UNSET:
            hint += f" Example: {member.example}."
    return hint


def _unknown(path: str, schema: Examined) -> str | None:
    """Known fields that are spelled like an unknown one."""
    *parents, name = _steps(path)
    kind: shape.Kind = schema.record
    for step in parents:
        kind = _resolve(kind, schema)
        if isinstance(kind, Array):
            kind = kind.items
        elif isinstance(kind, Record):
            kind = next((m.type for m in kind.fields if m.name == step), "")
    kind = _resolve(kind, schema)
    names = [m.name for m in kind.fields] if isinstance(kind, Record) else []
    close = difflib.get_close_matches(str(name), names, n=1)
    return f"Did you mean {close[0]}?" if close else None


def fault_of(error: msgspec.ValidationError, schema: Examined) -> Fault:
    """Put a structural error into our words."""
    what, _, path = str(error).partition(" - at ")
    path = path.strip("`").removeprefix("$").removeprefix(".")
    if found := re.fullmatch(r"Object (missing required|contains unknown) field `(.*)`", what, re.DOTALL):
        name = ascii(found[2])[1:-1][:_NAME_CHARS]
        path = f"{path}.{name}".lstrip(".")
        if found[1] == "missing required":
            return Fault("missing", path, _hint(path, schema))
        return Fault("unknown field", path, _unknown(path, schema))
    if what.startswith("Invalid enum value"):
        what = "not one of the symbols"  # msgspec would repeat the value
    return Fault(what.replace(r"\\Z'", "$'"), path, _hint(path, schema))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an event's JSON came from.

    Attributes:
        data: the JSON.
        source: name of the file, or empty.
        line: number of the line in it where the JSON begins.
    """

    data: bytes
    source: str
    line: int

    def error(self, code: str, fault: Fault, rule: str, *, line: int = 1) -> EventError:
        """The error for a fault, with the place: `line` counts within the JSON."""
        number = self.line + line - 1
        place = f"{self.source}:{number}" if self.source else f"line {number}"
        where = f"{place}: {fault.field}" if fault.field else place
        return EventError(code, fault.what, field=fault.field, rule=rule, line=number, where=where, hint=fault.hint)

    def broken(self, error: Exception) -> EventError:
        """The error for something that is no JSON at all."""
        line, what = 1, str(error)
        if isinstance(error, UnicodeDecodeError):
            line, what = line_at(self.data, error.start), "no UTF-8"
        elif isinstance(error, RecursionError):
            what = "too many brackets inside each other"
        elif found := re.search(r" \(byte (\d+)\)", what):
            line, what = line_at(self.data, int(found[1])), what.replace(found[0], "")
        return self.error("event-invalid", Fault(what, "", "One JSON object in UTF-8 per event."), "json", line=line)


def line_at(data: bytes, offset: int) -> int:
    """Number of the line, from 1, that holds a byte."""
    return data.count(b"\n", 0, offset) + 1


def line_of(data: bytes, path: str) -> int:
    """Number of the line, from 1, where the value of a field begins; of the nearest part around it, if it is missing.

    Args:
        data: JSON, or the beginning of it and then anything: a parser may have stopped before it saw the rest.
        path: such as `lines[0].hs_code`.
    """
    target, best, depth = _steps(path), 0, -1
    here: list[str | int | None] = []  # where the next value belongs; None until the key of an object's value is read
    for token in _TOKEN.finditer(data):
        text = token[0]
        last = here[-1] if here else 0
        if text == b",":
            here[-1:] = [last + 1 if isinstance(last, int) else None] if here else []
        elif text in {b"]", b"}"}:
            here[-1:] = []
        elif last is None:
            here[-1] = text[1:-1].decode(errors="replace")  # with escapes as they are: no name of ours has any
        elif text != b":":
            if here == target[: len(here)] and len(here) > depth:
                best, depth = token.start(), len(here)
            if text in {b"[", b"{"}:
                here.append(None if text == b"{" else 0)
    return line_at(data, best)
