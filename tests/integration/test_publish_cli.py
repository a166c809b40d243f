"""`agencybus publish` on a real Kafka: files in, every event accounted for, nothing twice, an interruption said."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agencybus.cli import main
from agencybus.cli.exits import Exit
from agencybus.errors import BusError
from agencybus.kafka.local import LocalCluster
from agencybus.sandbox import Sandbox
from agencybus.wire.envelope import CHANNEL_KINDS, split
from agencybus.wire.headers import FrameHeader
from integration.bus import CHANNEL, CODEC, FBI, records

PROFILE = {"event_id", "reported_at", "originator", "label"}  # what the bus and the profile say


def configured(federation: Sandbox, folder: Path, endpoint: str = FBI, **changes: str) -> Path:
    """The endpoint's configuration with a state and a lineage of the test's own."""
    original = federation.publisher(endpoint)
    own = f'state = "{folder}/publisher"\nwriter = "{folder.name[:40]}"'
    text = original.read_text(encoding="utf-8").replace('state = "publisher-state"', own)
    for old, new in changes.items():
        text = text.replace(old, new)
    path = original.with_name(f"{folder.name}.toml")
    path.write_text(text, encoding="utf-8")
    return path


def line(reference: str, **changes: Any) -> str:
    fields = CODEC.template("alert", at=time.time_ns() // 1000) | {"programme": "fugitives", "reference": reference}
    kept = {name: value for name, value in (fields | changes).items() if name not in PROFILE - set(changes)}
    return json.dumps(kept) + "\n"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command with --json; gives the exit code and the last document."""

    def command(*words: str | Path) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main([*map(str, words), "--json"])
        told = capsys.readouterr()
        return code, json.loads((told.out or told.err).splitlines()[-1])

    return command


def test_of_a_file_the_good_events_are_published_once_and_the_bad_ones_named(
    federation: Sandbox, tmp_path: Path, said: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    name, config = tmp_path.name, configured(federation, tmp_path)
    file = tmp_path / "events.jsonl"
    good = [line(f"{name}-{number}") for number in range(500)]
    bad = [line(f"{name}-bad", urgency="SOON"), line(f"{name}-high", label="TOP SECRET//REL TO USA, MEX"), "{\n"]
    file.write_text("".join(good[:200] + bad + good[200:]), encoding="utf-8")
    command = ("publish", "--config", config, "--type", "alert", file)
    code, first = said(*command)
    assert code == Exit.FINDINGS
    assert (first["read"], first["accepted"], first["repeated"], first["not_accepted"]) == (503, 500, 0, 0)
    assert first["refused"] == {"ceiling-exceeded": 1, "event-invalid": 2}
    assert [(each["line"], each["field"], each["rule"]) for each in first["errors"]] == [
        (201, "urgency", "structure"),
        (202, "", "ceiling-exceeded"),
        (203, "", "json"),
    ]
    (place,) = first["places"]
    assert (place["channel"], place["events"]) == (CHANNEL, 500)
    assert place["last"] - place["first"] < 10, "events of a file share frames"
    code, second = said(*command)
    assert (code, second["accepted"], second["repeated"], second["places"]) == (Exit.FINDINGS, 0, 500, [])
    assert main([*map(str, command)]) == Exit.FINDINGS
    told = capsys.readouterr()
    assert f"{file}:202: TOP SECRET//REL TO USA, MEX is above" in told.err
    assert "repeated  500" in told.out


def test_what_the_rules_refuse_altogether_ends_with_the_exit_code_of_the_directory(
    federation: Sandbox, tmp_path: Path, said: Any
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(line("x", originator="us.fbi/case-files"), encoding="utf-8")
    config = configured(federation, tmp_path, "us.fbi/case-files")
    code, found = said("publish", "--config", config, "--type", "alert", file)
    assert (code, found["refused"]) == (Exit.DIRECTORY, {"right-missing": 1})


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.AGAIN)])
def test_an_interruption_ends_in_order_and_says_what_was_accepted(
    federation: Sandbox, tmp_path: Path, number: signal.Signals, code: Exit
) -> None:
    config = configured(federation, tmp_path)
    words = [sys.executable, "-m", "agencybus", "publish", "--config", str(config), "--type", "alert", "-", "--json"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write("".join(line(f"{tmp_path.name}-{n}") for n in range(100)))
        process.stdin.flush()
        _until(lambda: _arrived(federation, tmp_path.name[:40]) >= 100)
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)  # its input is still open until it ends
    found = json.loads(out.splitlines()[-1])
    assert process.returncode == code
    assert (found["read"], found["accepted"], found["interrupted"]) == (100, 100, True)
    assert found["up_to"] == {"file": "stdin", "line": 100}


def test_without_a_broker_it_stops_early_and_the_same_command_goes_on_later(
    federation: Sandbox, cluster: LocalCluster, tmp_path: Path, said: Any
) -> None:
    config = configured(federation, tmp_path, **{"[keyring]": "deadline-seconds = 3\n[keyring]"})
    file = tmp_path / "events.jsonl"
    words = [sys.executable, "-m", "agencybus", "publish", "--config", str(config), "--type", "alert", "-", "--json"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        first = "".join(line(f"{tmp_path.name}-{n}") for n in range(10))
        rest = "".join(line(f"{tmp_path.name}-{n}") for n in range(10, 20))
        process.stdin.write(first)
        process.stdin.flush()
        _until(lambda: _arrived(federation, tmp_path.name[:40]) >= 10)
        time.sleep(0.5)  # what is in the topic is acknowledged a little later
        cluster.kill(1)
        process.stdin.write(rest)
        process.stdin.flush()
        time.sleep(8)  # beyond the deadline; then it closes, and may even send what it gave up waiting for
        cluster.restart(1)
        out, _ = process.communicate(timeout=90)
    found = json.loads(out.splitlines()[-1])
    assert process.returncode == Exit.AGAIN
    assert (found["accepted"], found["not_accepted"], found["failure"]["code"]) == (10, 10, "not-accepted")
    file.write_text(first + rest, encoding="utf-8")
    code, found = said("publish", "--config", config, "--type", "alert", file)
    assert code == Exit.DONE
    assert found["accepted"] + found["repeated"] == 20


def _arrived(federation: Sandbox, writer: str) -> int:
    """Events of a writer that lie in the topic."""
    found = 0
    for record in asyncio.run(records(federation, CHANNEL)):
        with contextlib.suppress(BusError):
            header = split(record.value or b"", CHANNEL_KINDS).header
            if isinstance(header, FrameHeader) and header.writer == writer:
                found += header.count
    return found


def _until(true: Callable[[], bool], *, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)
