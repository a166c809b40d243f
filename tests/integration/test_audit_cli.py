"""`agencybus replay` and `inspect` on a real Kafka: every record counted, nothing live touched, exports that repeat."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agencybus.cli import main
from agencybus.cli.exits import Exit
from agencybus.config import SubscriberConfig, load
from agencybus.kafka.local import LocalCluster
from agencybus.node import Node
from agencybus.publisher import Accepted
from agencybus.sandbox import Sandbox
from integration.bus import CHANNEL, FBI, FGR, INM, alert, publishing, records, write
from integration.rogue import Rogue

ANAM = "mx.anam/aduanas"
NATIONAL = "UNCLASSIFIED//NOFORN"


@dataclass(frozen=True)
class Scene:
    """A piece of the channel with one of everything.

    Attributes:
        begin: offset of its first record.
        end: offset behind its last.
        shared: offset of a frame of three events for both countries.
        forged: offset of a copy with a flipped byte.
    """

    begin: int
    end: int
    shared: int
    forged: int


@pytest.fixture(scope="module")
def scene(federation: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return asyncio.run(_scene(federation, tmp_path_factory.mktemp("audited")))


async def _scene(federation: Sandbox, folder: Path) -> Scene:
    """Three shared events, two national ones, a copy, a forgery; then two records of a rogue, with one left out."""
    begin = len(await records(federation, CHANNEL))
    async with publishing(federation, folder) as bus:
        results = await bus.publish_many([alert(f"{folder.name}-{n}") for n in range(3)])
        await bus.publish_many([alert(f"{folder.name}-national-{n}", label=NATIONAL) for n in range(2)])
        first = results[0]
        assert isinstance(first, Accepted)
        real, *_ = await records(federation, CHANNEL, since=first.offset)
        copy = bytearray(real.value or b"")
        await write(federation, bytes(copy))
        copy[6000] ^= 1
        forged = await write(federation, bytes(copy))
    node = await Node.open(load(federation.subscriber(FGR), SubscriberConfig))
    rogue = Rogue(federation, folder, node)
    frames = [rogue.frame(alert(f"{folder.name}-rogue-{n}")) for n in range(3)]  # with keys that nobody was granted
    await node.close()
    for number in (0, 2):
        last = await write(federation, frames[number].encode())
    return Scene(begin, last + 1, first.offset, forged)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command with --json; gives the exit code and the document, or the error."""

    def command(*words: str | Path | int) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main([*map(str, words), "--json"])
        told = capsys.readouterr()
        return code, json.loads((told.out or told.err).splitlines()[-1])

    return command


@pytest.fixture
def replay(federation: Sandbox, scene: Scene, said: Any) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Replays the scene as an endpoint."""

    def run(endpoint: str, *words: str | Path) -> tuple[int, dict[str, Any]]:
        command = ("replay", CHANNEL, "--config", federation.subscriber(endpoint))
        found: tuple[int, dict[str, Any]] = said(*command, "--from", scene.begin, "--to", scene.end, *words)
        return found

    return run


# --- replay


def test_every_record_of_the_range_is_in_exactly_one_count(replay: Any, scene: Scene) -> None:
    code, found = replay(INM)
    assert code == Exit.FINDINGS
    kinds = ("checkpoints", "frames", "not_in_audience", "duplicates", "refused", "grant_missing")
    assert sum(found[kind] for kind in kinds) == found["records"] == scene.end - scene.begin
    assert (found["frames"], found["events"]) == (1, 3)
    assert (found["not_in_audience"], found["not_in_audience_events"]) == (1, 2)
    assert found["not_in_audience_by_rule"] == {"national-only": 1}
    assert (found["duplicates"], found["grant_missing"], found["refused_events"]) == (1, 2, 2)
    assert found["refused_by_step"] == [{"step": 4, "code": "mldsa-signature-invalid", "records": 1}]
    assert found["findings"] == {"gap": 1}
    first = found["records_refused"][0]
    assert (first["offset"], first["step"]) == (scene.forged, 4)
    assert found["complete"]
    assert not found["clean"]
    (directory,) = found["directories"]
    assert directory["records"] == found["records"] - 1, "of the forged one nothing is believed"


def test_who_is_cleared_for_more_reads_more(replay: Any) -> None:
    found = replay("us.fbi/case-files")[1]
    assert (found["frames"], found["events"], found["not_in_audience"]) == (2, 5, 0)


def test_two_exports_of_a_range_are_the_same_and_hold_what_a_reader_gets(
    replay: Any, scene: Scene, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert replay(FGR, "--export", first)[1]["export"] == str(first)
    replay(FGR, "--export", second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.jsonl", "second.jsonl"]
    lines = [json.loads(line) for line in first.read_text(encoding="utf-8").splitlines()]
    assert [line["position"] for line in lines] == [[CHANNEL, 0, scene.shared, number] for number in range(3)]
    for line in lines:
        assert (line["sealed"]["by"], line["label"]) == (FBI, line["event"]["label"])
    code, refused = replay(FGR, "--export", first)
    assert (code, refused["error"]["code"]) == (Exit.REFUSED, "export-unwritable")


def test_no_live_state_is_touched(replay: Any, federation: Sandbox) -> None:
    def files() -> dict[str, int]:
        folder = federation.folder(FGR)
        kept = [path for path in folder.rglob("*") if path.is_file() and "directory" not in path.parts]
        return {str(path): path.stat().st_mtime_ns for path in kept}

    before = files()
    replay(FGR)
    assert files() == before


def test_events_of_other_types_are_verified_counted_and_left_out(replay: Any, tmp_path: Path) -> None:
    found = replay(FGR, "--type", "cargo_hold", "--export", tmp_path / "none.jsonl")[1]
    assert (found["events"], found["left_out_by_type"]) == (3, {"alert": 3})
    assert (tmp_path / "none.jsonl").read_bytes() == b""


def test_a_range_that_begins_midway_is_normal_and_said(federation: Sandbox, scene: Scene, said: Any) -> None:
    at = scene.shared + 1
    code, found = said("replay", f"{CHANNEL}/0", "--config", federation.subscriber(FGR), "--from", at, "--to", at + 1)
    assert found["clean"], found
    assert (code, found["records"], found["findings"]) == (Exit.DONE, 1, {"joined-midway": 1})


def test_for_people_events_come_first_and_the_counts_after_them(
    federation: Sandbox, scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["replay", CHANNEL, "--config", str(federation.subscriber(INM))]
    assert main([*words, "--from", str(scene.begin), "--to", str(scene.end)]) == Exit.FINDINGS
    out = capsys.readouterr().out
    first, *_ = out.splitlines()
    assert first.startswith(f"0/{scene.shared}.0 ")
    assert "JOHN EXAMPLE" in first
    for words_ in ("not for us", "national-only 1", "step 4 mldsa-signature-invalid 1", "gap", "no key", "came again"):
        assert words_ in out


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("us.fbi.nothing.routine",), Exit.AGAIN, "topic-missing"),
        (("fugitives",), Exit.SETUP, "config-invalid"),
        (("us.fbi.grants",), Exit.USAGE, "usage"),
        ((CHANNEL, "--from", "yesterday"), Exit.USAGE, "usage"),
        ((CHANNEL, "--from", "3", "--to", "2"), Exit.USAGE, "usage"),
        ((CHANNEL, "--to", "9999999"), Exit.USAGE, "usage"),
        ((CHANNEL, "--type", "riot"), Exit.USAGE, "usage"),
        ((f"{CHANNEL}/7",), Exit.AGAIN, "topic-missing"),
        ((CHANNEL, "--export", "/nowhere/at/all.jsonl"), Exit.REFUSED, "export-unwritable"),
    ],
)
def test_what_can_not_be_replayed_is_a_documented_error(
    federation: Sandbox, said: Any, words: tuple[str, ...], code: Exit, error: str
) -> None:
    found = said("replay", *words, "--config", federation.subscriber(FGR))
    assert (found[0], found[1]["error"]["code"]) == (code, error)


def test_without_the_right_to_read_the_broker_says_no(
    federation: Sandbox, cluster: LocalCluster, tmp_path: Path, said: Any
) -> None:
    original, text = federation.subscriber(FGR), federation.subscriber(FGR).read_text(encoding="utf-8")
    for name, file in zip(("cert", "key"), cluster.client_files("us.cbp/no-rights")[1:], strict=True):
        (line,) = (line for line in text.splitlines() if line.startswith(f"{name} = "))
        text = text.replace(line, f'{name} = "{file}"')
    config = original.with_name(f"{tmp_path.name}.toml")
    config.write_text(text, encoding="utf-8")
    for words in (("replay", CHANNEL), ("inspect", f"{CHANNEL}@0")):
        code, found = said(*words, "--config", config)
        assert (code, found["error"]["code"]) == (Exit.AGAIN, "broker-refused")


# --- inspect


@pytest.fixture
def inspect(federation: Sandbox, said: Any) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Inspects a record as an endpoint."""

    def run(offset: int, endpoint: str, *words: str, topic: str = CHANNEL) -> tuple[int, dict[str, Any]]:
        config = federation.subscriber(endpoint)
        found: tuple[int, dict[str, Any]] = said("inspect", f"{topic}@{offset}", "--config", config, *words)
        return found

    return run


def verdicts(found: dict[str, Any]) -> list[str]:
    return [step["verdict"] for step in found["steps"]]


def test_who_is_not_cleared_sees_who_said_it_and_that_it_holds(inspect: Any, scene: Scene) -> None:
    code, found = inspect(scene.shared, ANAM)
    assert code == Exit.DONE
    assert (found["kind"], found["header"]["endpoint"], found["header"]["count"]) == ("frame", FBI, 3)
    assert found["verified"]
    assert verdicts(found) == ["passed"] * 8 + ["needs a key"] * 5
    assert INM in found["audience"]
    assert ANAM not in found["audience"]
    rules = {ruling["endpoint"]: ruling["rule"] for ruling in found["rulings"]}
    assert rules[ANAM] == "not-a-party"
    assert found["events"] == []
    code, asked = inspect(scene.shared, ANAM, "--open")
    assert (code, verdicts(asked), asked["events"]) == (Exit.DONE, verdicts(found), [])


def test_who_is_cleared_may_open_it(inspect: Any, scene: Scene) -> None:
    code, found = inspect(scene.shared, FGR, "--open")
    assert (code, verdicts(found)) == (Exit.DONE, ["passed"] * 13)
    assert len(found["events"]) == 3
    assert found["events"][0]["headline"] == "JOHN EXAMPLE"


def test_a_forged_record_is_refused_at_its_step_and_its_header_is_a_claim(inspect: Any, scene: Scene) -> None:
    code, found = inspect(scene.forged, ANAM)
    assert code == Exit.RECORD
    assert verdicts(found) == ["passed"] * 3 + ["refused"] + ["not reached"] * 9
    assert found["steps"][3]["code"] == "mldsa-signature-invalid"
    assert not found["verified"]


def test_what_lies_before_decides_on_the_lineage(inspect: Any, scene: Scene) -> None:
    follows, duplicate, gap = (
        inspect(offset, ANAM)[1]["steps"][6]["text"] for offset in (scene.shared + 1, scene.forged - 1, scene.end - 1)
    )
    assert "follows record" in follows
    assert "readers drop this one" in duplicate
    assert "gap: records 1 to 1 are missing" in gap
    code, alone = inspect(scene.shared + 1, ANAM, "--back", "0")
    assert (code, verdicts(alone)[6]) == (Exit.DONE, "not decided")


def test_a_grant_can_be_inspected_as_well(inspect: Any, federation: Sandbox) -> None:
    count = len(asyncio.run(records(federation, "us.fbi.grants")))
    found = [inspect(offset, FGR, "--open", topic="us.fbi.grants") for offset in range(count)]
    mine = [each for code, each in found if each["header"]["agency"] == "mx.fgr" and code == Exit.DONE]
    assert mine
    assert all(verdicts(each)[8] == "passed" for each in mine)
    assert all(verdicts(each)[6:8] == ["not applicable"] * 2 for each in mine)


def test_there_is_no_record_beyond_the_end(inspect: Any) -> None:
    code, found = inspect(9_999_999, ANAM)
    assert (code, found["error"]["code"]) == (Exit.USAGE, "usage")
    assert "it holds 0 to " in found["error"]["what"]
