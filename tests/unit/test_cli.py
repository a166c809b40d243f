"""The command line as a whole: the tree, the global options, errors and exit codes."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import typer

from agencybus.cli import exits, main, output, tree
from agencybus.errors import CODES, BusError, EventError, RecordError, Step

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "agencybus", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, **options)


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Adds a command `probe` to the tree that does what the test says."""

    def plug(action: Callable[[], None]) -> None:
        app = typer.Typer()
        app.command("probe")(action)
        monkeypatch.setattr(sys.modules[__name__], "app", app, raising=False)
        entry = tree.Entry("probe", __name__, "Try", "A probe.")
        monkeypatch.setattr(tree, "COMMANDS", (*tree.COMMANDS, entry))

    return plug


def test_help_names_every_command_of_the_tree_and_loads_none_of_them() -> None:
    probe = "import sys, agencybus.cli as c; c.main(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=30, check=True)
    shown, modules = done.stdout.rsplit("\n[", 1)
    for entry in tree.COMMANDS:
        assert re.search(rf"^\W+{entry.name}\s", shown, re.MULTILINE), entry.name
        assert f"'{entry.module}'" not in modules
    for heavy in ("aiokafka", "cryptography", "tuf", "fastavro", "asyncio", "pydantic"):
        assert f"'{heavy}'" not in modules


def test_version_is_the_one_of_the_installed_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == exits.Exit.DONE
    assert re.fullmatch(r"agencybus \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize("words", [[], ["bogus"], ["--bogus"], ["help", "--bogus"], ["help", "no-such-code"]])
def test_a_wrong_command_line_ends_with_the_exit_code_for_usage(words: list[str]) -> None:
    assert main(words) == exits.Exit.USAGE


def test_a_mistyped_code_is_answered_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    main(["help", "grant-mising"])
    assert "grant-missing" in capsys.readouterr().err


@pytest.mark.parametrize("code", ["gap", "usage", "grant-missing"])
def test_help_shows_a_code_with_its_hint_and_exit_code(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", code]) == exits.Exit.DONE
    shown = capsys.readouterr().out
    assert CODES[code].hint in shown
    assert re.search(rf"exit code +{exits.exit_code(BusError(code, ''))}\b", shown)


def test_help_without_a_code_lists_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "--json"]) == exits.Exit.DONE
    listed = msgspec.json.decode(capsys.readouterr().out)
    assert {one["code"]: one["hint"] for one in listed} == {code: known.hint for code, known in CODES.items()}


@pytest.mark.parametrize("words", [["--json", "help", "gap"], ["help", "--json", "gap"], ["help", "gap", "--json"]])
def test_json_works_before_and_after_the_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == exits.Exit.DONE
    assert msgspec.json.decode(capsys.readouterr().out)["code"] == "gap"


def test_json_of_one_command_does_not_stay_on_for_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--json", "help", "gap"])
    capsys.readouterr()
    main(["help", "gap"])
    assert "whose fault" in capsys.readouterr().out


def test_an_error_is_told_with_what_where_code_and_hint(
    plugged: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise EventError("event-invalid", "the sighting lies in the future", field="occurred_at", where="a.jsonl:3")

    plugged(fail)
    assert main(["probe"]) == exits.Exit.REFUSED
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: the sighting lies in the future (a.jsonl:3)\n  event-invalid: ")
    assert CODES["event-invalid"].hint in told.err


def test_an_error_with_json_is_one_document_with_culprit_reaction_step_and_exit(
    plugged: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RecordError(Step.SIGNATURES, "mldsa-signature-invalid", "the signature does not verify", where="t/0/7")

    plugged(fail)
    assert main(["probe", "--json"]) == exits.Exit.RECORD
    told = msgspec.json.decode(capsys.readouterr().err)["error"]
    assert told["code"] == "mldsa-signature-invalid"
    assert (told["culprit"], told["reaction"], told["step"], told["exit"]) == ("writer", "quarantine", 4, 7)


def test_names_from_a_hostile_record_cannot_steer_the_terminal(
    plugged: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise BusError("endpoint-unknown", "no endpoint \x1b[2Jus.cbp/x\r\u202e")

    plugged(fail)
    main(["probe"])
    assert r"no endpoint \x1b[2Jus.cbp/x\r\u202e" in capsys.readouterr().err


def test_errors_of_a_task_group_are_all_told(
    plugged: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(code: str) -> None:
        raise BusError(code, "it failed")

    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail("broker-unreachable"))
            tasks.create_task(fail("state-full"))

    plugged(lambda: asyncio.run(both()))
    assert main(["probe"]) == exits.Exit.AGAIN
    told = capsys.readouterr().err
    assert "broker-unreachable: " in told
    assert "state-full: " in told


def test_a_bug_is_not_dressed_up_as_an_error_of_somebody_else(plugged: Callable[[Callable[[], None]], None]) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    plugged(fail)
    with pytest.raises(ZeroDivisionError):
        main(["probe"])


def test_ctrl_c_ends_with_130(plugged: Callable[[Callable[[], None]], None]) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    plugged(fail)
    assert main(["probe"]) == exits.Exit.INTERRUPTED


@pytest.mark.parametrize("words", [["help"], ["--json", "help"]])
def test_a_closed_pipe_ends_quietly(words: list[str]) -> None:
    command = f"{sys.executable} -m agencybus {' '.join(words)} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == exits.Exit.PIPE_CLOSED
    assert done.stderr == ""


def test_a_command_whose_package_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tree.Entry("absent", "agencybus_absent", "Try", "Not there.")
    monkeypatch.setattr(tree, "COMMANDS", (entry,))
    assert main(["absent"]) == exits.Exit.SETUP
    assert "needs the Python package agencybus_absent" in capsys.readouterr().err


def test_a_result_with_square_brackets_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({}, lambda: "[bold]not markup[/bold]")
    assert capsys.readouterr().out == "[bold]not markup[/bold]\n"


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_an_exit_code_that_means_an_error_and_a_hint_that_is_a_sentence(code: str) -> None:
    assert exits.exit_code(BusError(code, "")) not in {exits.Exit.DONE, exits.Exit.BUG, exits.Exit.FINDINGS}
    assert CODES[code].hint.endswith((".", "?"))


def test_the_manual_has_the_table_of_exit_codes() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", manual, re.MULTILINE)}
    assert documented == {int(code) for code in exits.Exit}


def test_a_package_adds_commands_and_takes_the_place_of_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = [EntryPoint(name, "agencybus_absent:app", "agencybus.commands") for name in ("weather", "help")]
    monkeypatch.setattr(tree, "entry_points", lambda: EntryPoints(points))
    assert main(["help", "gap"]) == exits.Exit.DONE
    assert main(["--help"]) == exits.Exit.DONE
    assert re.search(r"^\W+weather\s", capsys.readouterr().out, re.MULTILINE)


def test_the_manual_names_every_metric_and_no_other() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = manual.split("## What to watch")[1].split("## Quarantine")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")]
    documented = {name.removesuffix("_total") for row in rows for name in re.findall(r"`(\w+)`", row)}
    source = (ROOT / "consumers/agencybus_consumers/board.py").read_text(encoding="utf-8")
    exported = set(re.findall(r'(?:_gauge|_by_route)\(\s*"(\w+)"', source)) | set(
        re.findall(r'"agencybus_(\w+)"', source)
    )
    counted = re.findall(r'^            "(\w+)": "', source, re.MULTILINE)
    assert documented == exported | set(counted)
