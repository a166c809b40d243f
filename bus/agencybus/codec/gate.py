"""The schema gate: what a schema must be before fastavro sees it (docs/spec/events-v1.md, section 4).

fastavro trusts its schemas: a recursive one kills the process at depth 5,000, and five bytes of an `array<null>`
make a hundred million items. So only a small, closed part of Avro comes in. In it an encoded event has exactly one
form, decoding costs no more than the input's length, and nothing recurses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from agencybus.errors import SchemaError
from agencybus.wire import limits

SCHEMA_BYTES: Final = 128 * limits.KIB  # bytes of an .avsc; the largest of ours has 20 KiB
NESTING: Final = 64  # brackets of JSON inside each other; a type takes up to 5 and DEPTH types nest
DEPTH: Final = 16  # types inside each other, names resolved
FIELDS: Final = 256  # fields of all records together
NAME_CHARS: Final = 256  # characters of a name
SYMBOLS: Final = 256  # symbols of an enum
DEFAULT_BYTES: Final = 1024  # bytes of a default as JSON: it is built anew for every old event that is read
FIXED_BYTES: Final = 1024  # bytes of a fixed

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
_LOGICAL: Final = {("fixed", "uuid"), ("long", "timestamp-micros"), ("int", "date")}
_INT: Final = {"int": 31, "long": 63}  # bits beside the sign
_LEAST_BYTES: Final = {"null": 0, "boolean": 1, "int": 1, "long": 1, "double": 8, "bytes": 1, "string": 1}

_NUMBER: Final = frozenset({"minimum", "maximum"})
_TEXT: Final = frozenset({"minLength", "maxLength", "pattern"})
_ATTRIBUTES: Final[Mapping[str, frozenset[str]]] = {
    "record": frozenset({"type", "name", "namespace", "doc", "fields", "compress"}),
    "enum": frozenset({"type", "name", "doc", "symbols", "default"}),
    "fixed": frozenset({"type", "name", "doc", "size", "logicalType"}),
    "array": frozenset({"type", "items", "maxItems"}),
    "map": frozenset({"type", "values"}),
    "null": frozenset({"type"}),
    "boolean": frozenset({"type"}),
    "int": frozenset({"type", "logicalType"}) | _NUMBER,
    "long": frozenset({"type", "logicalType"}) | _NUMBER,
    "double": frozenset({"type"}) | _NUMBER,
    "bytes": frozenset({"type"}),
    "string": frozenset({"type"}) | _TEXT,
}
_FIELD: Final = frozenset({"name", "type", "doc", "default", "example"})

RULES: Final[Mapping[str, str]] = {
    "not-json": "a schema is one JSON object in UTF-8 without repeated keys",
    "too-large": f"a schema has at most {SCHEMA_BYTES} bytes, and its smallest event at most {limits.EVENT_BYTES}",
    "too-deep": f"at most {DEPTH} types are inside each other",
    "too-many-fields": f"all records together have at most {FIELDS} fields",
    "name": f"a name is [A-Za-z_][A-Za-z0-9_]* of at most {NAME_CHARS} characters, used once",
    "attribute": "attributes are the ones in docs/spec/events-v1.md, with values of their kind; no aliases",
    "type": "types are Avro's without float, and names defined above",
    "recursive": "a type never holds itself",
    "empty-item": "an item of an array or map has at least one byte",
    "union": "a union is null and one other type",
    "logical-type": "logical types are uuid (fixed 16), timestamp-micros (long) and date (int)",
    "default": f"a default fits its type and has at most {DEFAULT_BYTES} bytes; of lists only the empty one",
    "doc": "every record, enum and field has a doc",
}
"""Name of each rule → the rule."""


def _refuse(rule: str, what: str, path: str) -> NoReturn:
    shown = path if len(path) <= limits.TEXT_BYTES else path[: limits.TEXT_BYTES] + "…"
    raise SchemaError("schema-refused", f"{rule}: {what}; {RULES[rule]}", where=shown)


@dataclass(frozen=True, slots=True)
class Examined:
    """A schema that passed the gate.

    Attributes:
        name: name of the record, which is the event type.
        tree: the schema as JSON values.
        compress: whether frames of this type may be compressed.
    """

    name: str
    tree: dict[str, Any]
    compress: bool


@dataclass(frozen=True, slots=True)
class _Size:
    """What a type can cost.

    Attributes:
        least: bytes of its smallest value.
        height: types inside each other, itself counted.
    """

    least: int
    height: int


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a repeated key would mean one thing to us and another to the next parser."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("repeated key")
    return result


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which are no JSON."""
    raise ValueError(name)


def _parse(avsc: bytes) -> dict[str, Any]:
    """JSON values of a schema. Nesting is measured before the recursive parser runs."""
    if len(avsc) > SCHEMA_BYTES:
        _refuse("too-large", f"{len(avsc)} bytes", "")
    depth = 0
    for token in _BRACKET.finditer(avsc):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if depth > NESTING:
            _refuse("too-deep", "brackets", f"byte {token.start()}")
    try:
        tree = json.loads(avsc.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except ValueError:
        _refuse("not-json", "it does not parse", "")
    if not isinstance(tree, dict) or tree.get("type") != "record":
        _refuse("type", "the outermost type is no record", "")
    return tree


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(slots=True)
class _Walk:
    """One pass over a schema.

    Attributes:
        sizes: size of each named type that is complete.
        open: named records that are being defined.
        fields: fields seen.
        enums: symbols of each enum.
    """

    sizes: dict[str, _Size] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    fields: int = 0
    enums: dict[str, list[str]] = field(default_factory=dict)

    def type(self, kind: Any, path: str, depth: int) -> _Size:
        """Check a type; give its size."""
        if depth > DEPTH:
            _refuse("too-deep", "types", path)
        if isinstance(kind, str):
            size = self._name(kind, path)
        elif isinstance(kind, list):
            size = self._union(kind, path, depth)
        else:
            size = self._object(kind, path, depth)
        if depth + size.height - 1 > DEPTH:
            _refuse("too-deep", "types, names resolved", path)
        if size.least > limits.EVENT_BYTES:
            _refuse("too-large", f"the smallest value has {size.least} bytes", path)
        return size

    def _name(self, kind: str, path: str) -> _Size:
        if kind in _LEAST_BYTES:
            return _Size(_LEAST_BYTES[kind], 1)
        if kind in self.open:
            _refuse("recursive", f"{kind[:NAME_CHARS]!r} holds itself", path)
        if kind not in self.sizes:
            _refuse("type", f"{kind[:NAME_CHARS]!r} is unknown", path)
        return self.sizes[kind]

    def _union(self, kind: list[Any], path: str, depth: int) -> _Size:
        if len(kind) != 2 or kind[0] != "null" or kind[1] == "null" or isinstance(kind[1], list):  # noqa: PLR2004 - null and one more
            _refuse("union", "another union", path)
        inner = self.type(kind[1], path, depth + 1)
        if inner.least == 0:  # an empty record would be the one thing beside null that has no bytes
            _refuse("union", "the other type can be empty", path)
        return _Size(1, inner.height + 1)

    def _object(self, kind: Any, path: str, depth: int) -> _Size:
        base = kind.get("type") if isinstance(kind, dict) else None
        if not isinstance(base, str) or base not in _ATTRIBUTES:
            _refuse("type", "no type that is known", path)
        self._attributes(kind, base, path)
        match base:
            case "record":
                return self._record(kind, path, depth)
            case "enum":
                return self._enum(kind, path)
            case "fixed":
                self._define(kind, path)
                if not _is_int(kind.get("size")) or not 0 < kind["size"] <= FIXED_BYTES:
                    _refuse("attribute", "size", path)
                return self._done(kind, _Size(kind["size"], 1))
            case "array" | "map":
                item = self.type(kind.get("items" if base == "array" else "values"), f"{path}[]", depth + 1)
                if item.least == 0:
                    _refuse("empty-item", "an item can be empty", path)
                return _Size(1, item.height + 1)
        return _Size(_LEAST_BYTES[base], 1)

    def _attributes(self, kind: dict[str, Any], base: str, path: str) -> None:
        if unknown := kind.keys() - _ATTRIBUTES[base]:
            _refuse("attribute", f"{min(unknown)[:NAME_CHARS]!r} of {base}", path)
        if (logical := kind.get("logicalType")) is not None:
            good = isinstance(logical, str) and (base, logical) in _LOGICAL
            if not good or (base == "fixed" and kind.get("size") != 16):  # noqa: PLR2004 - bytes of a UUID
                _refuse("logical-type", f"on {base}", path)
            if kind.keys() & _NUMBER:
                _refuse("attribute", "a range on a logical type", path)
        for key in ("minLength", "maxLength", "maxItems"):
            if key in kind and (not _is_int(kind[key]) or kind[key] < 0):
                _refuse("attribute", key, path)
        for key in _NUMBER & kind.keys():
            good = _is_number(kind[key]) if base == "double" else _is_int(kind[key])
            if not good or (base in _INT and not -(2 ** _INT[base]) <= kind[key] < 2 ** _INT[base]):
                _refuse("attribute", key, path)
        if "pattern" in kind:
            self._pattern(kind["pattern"], path)

    def _pattern(self, pattern: object, path: str) -> None:
        """A pattern is one or more character classes in a row: nothing that backtracks."""
        simple = r"\^(?:(?:\[(?:[^\]\[\\]|\\[\w.-])+\]|\\\.|[\w/.-])(?:\+|\*|\{\d+(?:,\d+)?\})?)+\$"
        if not isinstance(pattern, str) or len(pattern) > NAME_CHARS or not re.fullmatch(simple, pattern):
            _refuse("attribute", "pattern", path)
        try:
            re.compile(pattern)
        except re.error:
            _refuse("attribute", "pattern", path)

    def _define(self, kind: dict[str, Any], path: str) -> str:
        name = kind.get("name")
        if not isinstance(name, str) or len(name) > NAME_CHARS or not _NAME.fullmatch(name):
            _refuse("name", "of a type", path)
        if name in self.sizes or name in self.open or name in _ATTRIBUTES or name in {"float", "error", "union"}:
            _refuse("name", f"{name!r} is taken", path)
        return name

    def _done(self, kind: dict[str, Any], size: _Size) -> _Size:
        self.open.discard(kind["name"])
        self.sizes[kind["name"]] = size
        return size

    def _doc(self, kind: dict[str, Any], path: str) -> None:
        if not isinstance(kind.get("doc"), str) or not kind["doc"].strip():
            _refuse("doc", "missing", path)

    def _enum(self, kind: dict[str, Any], path: str) -> _Size:
        name = self._define(kind, path)
        self._doc(kind, path)
        symbols = kind.get("symbols")
        if not isinstance(symbols, list) or not 0 < len(symbols) <= SYMBOLS:
            _refuse("attribute", "symbols", path)
        if not all(isinstance(item, str) and len(item) <= NAME_CHARS and _NAME.fullmatch(item) for item in symbols):
            _refuse("name", "of a symbol", path)
        if len(set(symbols)) != len(symbols):
            _refuse("name", "a symbol twice", path)
        if "default" in kind and kind["default"] not in symbols:
            _refuse("default", "of an enum", path)
        self.enums[name] = symbols
        return self._done(kind, _Size(1, 1))

    def _record(self, kind: dict[str, Any], path: str, depth: int) -> _Size:
        name = self._define(kind, path)
        self._doc(kind, path)
        outermost = depth == 1
        if not outermost and kind.keys() & {"namespace", "compress"}:
            _refuse("attribute", "namespace or compress inside", path)
        if outermost and (kind.get("namespace") != "agencybus" or not isinstance(kind.get("compress", True), bool)):
            _refuse("attribute", "namespace is agencybus, compress true or false", path)
        self.open.add(name)
        members = kind.get("fields")
        if not isinstance(members, list) or not members:
            _refuse("attribute", "fields", path)
        self.fields += len(members)
        if self.fields > FIELDS:
            _refuse("too-many-fields", f"{self.fields}", path)
        seen: set[str] = set()
        sizes = [self._field(member, path, depth, seen) for member in members]
        size = _Size(sum(size.least for size in sizes), 1 + max(size.height for size in sizes))
        return self._done(kind, size)

    def _field(self, member: Any, path: str, depth: int, seen: set[str]) -> _Size:
        name = member.get("name") if isinstance(member, dict) else None
        if not isinstance(name, str) or len(name) > NAME_CHARS or not _NAME.fullmatch(name) or name in seen:
            _refuse("name", "of a field", path)
        seen.add(name)
        here = f"{path}.{name}" if path else name
        if unknown := member.keys() - _FIELD:
            _refuse("attribute", f"{min(unknown)[:NAME_CHARS]!r} of a field", here)
        self._doc(member, here)
        size = self.type(member.get("type"), here, depth + 1)
        if "default" in member:
            value = member["default"]
            if len(json.dumps(value)) > DEFAULT_BYTES or not self._fits(value, member["type"]):
                _refuse("default", "of a field", here)
        return size

    def _fits(self, value: Any, kind: Any) -> bool:
        """Whether a default is one of its type; records, maps and full lists can't be defaults."""
        if isinstance(kind, list):
            return value is None
        if isinstance(kind, dict) and (kind.get("logicalType") or kind["type"] in {"fixed", "bytes"}):
            return False  # their JSON form is another than their value: an old event would get a surprise
        name = kind if isinstance(kind, str) else kind["name"] if "name" in kind else kind["type"]
        if name in self.enums:
            return value in self.enums[name]
        checks: dict[str, Callable[[Any], bool]] = {
            "string": lambda text: isinstance(text, str),
            "boolean": lambda flag: isinstance(flag, bool),
            "int": lambda number: _is_int(number) and -(2**31) <= number < 2**31,
            "long": lambda number: _is_int(number) and -(2**63) <= number < 2**63,
            "double": _is_number,
            "array": lambda items: items == [],
        }
        return name in checks and checks[name](value) and _within(value, kind)


def _within(value: Any, kind: Any) -> bool:
    """Whether a default keeps the constraints of its type."""
    if not isinstance(kind, dict) or isinstance(value, bool):
        return True
    if isinstance(value, str):
        length = kind.get("minLength", 0) <= len(value) <= kind.get("maxLength", len(value))
        return length and ("pattern" not in kind or re.search(kind["pattern"], value) is not None)
    if _is_number(value):
        return bool(kind.get("minimum", value) <= value <= kind.get("maximum", value))
    return True


def examine(avsc: bytes) -> Examined:
    """Let a schema through the gate, or refuse it.

    Args:
        avsc: the exact bytes of an .avsc file.

    Returns:
        The schema, fit to be given to fastavro.

    Raises:
        SchemaError: `schema-refused`; the sentence begins with the rule's name, a key of `RULES`.
    """
    tree = _parse(avsc)
    _Walk().type(tree, "", 1)
    return Examined(tree["name"], tree, tree.get("compress", True))
