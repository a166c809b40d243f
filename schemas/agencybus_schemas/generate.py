"""Make `events.py`, the typed classes, from the `.avsc` files: `python -m agencybus_schemas.generate [--check]`.

The schemas are the contract and the classes follow: nobody edits `events.py`, and CI runs `--check`. The output is
laid out as `ruff format` would lay it out, so that no formatter is needed to make it.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any, Final

from agencybus.codec.gate import examine
from agencybus_schemas import load

Json = Any
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

Instant = Annotated[datetime, Meta(tz=True)]
"""A point in time with its offset from UTC; microseconds count."""
'''
_RANGES: Final = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_LOGICAL: Final = {"uuid": "UUID", "timestamp-micros": "Instant", "date": "date"}
_PLAIN: Final = {"string": "str", "bytes": "bytes", "boolean": "bool", "double": "float", "null": "None"}
_META: Final = {
    "minLength": "min_length",
    "maxLength": "max_length",
    "maxItems": "max_length",
    "pattern": "pattern",
    "minimum": "ge",
    "maximum": "le",
}


def class_name(name: str) -> str:
    """`cargo_hold` → `CargoHold`; names of nested types are classes already."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _literal(value: object) -> str:
    """A Python literal in the formatter's quotes."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def _docstring(doc: str, fields: list[Json]) -> list[str]:
    """A Google docstring: the schema's doc, and each field's."""
    first, _, rest = doc.partition(". ")
    lines = [f'"""{first.rstrip(".")}.']
    if len(lines[0]) > LINE - len('    """'):
        raise SystemExit(f"the first sentence of a doc fills more than a line: {first}")
    if rest:
        lines += ["", *textwrap.wrap(rest, LINE - 4)]
    if fields:
        lines += ["", "Attributes:"]
    for field in fields:
        text = f"{field['name']}: {field['doc']}"
        lines += textwrap.wrap(text, LINE - 4, initial_indent="    ", subsequent_indent="        ")
    if len(lines) == 1:
        lines[0] += '"""'
    else:
        lines.append('"""')
    return [f"    {line}".rstrip() for line in lines]


class _Writer:
    """Turns schemas into source text, with the named types of all schemas at hand."""

    def __init__(self) -> None:
        self.named: dict[str, Json] = {}

    def collect(self, kind: Json) -> None:
        """Note the named types inside a type, inner ones first.

        Raises:
            SystemExit: two schemas define one name differently.
        """
        if isinstance(kind, list):
            self.collect(kind[1])
        if not isinstance(kind, dict):
            return
        for field in kind.get("fields", []):
            self.collect(field["type"])
        self.collect(kind.get("items", kind.get("values")))
        if "name" in kind and self.named.setdefault(kind["name"], kind) != kind:
            raise SystemExit(f"{kind['name']} differs between two schemas: a name means one thing in all of them")

    def _parts(self, kind: Json) -> tuple[str, str]:
        """Inner type and constraints of a type: `("str", "max_length=3")`."""
        kind = self.named.get(kind, {"type": kind}) if isinstance(kind, str) else kind
        base = kind["type"]
        limits = {_META[key]: value for key, value in kind.items() if key in _META}
        if (logical := kind.get("logicalType")) is not None:
            return _LOGICAL[logical], ""
        match base:
            case "array":
                inner = f"tuple[{self.annotation(kind['items'])}, ...]"
            case "map":
                inner = f"dict[str, {self.annotation(kind['values'])}]"
            case "fixed":
                inner, limits = "bytes", {"min_length": kind["size"], "max_length": kind["size"]}
            case "record" | "enum":
                inner = class_name(kind["name"])
            case "int" | "long":
                inner, (low, high) = "int", _RANGES[base]
                limits = {"ge": max(low, limits.get("ge", low)), "le": min(high, limits.get("le", high))}
            case _:
                inner = _PLAIN[base]
        return inner, ", ".join(f"{key}={_literal(value)}" for key, value in limits.items())

    def annotation(self, kind: Json) -> str:
        """The annotation of a type, on one line."""
        if isinstance(kind, list):
            return f"{self.annotation(kind[1])} | None"
        inner, limits = self._parts(kind)
        return f"Annotated[{inner}, Meta({limits})]" if limits else inner

    def _default(self, field: Json) -> str:
        """`= …` of a field with a default, or nothing."""
        if "default" not in field:
            return ""
        value, kind = field["default"], field["type"]
        name = kind.get("name") if isinstance(kind, dict) else kind
        if isinstance(value, list):
            return " = ()"  # the gate lets only empty lists be defaults
        if isinstance(name, str) and name in self.named:
            return f" = {class_name(name)}.{value}"  # of named types it lets only enums have defaults
        return f" = {_literal(value)}"

    def _field(self, field: Json) -> list[str]:
        """One attribute of a class, broken as the formatter breaks it."""
        kind, default = field["type"], self._default(field)
        line = f"    {field['name']}: {self.annotation(kind)}{default}"
        inner, limits = ("", "") if isinstance(kind, list) else self._parts(kind)
        if len(line) <= LINE or not limits:
            return [line]
        broken = f"        {inner}, Meta({limits})"
        body = [broken] if len(broken) <= LINE else [f"        {inner},", f"        Meta({limits}),"]
        return [f"    {field['name']}: Annotated[", *body, f"    ]{default}"]

    def enum(self, kind: Json) -> list[str]:
        """The class of an enum."""
        body = [f"    {symbol} = {_literal(symbol)}" for symbol in kind["symbols"]]
        return ["", "", f"class {class_name(kind['name'])}(StrEnum):", *_docstring(kind["doc"], []), "", *body]

    def struct(self, kind: Json, *, base: str = "Struct", type_name: str = "") -> list[str]:
        """The class of a record.

        Args:
            kind: the record.
            base: name of the class below it.
            type_name: declaration of the class variable, if the class is an event's.
        """
        head = f"class {class_name(kind['name'])}({base}, frozen=True, kw_only=True, forbid_unknown_fields=True):"
        body = [line for field in kind["fields"] for line in self._field(field)]
        variable = ["", f"    {type_name}"] if type_name else []
        return ["", "", head, *_docstring(kind["doc"], kind["fields"]), *variable, "", *body]


def generate(schemas: list[Json]) -> str:
    """The text of `events.py`.

    Args:
        schemas: all schemas as JSON values, each let through the gate.

    Raises:
        SystemExit: the common parts or two definitions of one name differ.
    """
    names = [field["name"] for field in schemas[0]["fields"]]
    count = names.index(LAST_COMMON) + 1
    common = schemas[0]["fields"][:count]
    writer = _Writer()
    for schema in schemas:
        if schema["fields"][:count] != common:
            raise SystemExit(f"{schema['name']}: the common part differs from {schemas[0]['name']}'s")
        for field in schema["fields"]:
            writer.collect(field["type"])
    lines = _HEAD.rstrip().split("\n")
    for kind in writer.named.values():
        if kind["type"] == "enum":
            lines += writer.enum(kind)
        if kind["type"] == "record":
            lines += writer.struct(kind)
    doc = "What every event carries, whatever its type. Each type's schema begins with these fields."
    lines += writer.struct({"name": "Event", "doc": doc, "fields": common}, type_name="type_name: ClassVar[str]")
    for schema in schemas:
        own = schema | {"fields": schema["fields"][count:]}
        type_name = f"type_name: ClassVar[str] = {_literal(schema['name'])}"
        lines += writer.struct(own, base="Event", type_name=type_name)
    lines += ["", "", "TYPES: Final[dict[str, type[Event]]] = {"]
    lines += [f"    {_literal(schema['name'])}: {class_name(schema['name'])}," for schema in schemas]
    lines += ["}", '"""The class of each event type."""', ""]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write `events.py`, or with `--check` say whether it is what would be written."""
    text = generate([examine(family.current).tree for family in load()])
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
