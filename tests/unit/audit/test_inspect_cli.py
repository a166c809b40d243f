"""`agencybus inspect FILE`: a record out of anybody's hands, judged with a directory and nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

import agencybus_schemas
from agencybus.cli import main
from agencybus.cli.exits import Exit
from agencybus.codec import Codec
from agencybus.directory.following import DirectoryClient
from agencybus.seal import sealer, suite
from agencybus.seal.sealer import Content, Link
from agencybus.wire import ids
from agencybus.wire.envelope import Record
from repositories import World, fresh_federation

FBI, CHANNEL = "us.fbi/wanted", "us.fbi.fugitives.routine"
CODEC = Codec(agencybus_schemas.load())
CONFIG = '[directory]\nroot = "root.json"\nurl = "{url}"\ncache = "cache"\n'


def frame(client: DirectoryClient, before: Record | None = None, **changes: Any) -> Record:
    """A frame of the FBI, sealed now; nobody was granted its key."""
    now = time.time_ns() // 1000
    link: dict[str, Any] = {
        "realm": client.realm,
        "endpoint": FBI,
        "writer": "main",
        "channel": CHANNEL,
        "partition": 0,
        "sequence": before.header.sequence + 1 if before else 0,  # type: ignore[attr-defined]
        "previous": before.digest if before else ids.first_previous(client.realm, FBI, "main", CHANNEL, 0),
        "previous_sealed_at": before.header.sealed_at if before else 0,
        "sealed_at": now,
        "directory": client.current.digest,
        "state": "run",
    }
    content = Content(
        type="alert",
        schema_id=CODEC.schema("alert").id,
        label="UNCLASSIFIED//REL TO USA, MEX",
        programme="fugitives",
        precedence="ROUTINE",
        compress=True,
    )
    signer = fresh_federation().signing[FBI]
    return sealer.seal_frame(Link(**(link | changes)), content, [b"sealed"], suite.random_key(), signer)


@pytest.fixture
def client(tmp_path: Path) -> DirectoryClient:
    """A real directory, a configuration that knows nothing but it, and a client of the writer's."""
    world = World.made_in(tmp_path)
    (tmp_path / "root.json").write_bytes(world.root)
    (tmp_path / "inspect.toml").write_text(CONFIG.format(url=world.url), encoding="utf-8")
    writer = world.client(tmp_path / "writer")
    writer.refresh()
    return writer


@pytest.fixture
def inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Writes a record into a file and inspects it; gives the exit code and the document, or the error."""

    def command(record: bytes, *words: str | Path, topic: str = CHANNEL) -> tuple[int, dict[str, Any]]:
        file = tmp_path / "record"
        file.write_bytes(record)
        capsys.readouterr()
        known = ("--config", tmp_path / "inspect.toml", *(("--topic", topic) if topic else ()))
        code = main([*map(str, ("inspect", file, *known, *words)), "--json"])
        told = capsys.readouterr()
        return code, json.loads(told.out or told.err)

    return command


def verdicts(found: dict[str, Any]) -> list[str]:
    return [step["verdict"] for step in found["steps"]]


def test_a_file_needs_no_keys_no_brokers_and_no_endpoint(inspect: Any, client: DirectoryClient) -> None:
    code, found = inspect(frame(client).encode())
    assert code == Exit.DONE
    assert verdicts(found) == ["passed"] * 8 + ["needs a key"] * 5
    assert found["header"]["endpoint"] == FBI
    assert "mx.fgr/watch-floor" in found["audience"]


def test_with_the_record_before_it_the_lineage_is_decided(
    inspect: Any, client: DirectoryClient, tmp_path: Path
) -> None:
    first = frame(client)
    second = frame(client, first)
    (tmp_path / "first").write_bytes(first.encode())
    assert verdicts(inspect(second.encode())[1])[6] == "not decided"
    assert verdicts(inspect(second.encode(), "--previous", tmp_path / "first")[1])[6] == "passed"
    code, broken = inspect(frame(client, first, previous=bytes(48)).encode(), "--previous", tmp_path / "first")
    assert (code, broken["steps"][6]["code"]) == (Exit.RECORD, "chain-broken")


def test_a_directory_as_it_was_last_seen_will_do(inspect: Any, client: DirectoryClient, tmp_path: Path) -> None:
    record = frame(client).encode()
    assert inspect(record)[0] == Exit.DONE
    (tmp_path / "served").rename(tmp_path / "gone")
    assert inspect(record)[0] == Exit.DONE


def test_a_directory_that_is_not_known_is_no_verdict_on_the_record(inspect: Any, client: DirectoryClient) -> None:
    code, found = inspect(frame(client, directory=bytes(48)).encode())
    assert (code, found["steps"][2]["code"]) == (Exit.AGAIN, "directory-unknown")


@pytest.mark.parametrize(
    ("record", "step", "code"),
    [(b"", 1, "magic-unknown"), (b"AGB1", 1, "record-too-short"), (bytes(700 * 1024), 1, "record-too-large")],
)
def test_whatever_a_file_holds_ends_at_its_step(
    inspect: Any, client: DirectoryClient, record: bytes, step: int, code: str
) -> None:
    del client
    ended, found = inspect(record)
    assert (ended, found["steps"][step - 1]["code"], found["header"]) == (Exit.RECORD, code, {})


def test_it_belongs_where_it_was_signed_for(inspect: Any, client: DirectoryClient) -> None:
    code, found = inspect(frame(client).encode(), topic="us.fbi.fugitives.urgent")
    assert (code, found["steps"][1]["code"]) == (Exit.RECORD, "channel-mismatch")


def test_the_header_of_a_forged_record_is_told_as_a_claim(
    client: DirectoryClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = frame(client).encode()
    (tmp_path / "record").write_bytes(record[:6000] + bytes([record[6000] ^ 1]) + record[6001:])
    words = ["inspect", str(tmp_path / "record"), "--topic", CHANNEL, "--config", str(tmp_path / "inspect.toml")]
    assert main(words) == Exit.RECORD
    assert "CLAIMS" in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["50", "130"])
def test_it_fits_a_narrow_screen(
    client: DirectoryClient,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    (tmp_path / "record").write_bytes(frame(client).encode())
    words = ["inspect", str(tmp_path / "record"), "--topic", CHANNEL, "--config", str(tmp_path / "inspect.toml")]
    assert main(words) == Exit.DONE
    out = capsys.readouterr().out
    assert "signatures" in out
    assert "no step refuses it" in out


# --- bad input


def test_a_file_without_its_topic_and_a_topic_without_an_offset_are_asked_for(
    inspect: Any, client: DirectoryClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = inspect(frame(client).encode(), topic="")
    assert (code, found["error"]["code"]) == (Exit.USAGE, "usage")
    assert main(["inspect", CHANNEL, "--config", str(tmp_path / "inspect.toml")]) == Exit.USAGE
    assert "@OFFSET" in capsys.readouterr().err


def test_opening_needs_an_endpoint_and_reading_a_topic_needs_brokers(
    inspect: Any, client: DirectoryClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = inspect(frame(client).encode(), "--open")
    assert (code, found["error"]["code"]) == (Exit.USAGE, "usage")
    capsys.readouterr()
    assert main(["inspect", f"{CHANNEL}@0", "--config", str(tmp_path / "inspect.toml"), "--json"]) == Exit.SETUP
    assert json.loads(capsys.readouterr().err)["error"]["where"] == "kafka"


@pytest.mark.parametrize("words", [("inspect", f"{CHANNEL}@0"), ("replay", CHANNEL)])
def test_an_unknown_key_of_the_configuration_is_named(
    client: DirectoryClient, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    del client
    (tmp_path / "bad.toml").write_text('endpoint = "x"\nstate = "x"\nstrat = "now"\n', encoding="utf-8")
    assert main([*words, "--config", str(tmp_path / "bad.toml"), "--json"]) == Exit.SETUP
    assert "strat" in json.loads(capsys.readouterr().err)["error"]["what"]
