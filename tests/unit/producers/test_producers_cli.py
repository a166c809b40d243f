"""The commands `fbi`, `sighting` and `hold`: what they say, what they store, how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agencybus.cli import main
from agencybus.cli.exits import Exit
from agencybus.config import PublisherConfig
from agencybus.errors import PolicyError, TransportError
from agencybus_producers import cli
from producing import DATA, POSTERS, Bus, page, posters

CONFIG = """
endpoint = "{endpoint}"
state = "state"
keyring = {{ file = "keys" }}
directory = {{ root = "root.json", url = "file:///nowhere", cache = "cache" }}
kafka = {{ bootstrap = "127.0.0.1:9", plaintext = true }}
[profile]
label = "UNCLASSIFIED//REL TO USA, MEX"
legal-basis = "US-Mexico Mutual Legal Assistance Treaty of 1987, art. 1"
"""


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bus:
    """A folder with a configuration, made the current one, and a bus in place of a publisher's brokers."""
    taken = Bus(tmp_path / "bus.jsonl")

    @asynccontextmanager
    async def open_bus(config: PublisherConfig) -> AsyncIterator[Bus]:
        assert config.state == tmp_path / "state"
        yield taken

    (tmp_path / "publisher.toml").write_text(CONFIG.format(endpoint="us.fbi/wanted"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "open_bus", open_bus)
    return taken


@pytest.fixture
def run(bus: Bus, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command with --json; gives the exit code and the document."""
    del bus

    def command(*words: str | Path) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main([*map(str, words), "--json"])
        out = capsys.readouterr().out
        return code, json.loads(out) if out else {}

    return command


def write(items: list[dict[str, Any]], *, total: int | None = None) -> Path:
    path = Path("page.json")
    path.write_bytes(page(items, total=total))
    return path


def test_the_commands_are_part_of_agencybus(capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, "-m", "agencybus", "--help"], timeout=30, check=True)
    shown = capfd.readouterr().out
    for name in ("fbi", "sighting", "hold"):
        assert f" {name} " in shown


def test_a_dry_run_shows_what_would_be_published_and_leaves_no_trace(run: Any, bus: Bus, tmp_path: Path) -> None:
    code, said = run("fbi", POSTERS, "--dry-run")
    assert (code, said["new"], said["dry_run"]) == (Exit.DONE, 33, True)
    assert said["messages"][0]["event"]["headline"] == "CESAR VILLARREAL"
    assert bus.events == []
    assert [path.name for path in tmp_path.iterdir()] == ["publisher.toml"]


def test_a_dry_run_needs_neither_kafka_nor_keys_nor_network(bus: Bus) -> None:
    del bus
    probe = (
        "import sys\nfrom agencybus.cli import main\n"
        f"assert main(['fbi', {str(POSTERS)!r}, '--dry-run']) == 0\n"
        "assert not {'aiokafka', 'agencybus.publisher', 'agencybus.keyring'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", probe], timeout=30, check=True, capture_output=True)


def test_the_second_run_publishes_nothing_and_opens_no_publisher(
    run: Any, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("fbi", POSTERS)[0] == Exit.DONE
    assert len(bus.events) == 33
    monkeypatch.setattr(cli, "open_bus", None)
    code, said = run("fbi", POSTERS)
    assert (code, said["new"], said["unchanged"], said["messages"]) == (Exit.DONE, 0, 33, [])


def test_a_change_and_a_capture_are_published_and_counted(run: Any, bus: Bus) -> None:
    run("fbi", POSTERS)
    items = posters()
    items[0]["nationality"] = "Mexican"
    items[1]["status"] = "captured"
    code, said = run("fbi", write(items))
    assert (code, said["updated"], said["cancelled"], said["unchanged"]) == (Exit.DONE, 1, 1, 31)
    assert [message["fields"] for message in said["messages"]] == [["person.nationality"], []]
    assert [event["correlation"]["kind"] for event in bus.events[33:]] == ["UPDATES", "CANCELS"]


def test_a_refused_record_is_told_and_ends_with_the_exit_code_for_findings(run: Any, bus: Bus) -> None:
    items = posters()
    items[7]["height_min"] = "tall"
    code, said = run("fbi", write(items))
    assert code == Exit.FINDINGS
    assert [(refused["where"], refused["field"]) for refused in said["refused"]] == [
        ("page.json items[7]", "height_min")
    ]
    assert len(bus.events) == 32


def test_what_was_left_out_of_an_alert_is_told_once(run: Any) -> None:
    items = posters()
    items[7]["height_max"] = 2272
    path = write(items)
    assert [note["field"] for note in run("fbi", path)[1]["mended"]] == ["height_max"]
    assert run("fbi", path)[1]["mended"] == []


def test_if_all_is_refused_the_exit_code_says_so(run: Any) -> None:
    Path("page.json").write_bytes(b"<html>503</html>")
    assert run("fbi", "page.json")[0] == Exit.REFUSED


def test_an_incomplete_listing_cancels_nobody_and_says_so(run: Any, bus: Bus) -> None:
    run("fbi", POSTERS)
    code, said = run("fbi", write(posters()[2:], total=33))
    assert (code, said["cancelled"]) == (Exit.FINDINGS, 0)
    assert said["remarks"] == [
        "The listing is not complete (it has 31 of 33 records): 2 who are not in it still stand."
    ]
    assert len(bus.events) == 33


def test_more_than_the_stated_number_is_not_published_unasked(run: Any, bus: Bus) -> None:
    code, _ = run("fbi", POSTERS, "--max-first", "32")
    assert code == Exit.REFUSED
    assert bus.events == []
    code, said = run("fbi", POSTERS, "--max-first", "32", "--dry-run")
    assert said["remarks"] == ["It would ask first: 33 messages would be published, more than 32."]
    assert run("fbi", POSTERS, "--max-first", "32", "--yes")[0] == Exit.DONE
    assert len(bus.events) == 33


def test_an_emptied_listing_does_not_cancel_everybody_unasked(run: Any, bus: Bus) -> None:
    run("fbi", POSTERS)
    assert run("fbi", write([], total=0))[0] == Exit.REFUSED
    assert len(bus.events) == 33
    code, said = run("fbi", write([], total=0), "--yes")
    assert (code, said["cancelled"]) == (Exit.DONE, 33)


def test_what_the_brokers_did_not_take_goes_first_in_the_next_run(run: Any, bus: Bus) -> None:
    bus.fails[4] = TransportError("not-accepted", "not acknowledged within 30 s")
    code, said = run("fbi", POSTERS)
    assert (code, said["new"], said["waiting"]) == (Exit.AGAIN, 32, 1)
    code, said = run("fbi", POSTERS)
    assert (code, said["new"], said["waiting"]) == (Exit.DONE, 1, 0)
    assert len(bus.events) == 33


def test_what_the_rules_refuse_is_told_with_code_and_record(run: Any, bus: Bus) -> None:
    bus.fails[0] = PolicyError("right-missing", "the endpoint may not publish alerts")
    code, said = run("fbi", POSTERS)
    assert code == Exit.FINDINGS
    [refused] = said["refused"]
    assert refused["code"] == "right-missing"
    assert refused["where"].endswith("items[0]")


def test_a_folder_of_pages_is_read_whole(run: Any) -> None:
    Path("pages/deep").mkdir(parents=True)
    items = posters()
    Path("pages/1.json").write_bytes(page(items[:20], total=33))
    Path("pages/deep/2.json").write_bytes(page(items[20:], total=33))
    code, said = run("fbi", "pages", "--dry-run")
    assert (code, said["read"], said["new"]) == (Exit.DONE, 33, 33)


@pytest.mark.parametrize("name", ["label", "legal-basis"])
def test_no_program_chooses_the_label_or_the_legal_basis(run: Any, name: str) -> None:
    text = Path("publisher.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(f"{name} =")]
    Path("publisher.toml").write_text("\n".join(lines), encoding="utf-8")
    assert run("fbi", POSTERS, "--dry-run")[0] == Exit.SETUP
    assert run("fbi", POSTERS, "--dry-run", f"--{name}", "UNCLASSIFIED")[0] == Exit.DONE


def test_a_wrong_label_is_refused_before_anything_is_read(run: Any) -> None:
    assert run("fbi", POSTERS, "--label", "SECRET//REL TO MEX")[0] == Exit.REFUSED


@pytest.mark.parametrize("words", [["fbi"], ["fbi", "no-such-file.json"], ["sighting"], ["hold", "no-such-file.json"]])
def test_a_wrong_command_line_ends_with_the_exit_code_for_usage(run: Any, words: list[str]) -> None:
    assert run(*words)[0] == Exit.USAGE


def test_people_get_words_and_names_are_printed_as_they_are(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    del bus
    items = posters()[:3]
    items[0]["title"] = "[red]JOHN[/red] \\x1b"
    items[1]["person_classification"] = "Victim"
    items[2]["path"] = None
    items[2]["url"] = None
    assert main(["fbi", str(write(items)), "--dry-run"]) == Exit.FINDINGS
    shown = capsys.readouterr().out
    assert "[red]JOHN[/red]" in shown
    assert "would publish 1 new" in shown
    assert "left out: 1 victim" in shown
    assert "refused: page.json items[2].path: not in a section" in shown


@pytest.mark.parametrize("kind", ["sighting", "hold"])
def test_the_printed_sample_is_a_form_that_is_published(
    run: Any, bus: Bus, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([kind, "--sample"]) == Exit.DONE
    Path("form.json").write_text(capsys.readouterr().out, encoding="utf-8")
    assert run(kind, "form.json")[0] == Exit.DONE
    assert run(kind, "form.json")[1]["unchanged"] == 1
    [event] = bus.events
    assert event["originator"] == "us.fbi/wanted"


def test_a_hold_is_set_and_released_over_several_runs(run: Any, bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    main(["hold", "--sample"])
    Path("set.json").write_text(capsys.readouterr().out, encoding="utf-8")
    forms = ["set.json", DATA / "forms" / "hold-changed.json", DATA / "forms" / "hold-released.json"]
    for name in forms:
        assert run("hold", name)[0] == Exit.DONE
    assert [event["action"] for event in bus.events] == ["SET", "CHANGED", "RELEASED"]
    assert {(event["correlation"] or {"root": event["event_id"]})["root"] for event in bus.events} == {
        bus.events[0]["event_id"]
    }


def test_a_wrong_form_is_told_with_line_field_and_hint(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    del bus
    main(["hold", "--sample"])
    Path("form.json").write_text(capsys.readouterr().out.replace("907032-3", "907032-4"), encoding="utf-8")
    assert main(["hold", "form.json"]) == Exit.REFUSED
    shown = capsys.readouterr().out
    assert "form.json:20: containers[0].number: check digit is 4, by ISO 6346 it would be 3" in shown
