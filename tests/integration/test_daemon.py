"""The consumer daemon on a real Kafka: every tool what it may hold, no tool held up by another, an orderly end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError

import msgspec
import pytest

from agencybus.sandbox import Sandbox
from agencybus_consumers import checks
from daemons import Daemon, jsonl, keeper, lines, program, references, route
from integration.bus import alert, publishing, until

NORTH, BOTH = "SECRET//LES//REL TO USA, MEX", "UNCLASSIFIED//REL TO USA, MEX"
SOUTH = "CONFIDENCIAL//REL TO MEX, USA"
SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


async def test_each_tool_gets_what_its_ceiling_allows_in_the_words_of_either_country(
    federation: Sandbox, tmp_path: Path
) -> None:
    high, low, kept = tmp_path / "high.jsonl", tmp_path / "low.jsonl", tmp_path / "kept"
    routes = jsonl("high", high), jsonl("low", low, ceiling="MEX PUBLICA"), keeper("tool", kept)
    async with (
        Daemon(federation, tmp_path, *routes) as daemon,
        publishing(federation, tmp_path) as bus,
        publishing(federation, tmp_path, "mx.fgr/mandamientos") as south,
    ):
        await bus.publish(alert("secret", label=NORTH, headline="CANARY in the event"))
        await bus.publish(alert("open", label=BOTH))
        await bus.publish(alert("urgent", label=BOTH, precedence="FLASH"))
        await south.publish(alert("south", label=SOUTH, originator="mx.fgr/mandamientos"))
        await until(lambda: len(references(high)) == 4 == len(references(kept)))
        found = await daemon.until(lambda found: route(found, "low").events == 4)
        assert set(references(high)) == {"secret", "open", "urgent", "south"}
        assert set(references(low)) == {"open", "urgent"}
        assert (route(found, "low").above_ceiling, route(found, "high").above_ceiling) == (2, 0)
        assert not any(line["redelivered"] for line in lines(kept))
        await until(lambda: "agencybus_lineage_silence_seconds{" in daemon.get("/metrics"))  # it looks every 2 s
        assert_metrics(daemon.get("/metrics"))
        assert daemon.get("/live") == '{"live":true}'
        assert msgspec.json.decode(daemon.get("/ready"))["ready"] is True
        with pytest.raises(HTTPError, match="404"):
            daemon.get("/")
        assert await daemon.stop() == 0
        assert daemon.log[-1]["message"] == "daemon-ended"
        above = [entry for entry in daemon.log if entry.get("code") == "above-ceiling"]
        assert {(entry["route"], entry["text"].partition(":")[0]) for entry in above} == {
            ("low", NORTH),
            ("low", SOUTH),
        }
        assert "CANARY" not in daemon.log_file.read_text()
        assert not (daemon.config.state / "daemon.json").exists()


def assert_metrics(text: str) -> None:
    """All that the manual names is there, and nothing of any content."""
    manual = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in manual.split("## What to watch")[1].splitlines() if line.startswith("| ")]
    named = {f"agencybus_{name}" for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert len(named) > 15
    assert {name for name in named if f"# HELP {name}" not in text and f"# TYPE {name}" not in text} == set()
    assert 'agencybus_above_ceiling_total{route="low"} 2.0' in text
    topic = "us.fbi.fugitives.routine"
    assert f'agencybus_lag_records{{partition="0",route="high",topic="{topic}"}} 0.0' in text
    assert f'agencybus_lineage_silence_seconds{{channel="{topic}",endpoint="us.fbi/wanted",partition="0"' in text
    assert re.search(r'agencybus_key_expires_timestamp_seconds\{kind="kem"\} 1\.\d+e\+09', text)
    assert "CANARY" not in text


async def test_a_hanging_tool_and_a_failed_route_hold_nothing_else_up(federation: Sandbox, tmp_path: Path) -> None:
    good, foreign = tmp_path / "good.jsonl", tmp_path / "diary"
    foreign.write_text("not ours\n")
    routes = (
        program("hangs", *SLEEPER, more=", stop-seconds = 0.1"),
        program("gone", "/nowhere/tool"),
        jsonl("foreign", foreign),
        jsonl("good", good),
    )
    daemon = Daemon(federation, tmp_path, *routes, stop_seconds=1)
    daemon.start()
    try:
        found = await daemon.until(lambda found: route(found, "good").connected and route(found, "hangs").connected)
        assert not found.ready
        async with publishing(federation, tmp_path) as bus:
            await bus.publish_many([alert(f"past-the-others-{n}") for n in range(50)])
        await until(lambda: len(references(good)) == 50)
        found = await daemon.until(lambda found: route(found, "hangs").oldest_unacknowledged_seconds > 0.5)
        assert (route(found, "foreign").stage, route(found, "foreign").code) == ("failed", "sink-foreign")
        assert (route(found, "gone").stage, route(found, "gone").code) == ("pausing", "sink-failed")
        assert route(found, "gone").alarms["sink-failed"] >= 1
        assert (route(found, "hangs").stage, route(found, "hangs").lag) == ("running", 2), "a frame and the opening"
        with pytest.raises(HTTPError, match="503"):
            daemon.get("/ready")
        assert foreign.read_text() == "not ours\n"
        assert await daemon.stop(signal.SIGINT) == 9, "something was left: a failed route, and one that was cut off"
        assert daemon.log[-1]["left"] == ["hangs", "foreign"]
    finally:
        daemon.kill()


async def test_a_daemon_without_a_working_route_ends_with_the_code_of_the_failure(
    federation: Sandbox, tmp_path: Path
) -> None:
    foreign = tmp_path / "diary"
    foreign.write_text("not ours\n")
    daemon = Daemon(federation, tmp_path, jsonl("only", foreign))
    daemon.start()
    assert await daemon.ended() == 4
    told = daemon.log_file.read_text()
    assert "sink-foreign" in told
    assert "Traceback" not in told


async def test_an_address_that_is_taken_is_told(federation: Sandbox, tmp_path: Path) -> None:
    daemon = Daemon(federation, tmp_path, jsonl("out", tmp_path / "out.jsonl"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon.path.write_text(daemon.path.read_text().replace("127.0.0.1:0", address))
        daemon.start()
        assert await daemon.ended() == 4
    told = daemon.log_file.read_text()
    assert f"{address} can't be listened on" in told
    assert "Traceback" not in told


async def test_a_second_process_on_one_state_is_refused(federation: Sandbox, tmp_path: Path) -> None:
    async with Daemon(federation, tmp_path, jsonl("out", tmp_path / "out.jsonl")) as daemon:
        assert daemon.process is not None
        second = [sys.executable, "-m", "agencybus", "daemon", "run", "--config", str(daemon.path)]
        done = await asyncio.to_thread(subprocess.run, second, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 4
        assert "state-locked" in done.stderr
        assert f"process {daemon.process.pid}" in done.stderr
        assert "Traceback" not in done.stderr
        looked = {finding.name: finding async for finding in checks.look(daemon.config, daemon.path)}
        assert f"process {daemon.process.pid} uses it" in looked["state"].text


async def test_a_stop_finishes_what_is_in_hand_and_repeats_nothing(federation: Sandbox, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    daemon = Daemon(federation, tmp_path, keeper("slow", kept, seconds=0.02))
    async with daemon, publishing(federation, tmp_path) as bus:
        await bus.publish_many([alert(f"in-hand-{n}") for n in range(60)])
        await until(lambda: len(references(kept)) >= 5)
        assert await daemon.stop() == 0
        first = len(references(kept))
        daemon.start()
        await until(lambda: len(references(kept)) == 60)
        assert references(kept) == [f"in-hand-{n}" for n in range(60)], f"{first} before the stop"
        assert not any(line["redelivered"] for line in lines(kept))


@pytest.fixture
def disk(tmp_path: Path) -> object:
    """A disk of 3 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "agencybus-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (64 * 1024, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return ballast


async def test_a_full_disk_is_waited_out_and_told(federation: Sandbox, tmp_path: Path, disk: Path) -> None:
    out = disk / "out.jsonl"
    daemon = Daemon(federation, tmp_path, jsonl("out", out), state=disk / "state")
    async with daemon, publishing(federation, tmp_path) as bus:
        await bus.publish(alert("before"))
        await until(lambda: references(out) == ["before"])
        ballast = fill(disk)
        await bus.publish_many([alert(f"meanwhile-{n}") for n in range(40)])
        await daemon.until(lambda found: {"sink-full", "state-full"} & set(route(found, "out").alarms) != set())
        ballast.unlink()
        await until(lambda: len(references(out)) == 41, seconds=40)
        assert references(out) == ["before", *(f"meanwhile-{n}" for n in range(40))]
        assert await daemon.stop() == 0
        fill(disk)
        daemon.start()
        assert await daemon.ended() == 4
    told = daemon.log_file.read_text()
    assert "state-full" in told
    assert "Traceback" not in told
