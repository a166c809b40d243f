"""What is installed: the lock names everything that pyproject.toml asks for, with hashes and without an index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def locked() -> dict[str, str]:
    """Name and version of every locked package."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE))


def asked_for() -> list[Requirement]:
    """All that the project, its extras and its build ask for, but itself."""
    project = PROJECT["project"]
    lists = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    ]
    found = [Requirement(text) for texts in lists for text in texts]
    return [requirement for requirement in found if requirement.name != project["name"]]


@pytest.mark.parametrize("requirement", asked_for(), ids=str)
def test_the_lock_satisfies_the_project(requirement: Requirement) -> None:
    assert requirement.specifier.contains(locked()[requirement.name])


def test_the_lock_names_no_index_and_no_file() -> None:
    for word in ("://", "index-url", "find-links", "file:", "@ "):
        assert word not in LOCK


def test_every_locked_package_has_hashes() -> None:
    entries = re.split(r"^(?=[a-z0-9-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked())
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_build_backend_comes_from_the_lock() -> None:
    assert {Requirement(text).name for text in PROJECT["build-system"]["requires"]} <= set(locked())


@pytest.mark.parametrize("package", PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_make_runs_every_folder_of_tests_and_starts_a_broker_only_in_the_slow_ones() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    quick, slow = (re.findall(rf"^{name} := (.*)$", makefile, re.MULTILINE)[0].split() for name in ("QUICK", "SLOW"))
    holding = {str(path.relative_to(ROOT).parents[-3]) for path in (ROOT / "tests").rglob("test_*.py")}
    assert holding == {*quick, *slow}
    for path in (path for folder in quick for path in (ROOT / folder).rglob("*.py")):
        assert not re.search(r"mark\.(kafka|build)\b", path.read_text(encoding="utf-8")), path
