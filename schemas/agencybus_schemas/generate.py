"""Make `events.py`, the typed classes, from the `.avsc` files: `python -m agencybus_schemas.generate [--check]`.

The schemas are the contract and the classes follow: nobody edits `events.py`, and CI runs `--check`. The output is
laid out as `ruff format` would lay it out, so that no formatter is needed to make it.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Final

from msgspec import UNSET

from agencybus.codec.gate import Examined, examine, python_pattern
from agencybus.codec.shape import (
    Array,
    Blob,
    Double,
    Enum,
    Field,
    Fixed,
    Int,
    Kind,
    Long,
    Named,
    One,
    Record,
    Text,
    bounds,
)
from agencybus.label import Precedence
from agencybus_schemas import load

LINE: Final = 120  # characters of a line, as in pyproject.toml
TARGET: Final = Path(__file__).with_name("events.py")
LAST_COMMON: Final = "correlation"  # fields up to this one are the common part of every event

_HEAD: Final = '''\
"""Typed classes of all events, made from the `.avsc` files. Do not edit: run `python -m agencybus_schemas.generate`."""

# No `from __future__ import annotations`: msgspec reads the annotations when a class is made.

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final
from uuid import UUID

from msgspec import Meta, Struct

from agencybus.label import Precedence

{exports}

Instant = Annotated[datetime, Meta(tz=True)]
"""A point in time with its offset from UTC; microseconds count."""
'''
_BARE: Final[dict[str, Int | Long | str]] = {"boolean": "bool", "int": Int(), "long": Long()}

BORROWED: Final = {"Precedence": tuple(Precedence)}
"""Enums that the bus has already, with their symbols: it decides by them, so there is only one of each."""


def class_name(name: str) -> str:
    """`cargo_hold` → `CargoHold`; names of nested types are classes already."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _literal(value: object) -> str:
    """A Python literal in the formatter's quotes."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def _meta(limits: dict[str, object]) -> str:
    """`Meta(…)` with the limits that are there."""
    return f"Meta({', '.join(f'{key}={_literal(value)}' for key, value in limits.items() if value is not None)})"


def _docstring(doc: str, fields: tuple[Field, ...]) -> list[str]:
    """A Google docstring: the schema's doc, and each field's."""
    first, _, rest = doc.partition(". ")
    lines = [f'"""{first.rstrip(".")}.']
    if len(lines[0]) > LINE - len('    """'):
        raise SystemExit(f"the first sentence of a doc fills more than a line: {first}")
    if rest:
        lines += ["", *textwrap.wrap(rest, LINE - 4)]
    if fields:
        lines += ["", "Attributes:"]
    for member in fields:
        text = f"{member.name}: {member.doc}"
        lines += textwrap.wrap(text, LINE - 4, initial_indent="    ", subsequent_indent="        ")
    if len(lines) == 1:
        lines[0] += '"""'
    else:
        lines.append('"""')
    return [f"    {line}".rstrip() for line in lines]


class _Writer:
    """Turns types into source text, with the named types of all schemas at hand."""

    def __init__(self, schemas: list[Examined]) -> None:
        self.named: dict[str, Named] = {}
        for schema in schemas:
            for name, kind in schema.named.items():
                if self.named.setdefault(name, kind) != kind:
                    raise SystemExit(f"{name} differs between two schemas: a name means one thing in all of them")

    def _parts(self, kind: One) -> tuple[str, dict[str, object]]:  # noqa: C901, PLR0911 - a case for each kind
        """Inner type and constraints of a type that is no union."""
        if isinstance(kind, str):
            kind = self.named.get(kind) or _BARE[kind]
        match kind:
            case Fixed(logical_type="uuid"):
                return "UUID", {}
            case Int(logical_type="date"):
                return "date", {}
            case Long(logical_type="timestamp-micros"):
                return "Instant", {}
            case Text():
                limits = {"min_length": kind.min_length or None, "max_length": kind.max_length}
                return "str", limits | {"pattern": kind.pattern and python_pattern(kind.pattern)}
            case Blob():
                return "bytes", {"min_length": kind.min_length or None, "max_length": kind.max_length}
            case Int() | Long():
                low, high = bounds(kind)
                return "int", {"ge": low, "le": high}
            case Double():
                return "float", {"ge": kind.minimum, "le": kind.maximum}
            case Array():
                return f"tuple[{self.annotation(kind.items)}, ...]", {"max_length": kind.max_items}
            case Fixed():
                return "bytes", {"min_length": kind.size, "max_length": kind.size}
            case Enum() | Record():
                return class_name(kind.name), {}
        return kind, {}

    def annotation(self, kind: Kind) -> str:
        """The annotation of a type, on one line."""
        if isinstance(kind, tuple):
            return f"{self.annotation(kind[1])} | None"
        inner, meta = self._parts(kind)
        return f"Annotated[{inner}, {_meta(meta)}]" if meta else inner

    def _default(self, member: Field) -> str:
        """`= …` of a field with a default, or nothing."""
        kind = self.named.get(member.type) if isinstance(member.type, str) else member.type
        if member.default is UNSET:
            return ""
        if isinstance(kind, Array):
            return " = ()"  # the gate lets only empty lists be defaults
        if isinstance(kind, Enum):
            return f" = {class_name(kind.name)}.{member.default}"
        return f" = {_literal(member.default)}"

    def _field(self, member: Field) -> list[str]:
        """One attribute of a class, broken as the formatter breaks it."""
        default = self._default(member)
        line = f"    {member.name}: {self.annotation(member.type)}{default}"
        inner, meta = ("", {}) if isinstance(member.type, tuple) else self._parts(member.type)
        if len(line) <= LINE or not meta:
            return [line]
        broken = f"        {inner}, {_meta(meta)}"
        body = [broken] if len(broken) <= LINE else [f"        {inner},", f"        {_meta(meta)},"]
        return [f"    {member.name}: Annotated[", *body, f"    ]{default}"]

    def enum(self, kind: Enum) -> list[str]:
        """The class of an enum."""
        body = [f"    {symbol} = {_literal(symbol)}" for symbol in kind.symbols]
        return ["", "", f"class {class_name(kind.name)}(StrEnum):", *_docstring(kind.doc, ()), "", *body]

    def struct(
        self, name: str, doc: str, fields: tuple[Field, ...], *, base: str = "Struct", type_name: str = ""
    ) -> list[str]:
        """The class of a record; `type_name` declares the class variable of an event."""
        head = f"class {name}({base}, frozen=True, kw_only=True, forbid_unknown_fields=True):"
        body = [line for member in fields for line in self._field(member)]
        variable = ["", f"    {type_name}"] if type_name else []
        return ["", "", head, *_docstring(doc, fields), *variable, "", *body]


def generate(schemas: list[Examined]) -> str:
    """The text of `events.py`.

    Raises:
        SystemExit: the common parts, or two definitions of one name, differ.
    """
    first = schemas[0].record
    count = [member.name for member in first.fields].index(LAST_COMMON) + 1
    common = first.fields[:count]
    writer = _Writer(schemas)
    events = [schema.record for schema in schemas]
    names = sorted(
        {"Event", "Instant", *(class_name(name) for name, kind in writer.named.items() if not isinstance(kind, Fixed))}
    )
    exports = "\n".join(f'    "{name}",' for name in ["TYPES", *names])
    lines = _HEAD.rstrip().replace("{exports}", f"__all__ = [\n{exports}\n]").split("\n")
    for name, kind in writer.named.items():
        if name in BORROWED:
            if not isinstance(kind, Enum) or kind.symbols != BORROWED[name]:
                raise SystemExit(f"{name}: the symbols are not the bus's own")
        elif isinstance(kind, Enum):
            lines += writer.enum(kind)
        elif isinstance(kind, Record) and kind not in events:
            lines += writer.struct(class_name(name), kind.doc, kind.fields)
    doc = "What every event carries, whatever its type. Each type's schema begins with these fields."
    lines += writer.struct("Event", doc, common, type_name="type_name: ClassVar[str]")
    for event in events:
        if event.fields[:count] != common:
            raise SystemExit(f"{event.name}: the common part differs from {first.name}'s")
        type_name = f"type_name: ClassVar[str] = {_literal(event.name)}"
        own = event.fields[count:]
        lines += writer.struct(class_name(event.name), event.doc, own, base="Event", type_name=type_name)
    lines += ["", "", "TYPES: Final[dict[str, type[Event]]] = {"]
    lines += [f"    {_literal(event.name)}: {class_name(event.name)}," for event in events]
    lines += ["}", '"""The class of each event type."""', ""]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write `events.py`, or with `--check` say whether it is what would be written."""
    text = generate([examine(family.current) for family in load()])
    if arguments == ["--check"]:
        same = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text
        if not same:
            sys.stderr.write("events.py is not what the schemas say: run python -m agencybus_schemas.generate\n")
        return 0 if same else 1
    if arguments:
        sys.stderr.write("usage: python -m agencybus_schemas.generate [--check]\n")
        return 2
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
