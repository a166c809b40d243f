"""`event new`, `event check`, `explain`: what they say, how they end. And what `publish` refuses without a broker."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agencybus.cli import main
from agencybus.cli.exits import Exit
from agencybus_schemas.events import TYPES
from repositories import World

CONFIG = """
endpoint = "{endpoint}"
state = "state"
keyring = {{ file = "keys" }}
directory = {{ root = "root.json", url = "{url}", cache = "cache" }}
kafka = {{ bootstrap = "127.0.0.1:9", plaintext = true }}
[profile]
label = "UNCLASSIFIED//REL TO USA, MEX"
programme = "fugitives"
legal-basis = "US-Mexico Mutual Legal Assistance Treaty of 1987, art. 1"
retain-days = 365
"""
ALERT = {"event_id", "reported_at", "originator", "label", "programme"}  # what the bus and the profile say


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A publisher's configuration beside a real directory; no keys, no brokers."""
    world = World.made_in(tmp_path)
    (tmp_path / "root.json").write_bytes(world.root)
    path = tmp_path / "publisher.toml"
    path.write_text(CONFIG.format(endpoint="us.fbi/wanted", url=world.url), encoding="utf-8")
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command; gives exit code, standard output and standard error."""

    def command(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.fixture
def said(run: Any) -> Any:
    """Runs a command with --json; gives exit code and document, or the error."""

    def command(*words: str | Path) -> tuple[int, dict[str, Any]]:
        code, out, err = run(*words, "--json")
        return code, json.loads(out or err)

    return command


def event(said: Any, *, without: set[str] = frozenset(), **changes: Any) -> dict[str, Any]:  # type: ignore[assignment]
    values = said("event", "new", "alert")[1] | {"originator": "us.fbi/wanted"} | changes
    return {name: value for name, value in values.items() if name not in without}


def written(path: Path, *events: dict[str, Any] | str) -> Path:
    lines = (line if isinstance(line, str) else json.dumps(line) for line in events)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("full", [(), ("--full",)])
@pytest.mark.parametrize("name", TYPES)
def test_a_new_event_passes_the_check_as_it_is(run: Any, tmp_path: Path, name: str, full: tuple[str, ...]) -> None:
    code, out, _ = run("event", "new", name, *full)
    assert code == Exit.DONE
    assert out.count("\n") > 20, "for people it is indented"
    file = written(tmp_path / "event.json", out)
    assert run("event", "check", "--type", name, file)[0] == Exit.DONE


def test_a_new_event_is_the_endpoints_own(said: Any, config: Path) -> None:
    code, made = said("event", "new", "alert", "--config", config)
    assert code == Exit.DONE
    assert (made["originator"], made["handling"]["legal_basis"][:9]) == ("us.fbi/wanted", "US-Mexico")
    assert said("event", "new", "alert")[1]["event_id"] != made["event_id"]


def test_the_check_names_file_line_field_rule_and_hint_of_every_fault(said: Any, tmp_path: Path) -> None:
    good = event(said)
    late = event(said, occurred_at="2126-01-01T00:00:00Z")
    file = written(
        tmp_path / "events.jsonl",
        good,
        good | {"label": "SECRET REL"},
        json.dumps(good)[:300],
        good | {"urgency": "SOON"},
        json.dumps(late, indent=2),
        good | {"descripton": ""},
        good | {"description": "x" * 2_000_000},
    )
    code, found = said("event", "check", "--type", "alert", file)
    assert code == Exit.REFUSED
    assert (found["checked"], found["good"]) == (7, 1)
    where = [(each["line"] if each["line"] < 6 else 0, each["field"], each["rule"]) for each in found["errors"]]
    assert where == [
        (2, "label", "label"),
        (3, "", "json"),
        (4, "urgency", "structure"),
        (0, "occurred_at", "occurred-late"),
        (0, "descripton", "structure"),
        (0, "", "size"),
    ]
    assert found["errors"][3]["line"] == 5 + 3, "the line of the field, within the event"
    assert all(each["hint"] and each["file"] == str(file) for each in found["errors"])
    assert "Did you mean description?" in found["errors"][4]["hint"]


def test_the_check_says_it_to_people_in_two_lines(run: Any, said: Any, tmp_path: Path) -> None:
    file = written(tmp_path / "events.jsonl", event(said, label="SECRET REL"))
    _, out, err = run("event", "check", "--type", "alert", file)
    first, second, last = out.splitlines()
    assert first.startswith(f"{file}:1: label: ")
    assert first.endswith("[label]")
    assert second.strip().startswith("label-invalid: Write a label")
    assert last == "1 checked, 1 refused: label-invalid 1"
    assert err == ""


def test_what_is_refused_beyond_the_told_ones_is_counted_and_said(run: Any, said: Any, tmp_path: Path) -> None:
    file = written(tmp_path / "events.jsonl", *["{"] * 9)
    _, out, _ = run("event", "check", "--type", "alert", file, "--errors", "2")
    assert out.splitlines()[-1] == "9 checked, 9 refused: event-invalid 9; 7 of them not shown"
    assert len(out.splitlines()) == 5
    found = said("event", "check", "--type", "alert", file, "--errors", "2")[1]
    assert (found["refused"], len(found["errors"]), found["errors_not_told"]) == ({"event-invalid": 9}, 2, 7)


def test_with_a_configuration_events_may_leave_out_what_it_says(said: Any, config: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "events.jsonl", event(said, without=ALERT))
    assert said("event", "check", "--type", "alert", file)[0] == Exit.REFUSED
    assert said("event", "check", "--type", "alert", "--config", config, file)[0] == Exit.DONE
    foreign = written(tmp_path / "events.jsonl", event(said, originator="us.cbp/ntc-cargo"))
    found = said("event", "check", "--type", "alert", "--config", config, foreign)[1]
    assert found["refused"] == {"endpoint-not-ours": 1}


def test_an_event_can_come_through_a_pipe(said: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = written(tmp_path / "events.jsonl", event(said), "{")
    with file.open("rb") as stream:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=stream.fileno, buffer=io.BytesIO()))
        code, found = said("event", "check", "--type", "alert", "-")
    assert (code, found["checked"], found["errors"][0]["file"]) == (Exit.REFUSED, 2, "stdin")


def test_content_does_not_steer_the_terminal(run: Any, tmp_path: Path) -> None:
    file = written(tmp_path / "\x1b[31m.jsonl", json.dumps({"\x1b[2J": 1}))
    assert "\x1b" not in run("event", "check", "--type", "alert", file)[1]


def test_check_and_explain_need_neither_kafka_client_nor_keys(config: Path, tmp_path: Path) -> None:
    none = str(tmp_path / "none.jsonl")
    Path(none).touch()
    probe = (
        "import sys\nfrom agencybus.cli import main\n"
        "assert main(['event', 'new', 'alert', '--json']) == 0\n"
        f"assert main(['event', 'check', '--type', 'alert', {none!r}]) == 0\n"
        "assert not {'aiokafka', 'cryptography.hazmat', 'tuf'} & set(sys.modules)\n"
        f"assert main(['explain', '--config', {str(config)!r}, '--type', 'alert', {none!r}]) == 0"
    )
    subprocess.run([sys.executable, "-c", probe], timeout=60, check=True, capture_output=True)


# --- explain


def test_explain_names_every_endpoint_with_the_rule_that_decided(said: Any, config: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "events.jsonl", event(said), event(said, precedence="FLASH"))
    code, found = said("explain", "--config", config, "--type", "alert", file)
    assert code == Exit.DONE
    (content,) = found["contents"]
    assert content["events"] == 2
    assert content["channels"] == ["us.fbi.fugitives.routine", "us.fbi.fugitives.urgent"]
    assert "mx.fgr/watch-floor" in content["readers"]
    assert "us.fbi/wanted" not in content["readers"], "the publisher itself is no reader"
    rules = {each["endpoint"]: each["rule"] for each in content["rulings"]}
    assert len(rules) == 8
    assert (rules["mx.fgr/watch-floor"], rules["mx.anam/aduanas"]) == ("entitled", "not-a-party")


def test_explain_tells_labels_apart_and_says_when_nobody_may_read(said: Any, config: Path, tmp_path: Path) -> None:
    file = written(
        tmp_path / "events.jsonl",
        event(said),
        event(said, label="UNCLASSIFIED//NOFORN"),
        event(said, label="TOP SECRET//REL TO USA, MEX"),
        event(said, programme="cargo-targeting"),
    )
    code, found = said("explain", "--config", config, "--type", "alert", file)
    assert code == Exit.DIRECTORY
    shared, national, above, foreign = found["contents"]
    assert any(reader.startswith("mx.") for reader in shared["readers"])
    assert national["readers"]
    assert not any(reader.startswith("mx.") for reader in national["readers"])
    assert (above["refused"]["code"], above["readers"]) == ("ceiling-exceeded", [])
    assert foreign["refused"]["code"] in {"right-missing", "programme-party-missing"}


@pytest.mark.parametrize("columns", ["50", "140"])
def test_explain_fits_a_narrow_screen(
    run: Any, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    file = written(tmp_path / "events.jsonl", run("event", "new", "alert", "--config", config)[1])
    monkeypatch.setenv("COLUMNS", columns)
    _, out, _ = run("explain", "--config", config, "--type", "alert", file)
    assert "mx.anam is no party to fugitives" in out
    assert "would read it, in us.fbi.fugitives.routine" in out
    assert "us.cbp/ntc-cargo" not in run("explain", "--config", config, "--type", "alert", file, "--readers")[1]


def test_explain_goes_on_with_the_directory_as_it_was_last_seen(said: Any, config: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "events.jsonl", event(said))
    assert said("explain", "--config", config, "--type", "alert", file)[0] == Exit.DONE
    (tmp_path / "served").rename(tmp_path / "gone")
    assert said("explain", "--config", config, "--type", "alert", file)[0] == Exit.DONE


# --- bad input


@pytest.mark.parametrize("command", [("publish",), ("explain",), ("event", "check")])
def test_an_unknown_type_is_a_wrong_command_line(
    said: Any, config: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    file = written(tmp_path / "events.jsonl", event(said))
    code, found = said(*command, "--config", config, "--type", "riot", file)
    assert (code, found["error"]["code"]) == (Exit.USAGE, "usage")
    assert "alert, cargo_hold, fugitive_sighting" in found["error"]["hint"]


@pytest.mark.parametrize("command", [("publish",), ("explain",), ("event", "check")])
def test_an_unknown_key_of_the_configuration_is_named(
    said: Any, config: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    config.write_text(config.read_text(encoding="utf-8") + 'lable = "x"\n', encoding="utf-8")
    file = written(tmp_path / "events.jsonl", event(said))
    code, found = said(*command, "--config", config, "--type", "alert", file)
    assert (code, found["error"]["code"]) == (Exit.SETUP, "config-invalid")
    assert "lable" in found["error"]["what"]
    assert "profile" in found["error"]["what"]


@pytest.mark.parametrize("command", [("publish",), ("explain",), ("event", "check")])
def test_a_missing_file_is_a_wrong_command_line(said: Any, config: Path, command: tuple[str, ...]) -> None:
    code, found = said(*command, "--config", config, "--type", "alert", "/nowhere/events.jsonl")
    assert (code, found["error"]["code"]) == (Exit.USAGE, "usage")


def test_an_unknown_type_of_a_new_event_is_a_wrong_command_line(said: Any) -> None:
    assert said("event", "new", "riot")[0] == Exit.USAGE


def test_publishing_without_a_key_file_says_so(said: Any, config: Path, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("secret\n", encoding="utf-8")
    (tmp_path / "passphrase").chmod(0o600)
    text = config.read_text(encoding="utf-8").replace('file = "keys"', 'file = "keys", passphrase-file = "passphrase"')
    config.write_text(text, encoding="utf-8")
    file = written(tmp_path / "events.jsonl", event(said))
    code, found = said("publish", "--config", config, "--type", "alert", file)
    assert (code, found["error"]["code"]) == (Exit.SETUP, "keyring-missing")
