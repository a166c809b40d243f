"""The evolution check: `python -m agencybus_schemas.evolution [--release]`.

FULL_TRANSITIVE: every version of an event type that was ever released reads every other, and the current one too. On
top of Avro's rules, constraints stay as they are: a reader refuses what breaks its own, so a longer name in a new
version would be quarantined by every old reader. docs/spec/events-v1.md, section 5.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Final

from msgspec import UNSET
from msgspec.structs import asdict

from agencybus.codec.gate import Examined, examine
from agencybus.codec.shape import Array, Enum, Fixed, Kind, Record
from agencybus.errors import SchemaError
from agencybus_schemas import Family, load

RELEASED: Final = Path(__file__).with_name("released")

RULES: Final = {
    "type-changed": "a field keeps its type",
    "constraint-changed": "lengths, ranges, patterns and logical types stay as they were released",
    "name-changed": "types keep their names: Avro finds them by it",
    "no-default": "a field that is not in every version has a default",
    "symbol-unknown": "an enum that gets or loses symbols had a default from the beginning",
    "compress-changed": "compression that was off stays off: somebody counted on it",
}
"""Name of each rule → the rule."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one version can't read another.

    Attributes:
        type_name: the event type.
        reader: the version that reads.
        writer: the version that wrote.
        field: dotted path of the field, or empty.
        rule: a key of `RULES`.
    """

    type_name: str
    reader: str
    writer: str
    field: str
    rule: str

    def __str__(self) -> str:
        place = f"{self.type_name}.{self.field}" if self.field else self.type_name
        return f"{place}: {self.rule}: {self.reader} can't read {self.writer}; {RULES[self.rule]}"


def _resolve(kind: Kind, schema: Examined) -> Kind:
    return schema.named.get(kind, kind) if isinstance(kind, str) else kind


def _differences(  # noqa: C901 - a case for each pair of kinds
    reader: Examined, writer: Examined, ours: Kind, theirs: Kind, path: str
) -> Iterator[tuple[str, str]]:
    """Fields and rules by which `reader` can't read what `writer` wrote."""
    ours, theirs = _resolve(ours, reader), _resolve(theirs, writer)
    match ours, theirs:
        case (Record() | Enum() | Fixed(), Record() | Enum() | Fixed()) if ours.name != theirs.name:
            yield path, "name-changed"
        case Record(), Record():
            yield from _record(reader, writer, ours, theirs, path)
        case Enum(), Enum():
            if set(theirs.symbols) - set(ours.symbols) and ours.default is None:
                yield path, "symbol-unknown"
        case tuple(), tuple():
            yield from _differences(reader, writer, ours[1], theirs[1], path)
        case Array(), Array():
            if ours.max_items != theirs.max_items:
                yield path, "constraint-changed"
            yield from _differences(reader, writer, ours.items, theirs.items, f"{path}[]")
        case _ if type(ours) is not type(theirs) or isinstance(ours, str):
            if ours != theirs:
                yield path, "type-changed"
        case _:
            if _constraints(ours) != _constraints(theirs):
                yield path, "constraint-changed"


def _constraints(kind: Kind) -> dict[str, object]:
    """What bounds the values of a type that holds no other."""
    assert not isinstance(kind, (str, tuple))
    return {key: value for key, value in asdict(kind).items() if key != "doc"}


def _record(reader: Examined, writer: Examined, ours: Record, theirs: Record, path: str) -> Iterator[tuple[str, str]]:
    written = {member.name: member for member in theirs.fields}
    for member in ours.fields:
        here = f"{path}.{member.name}".lstrip(".")
        if (other := written.get(member.name)) is not None:
            yield from _differences(reader, writer, member.type, other.type, here)
        elif member.default is UNSET:
            yield here, "no-default"


def check(family: Family) -> list[Problem]:
    """Hold every version of an event type against every other.

    Returns:
        What does not go together; empty if all is well.

    Raises:
        SchemaError: `schema-refused`, if a version fails the gate.
    """
    versions = {f"version {number}": examine(avsc) for number, avsc in enumerate(family.released, 1)}
    versions["the current one"] = examine(family.current)
    problems = [
        Problem(family.name, reader, writer, field, rule)
        for (reader, ours), (writer, theirs) in permutations(versions.items(), 2)
        for field, rule in _differences(ours, theirs, ours.record, theirs.record, "")
    ]
    off = [name for name, schema in versions.items() if schema.record.compress is False]
    if off and versions["the current one"].record.compress is not False:
        problems.append(Problem(family.name, "the current one", off[0], "", "compress-changed"))
    return problems


def release(family: Family, folder: Path = RELEASED) -> Path | None:
    """Keep the current version for ever, if it is not the last released one already.

    Returns:
        The new file, or None.
    """
    if family.released and family.released[-1] == family.current:
        return None
    file = folder / family.name / f"{len(family.released) + 1}.avsc"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(family.current)
    return file


def main(arguments: list[str]) -> int:
    """Check all event types; with `--release`, release what is new and compatible.

    Returns:
        0 if all versions read each other, 1 if not, 2 for a wrong call.
    """
    if arguments not in ([], ["--release"]):
        sys.stderr.write("usage: python -m agencybus_schemas.evolution [--release]\n")
        return 2
    failed = False
    for family in load():
        try:
            problems = [str(problem) for problem in check(family)]
        except SchemaError as error:
            problems = [f"{family.name}: {error}"]
        failed = failed or bool(problems)
        sys.stderr.writelines(f"{problem}\n" for problem in problems)
        if problems:
            continue
        if arguments and (file := release(family)) is not None:
            sys.stdout.write(f"{family.name}: released as {file.parent.name}/{file.name}\n")
        elif not arguments and family.current not in family.released:
            sys.stdout.write(f"{family.name}: compatible, not released yet\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
