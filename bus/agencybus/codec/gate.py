"""The schema gate: what a schema must be before anything is read with it (docs/spec/events-v1.md, section 4).

fastavro trusts its schemas: a recursive one kills the process at depth 5,000, and five bytes of an `array<null>`
make a hundred million items. So only a small, closed part of Avro comes in (`shape.py`). In it an encoded event has
exactly one form, decoding costs no more than the input's length, and nothing recurses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import msgspec
from msgspec import UNSET

from agencybus.codec import shape
from agencybus.codec.shape import Array, Double, Enum, Fixed, Int, Long, Named, Record, Text
from agencybus.errors import SchemaError
from agencybus.wire import limits

SCHEMA_BYTES: Final = 128 * limits.KIB  # bytes of an .avsc; the largest of ours has 20 KiB
NESTING: Final = 64  # brackets of JSON inside each other; a type takes up to 4 and DEPTH types nest
DEPTH: Final = 16  # types inside each other, names resolved
DEFAULT_BYTES: Final = 1024  # bytes of a default as JSON: it is built anew for every old event that is read
OPEN_REPETITIONS: Final = 2  # repetitions of open length in a pattern: 256² steps at worst

RULES: Final[Mapping[str, str]] = {
    "not-json": "a schema is one JSON object in UTF-8 without repeated keys",
    "too-large": f"a schema has at most {SCHEMA_BYTES} bytes, and its smallest event at most {limits.EVENT_BYTES}",
    "too-deep": f"at most {DEPTH} types are inside each other",
    "too-many-fields": f"all records together have at most {shape.FIELDS} fields",
    "shape": "types and attributes are those of docs/spec/events-v1.md: no aliases, no maps, a bound on all that grows",
    "name": "a name is used once, and is none of Avro's types",
    "type": "a type by name is boolean, int, long, or one that was defined above",
    "recursive": "a type never holds itself",
    "zero-bytes": "null is only in a union, so that every item costs a byte",
    "logical-type": "a uuid has 16 bytes, a date or time has no range",
    "pattern": f"^ and $ around characters and classes, at most {OPEN_REPETITIONS} open repetitions",
    "default": f"a default fits its type and has at most {DEFAULT_BYTES} bytes; of lists only the empty one",
}
"""Name of each rule → the rule."""

_PLAIN: Final = frozenset({"boolean", "int", "long"})
_RESERVED: Final = _PLAIN | {"null", "float", "double", "string", "bytes", "array", "map", "record", "enum", "fixed"}
_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
_PATTERN: Final = re.compile(
    r"\^(?:(?:\[[^\]\[\\^]+\]|\\\.|[A-Za-z0-9_/-])(?:\+|\*|\{[0-9]{1,4}(?:,[0-9]{1,4})?\})?)+\$"
)
_SET_OPERATORS: Final = ("--", "&&", "~~", "||")  # of regular expressions to come, in classes
_OPEN_REPETITION: Final = re.compile(r"[\]A-Za-z0-9_/.-][+*]|\{[0-9]+,[0-9]+\}")


def _refuse(rule: str, what: str, path: str) -> NoReturn:
    shown = path if len(path) <= limits.TEXT_BYTES else path[: limits.TEXT_BYTES] + "…"
    raise SchemaError("schema-refused", f"{rule}: {what}; {RULES[rule]}", where=shown)


@dataclass(frozen=True, slots=True)
class Examined:
    """A schema that passed the gate.

    Attributes:
        record: the event type.
        named: all types with a name, inner ones first.
        plain: the schema as plain JSON values, fit to be given to fastavro.
    """

    record: Record
    named: Mapping[str, Named]
    plain: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a type can cost.

    Attributes:
        least: bytes of its smallest value.
        height: types inside each other, itself counted.
    """

    least: int
    height: int = 1


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a repeated key would mean one thing to us and another to the next parser."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("repeated key")
    return result


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
        tree = json.loads(avsc.decode(), object_pairs_hook=_once)
    except ValueError:
        _refuse("not-json", "it does not parse", "")
    if not isinstance(tree, dict):
        _refuse("not-json", "no object", "")
    return tree


@dataclass(slots=True)
class _Walk:
    """One pass over a schema.

    Attributes:
        named: complete types with a name, inner ones first.
        costs: cost of each of them.
        open: names of records that are being walked.
        fields: fields seen.
    """

    named: dict[str, Named] = field(default_factory=dict)
    costs: dict[str, _Cost] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    fields: int = 0

    def type(self, kind: shape.Kind, path: str, depth: int) -> _Cost:
        """Check a type; give its cost."""
        if depth > DEPTH:
            _refuse("too-deep", "types", path)
        cost = self._cost(kind, path, depth)
        if depth + cost.height - 1 > DEPTH:
            _refuse("too-deep", "types, names resolved", path)
        if cost.least > limits.EVENT_BYTES:
            _refuse("too-large", f"the smallest value has {cost.least} bytes", path)
        return cost

    def _cost(self, kind: shape.Kind, path: str, depth: int) -> _Cost:  # noqa: C901, PLR0911 - a case for each kind
        match kind:
            case str():
                return self._name(kind, path)
            case tuple():
                return _Cost(1, 1 + self.type(kind[1], path, depth + 1).height)
            case Array():
                return _Cost(1, 1 + self.type(kind.items, f"{path}[]", depth + 1).height)
            case Record():
                return self._record(kind, path, depth)
            case Enum():
                if len(set(kind.symbols)) != len(kind.symbols):
                    _refuse("name", "a symbol twice", path)
                if kind.default is not None and kind.default not in kind.symbols:
                    _refuse("default", "of an enum", path)
                return self._define(kind, _Cost(1), path)
            case Fixed():
                if kind.logical_type and kind.size != 16:  # noqa: PLR2004 - RFC 9562
                    _refuse("logical-type", f"a uuid of {kind.size}", path)
                return self._define(kind, _Cost(kind.size), path)
            case Int() | Long():
                if kind.logical_type and (kind.minimum, kind.maximum) != (None, None):
                    _refuse("logical-type", kind.logical_type, path)
                return _Cost(1)
            case Text(pattern=str(pattern)):
                _check_pattern(pattern, kind.max_length, path)
                return _Cost(1)
        return _Cost(8 if isinstance(kind, Double) else 1)

    def _name(self, name: str, path: str) -> _Cost:
        if name in self.open:
            _refuse("recursive", f"{name!r} holds itself", path)
        if name in self.costs:
            return self.costs[name]
        if name in _PLAIN:
            return _Cost(1)
        _refuse("zero-bytes" if name == "null" else "type", repr(name[: shape.NAME_CHARS]), path)

    def _free(self, kind: Named, path: str) -> None:
        if kind.name in self.costs or kind.name in self.open or kind.name in _RESERVED:
            _refuse("name", f"{kind.name!r} is taken", path)

    def _define(self, kind: Named, cost: _Cost, path: str) -> _Cost:
        self._free(kind, path)
        self.named[kind.name] = kind
        self.costs[kind.name] = cost
        return cost

    def _record(self, kind: Record, path: str, depth: int) -> _Cost:
        self._free(kind, path)
        outermost = depth == 1
        if (kind.namespace is not None) != outermost or (kind.compress is not None and not outermost):
            _refuse("shape", "the outermost record, and only it, has a namespace and may have compress", path)
        self.fields += len(kind.fields)
        if self.fields > shape.FIELDS:
            _refuse("too-many-fields", f"{self.fields}", path)
        if len({member.name for member in kind.fields}) != len(kind.fields):
            _refuse("name", "a field twice", path)
        self.open.add(kind.name)
        costs = [self._field(member, f"{path}.{member.name}".lstrip("."), depth) for member in kind.fields]
        self.open.discard(kind.name)
        return self._define(kind, _Cost(sum(c.least for c in costs), 1 + max(c.height for c in costs)), path)

    def _field(self, member: shape.Field, path: str, depth: int) -> _Cost:
        cost = self.type(member.type, path, depth + 1)
        if member.default is UNSET:
            return cost
        if len(json.dumps(member.default)) > DEFAULT_BYTES or not self._fits(member.default, member.type):
            _refuse("default", "of a field", path)
        return cost

    def _fits(self, value: Any, kind: shape.Kind) -> bool:  # noqa: PLR0911 - a case for each kind
        """Whether a default is one of its type.

        Records, full lists, bytes and logical types have none: their form in JSON is not their value.
        """
        if isinstance(kind, str):
            kind = self.named.get(kind, Int() if kind == "int" else Long() if kind == "long" else kind)
        match kind:
            case tuple():
                return value is None
            case "boolean":
                return isinstance(value, bool)
            case Enum():
                return value in kind.symbols
            case Array():
                return bool(value == [])
            case Text():
                fits = isinstance(value, str) and kind.min_length <= len(value) <= kind.max_length
                return fits and (kind.pattern is None or re.search(python_pattern(kind.pattern), value) is not None)
            case Int(logical_type=None) | Long(logical_type=None):
                low, high = shape.bounds(kind)
                return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
            case Double():
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                return number and kind.minimum <= value <= kind.maximum
        return False


def _check_pattern(pattern: str, length: int, path: str) -> None:
    """A pattern is a row of characters and classes, with few open repetitions: it can't backtrack for long."""
    twice = any(pair in pattern for pair in _SET_OPERATORS)
    if twice or not _PATTERN.fullmatch(pattern) or len(_OPEN_REPETITION.findall(pattern)) > OPEN_REPETITIONS:
        _refuse("pattern", "another form", path)
    if length > shape.PATTERN_CHARS:
        _refuse("pattern", f"on a string of more than {shape.PATTERN_CHARS} characters", path)
    try:
        re.compile(pattern)
    except re.error:
        _refuse("pattern", "it does not compile", path)


def python_pattern(pattern: str) -> str:
    r"""A schema's pattern for Python, where `$` would let a line feed through."""
    return pattern[:-1] + r"\Z"


def examine(avsc: bytes) -> Examined:
    """Let a schema through the gate, or refuse it.

    Args:
        avsc: the exact bytes of an .avsc file.

    Raises:
        SchemaError: `schema-refused`; the sentence begins with the rule's name, a key of `RULES`.
    """
    plain = _parse(avsc)
    try:
        record = msgspec.convert(plain, Record)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        _refuse("shape", what[: limits.TEXT_BYTES], path.strip("`"))
    walk = _Walk()
    walk.type(record, "", 1)
    return Examined(record, walk.named, plain)
