"""`agencybus consume`: what is printed is acknowledged, what is not comes again."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agencybus.cli.exits import Exit
from agencybus.sandbox import Sandbox
from integration.bus import CHANNEL, FGR, alert, publishing, write

pytestmark = pytest.mark.usefixtures("federation")


@pytest.fixture
def words(federation: Sandbox, tmp_path: Path) -> list[str]:
    """The command, for a reader that begins now."""
    original = federation.subscriber(FGR)
    text = original.read_text().replace('start = "earliest"', f'start = "{datetime.now(UTC).isoformat()}"')
    for name in ("keys.json", "passphrase", "directory"):
        text = text.replace(f'"{name}"', f'"{original.parent / name}"')
    (tmp_path / "subscriber.toml").write_text(text)
    return ["consume", "--config", str(tmp_path / "subscriber.toml")]


async def run(*command: str, exit_code: int = 0) -> str:
    """What it prints. In a process of its own: signals and hardening are a process's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agencybus", *command, stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(30):
        printed, told = await process.communicate()
    assert process.returncode == exit_code, told.decode()
    return printed.decode()


def references(printed: str) -> list[Any]:
    return [msgspec.json.decode(line)["event"]["reference"] for line in printed.splitlines()]


async def test_a_reader_prints_what_is_there_goes_on_where_it_stopped_and_says_what_was_refused(
    federation: Sandbox, tmp_path: Path, words: list[str]
) -> None:
    async with publishing(federation, tmp_path) as bus:
        await bus.publish(alert("printed-1", headline="A bus,\tnot a train"))
        await bus.publish(alert("printed-2"))
        told = await run(*words, "--no-follow")
        first, second = told.splitlines()
        assert "alert  us.fbi/wanted  UNCLASSIFIED//REL TO USA, MEX  printed-1  A bus,\\tnot a train" in first
        assert "printed-2" in second

        await bus.publish_many([alert(f"printed-{n}") for n in (3, 4, 5)])
        assert references(await run(*words, "--json", "--count", "1")) == ["printed-3"]
        again = await run(*words, "--json", "--no-follow")
        assert references(again) == ["printed-3", "printed-4", "printed-5"], "the frame in which --count ended"
        assert all(msgspec.json.decode(line)["redelivered"] for line in again.splitlines())

        await bus.publish(alert("of-another-type"))
        await write(federation, b"no record at all", topic=CHANNEL)
        told = await run(*words, "--no-follow", "--type", "cargo_hold", exit_code=Exit.FINDINGS)
        assert told == ""


async def test_an_interrupt_ends_it_in_order(federation: Sandbox, tmp_path: Path, words: list[str]) -> None:
    command = [sys.executable, "-m", "agencybus", *words, "--json"]
    reader = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert reader.stdout is not None
    try:
        async with publishing(federation, tmp_path) as bus, asyncio.timeout(30):
            await bus.publish(alert("before-the-interrupt"))
            assert references((await reader.stdout.readline()).decode()) == ["before-the-interrupt"]
            reader.send_signal(signal.SIGINT)
            assert await reader.wait() == Exit.INTERRUPTED
    finally:
        if reader.returncode is None:
            reader.kill()
    assert await run(*words, "--no-follow") == ""


async def test_a_reader_whose_pipe_is_closed_ends_with_its_own_code(
    federation: Sandbox, tmp_path: Path, words: list[str]
) -> None:
    shell = " ".join([sys.executable, "-m", "agencybus", *words, "--json"])
    async with publishing(federation, tmp_path) as bus:
        await bus.publish_many([alert(f"pipe-{n}") for n in range(200)])
        line = f"set -o pipefail; {shell} | head -n 1 > /dev/null"
        reader = await asyncio.create_subprocess_exec("bash", "-c", line, stderr=PIPE)
        async with asyncio.timeout(30):
            _, told = await reader.communicate()
        assert (reader.returncode, told) == (Exit.PIPE_CLOSED, b"")
