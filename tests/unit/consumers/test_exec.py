"""Sink exec: a program gets each event at least once, whether it answers, dies, hangs, refuses or talks nonsense."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import uvloop

from agencybus.errors import SinkError
from agencybus_consumers.sinks import exec as module
from agencybus_consumers.sinks.exec import ExecConfig, ExecSink
from deliveries import Frame

Loop = Callable[[], asyncio.AbstractEventLoop]

# Keeps what it reads; then answers as its first argument says. FOLDER holds what it has read over all its runs.
TOOL = """
import json, os, sys, time
folder, how = sys.argv[1], sys.argv[2]
runs = os.path.join(folder, "runs")
with open(runs, "a") as file:
    file.write("x")
run = os.path.getsize(runs)
with open(os.path.join(folder, "got"), "a", buffering=1) as got:
    for number, line in enumerate(sys.stdin, 1):
        got.write(line)
        event_id = json.loads(line)["event"]["event_id"]
        if how == "dies-at-3" and number == 3 and run < 3:
            os._exit(7)
        if how == "hangs-once" and run == 1 and number == 2:
            time.sleep(600)
        if how == "refuses-second" and number == 2:
            print(event_id, "refused", flush=True)
        elif how == "backwards":
            pass
        elif how == "nonsense":
            print("hello\\n\\nof no use\\n" + event_id + "\\n" + event_id, flush=True)
        elif how == "endless" and run == 1:
            sys.stdout.write("x" * 100_000)
            sys.stdout.flush()
        elif how != "silent":
            print(event_id, flush=True)
        if how == "stubborn":
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sys.stdin = open(os.devnull)
            time.sleep(600)
"""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run on either loop: the daemon's is uvloop, a host application's may be another."""

    def runner(main: Coroutine[Any, Any, None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await main

        with asyncio.Runner(loop_factory=request.param) as loop:
            loop.run(bounded())

    return runner


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(module, "KILL_SECONDS", 0.5)
    monkeypatch.setattr(module, "LAST_WORDS_SECONDS", 0.1)


def config(folder: Path, how: str, **changes: Any) -> ExecConfig:
    command = (sys.executable, "-c", TOOL, str(folder), how)
    return ExecConfig(command=command, stop_seconds=changes.pop("stop_seconds", 2.0), **changes)


@asynccontextmanager
async def sink(made: ExecConfig, alarms: list[tuple[str, str]] | None = None) -> AsyncIterator[ExecSink]:
    out = ExecSink(made, lambda code, what: alarms.append((code, what)) if alarms is not None else None)
    try:
        await out.start()
        yield out
    finally:
        await out.close()


async def until(true: Callable[[], bool]) -> None:
    """Wait until a condition holds that nothing tells of."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def got(folder: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (folder / "got").read_bytes().splitlines()]


def seen(folder: Path) -> list[tuple[str, bool]]:
    return [(line["event"]["event_id"], line["redelivered"]) for line in got(folder)]


def test_what_the_program_answers_for_is_done_and_nothing_before(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        first, second = Frame(1, 3), Frame(2, 2, redelivered=True)
        async with sink(config(tmp_path, "good")) as out:
            await out.deliver([*first, *second])
        assert (first.answered, second.answered) == (3, 2)
        assert [again for _, again in seen(tmp_path)] == [False] * 3 + [True] * 2
        assert got(tmp_path)[0]["position"] == ["us.fbi.fugitives.routine", 0, 1, 0]

    run(story())


def test_without_an_answer_nothing_is_done_and_the_daemon_waits(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        frame = Frame(1, 3)
        async with sink(config(tmp_path, "silent")) as out:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(out.deliver(list(frame)), 0.4)
        assert frame.answered == 0

    run(story())


def test_a_program_that_dies_gets_the_rest_again_marked_and_no_more_than_the_rest(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        frame, alarms = Frame(1, 6), list[tuple[str, str]]()
        async with sink(config(tmp_path, "dies-at-3"), alarms) as out:
            await out.deliver(list(frame))
        assert frame.answered == 6
        identities = [str(frame.event_id(number)) for number in range(6)]
        # Lines that were in the pipe when it died were never read; the third of each run was, and was not answered for.
        unanswered = [(identities[2], False), (identities[2], True), (identities[4], True), (identities[4], True)]
        answered = [entry for entry in seen(tmp_path) if entry not in unanswered]
        assert answered == [
            (identities[0], False),
            (identities[1], False),
            (identities[3], True),
            (identities[5], True),
        ]
        assert alarms == [("sink-failed", "the program ended with exit code 7")] * 2

    run(story())


def test_a_program_that_hangs_is_ended_and_started_again(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        frame, alarms = Frame(1, 4), list[tuple[str, str]]()
        hanging = config(tmp_path, "hangs-once", patience_seconds=0.5, stop_seconds=0.2)
        async with sink(hanging, alarms) as out:
            await out.deliver(list(frame))
        assert frame.answered == 4
        assert alarms == [("sink-failed", "the program gives no answer for 0.5 s")]

    run(story())


def test_a_refused_event_is_refused_and_the_others_are_done(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        frame = Frame(1, 3)
        async with sink(config(tmp_path, "refuses-second")) as out:
            await out.deliver(list(frame))
        assert frame.batch.done.is_set()
        assert frame.batch.refused == {1: "the program refused it"}

    run(story())


@pytest.mark.parametrize("how", ["nonsense", "endless"])
def test_nonsense_is_no_answer_and_no_harm(run: Any, tmp_path: Path, how: str) -> None:
    async def story() -> None:
        frame = Frame(1, 3)
        async with sink(config(tmp_path, how, patience_seconds=0.5, stop_seconds=0.1)) as out:
            await out.deliver(list(frame))
        assert frame.answered == 3

    run(story())


def test_more_than_a_pipe_holds_is_passed_on_as_the_program_reads(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        frame = Frame(1, 400)  # 700 KB
        async with sink(config(tmp_path, "good")) as out:
            await out.deliver(list(frame))
        assert frame.answered == 400
        assert [identity for identity, _ in seen(tmp_path)] == [str(frame.event_id(n)) for n in range(400)]

    run(story())


def test_unacknowledged_mode_is_done_with_the_pipe_and_blocks_when_that_is_full(run: Any) -> None:
    async def story() -> None:
        sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
        frame = Frame(1, 400)
        async with sink(ExecConfig(command=sleeper, acknowledge=False, stop_seconds=0.1)) as out:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(out.deliver(list(frame)), 0.4)
        assert 10 < frame.answered < 100, "about 64 KiB of lines"

    run(story())


def test_unacknowledged_mode_needs_no_answer(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        frame = Frame(1, 50)
        async with sink(config(tmp_path, "silent", acknowledge=False)) as out:
            await out.deliver(list(frame))
            assert frame.answered == 50
        assert len(got(tmp_path)) == 50, "a program that ends with its input has read it all"

    run(story())


def test_a_dead_program_is_not_taken_for_one_that_read(run: Any) -> None:
    async def story() -> None:
        dead, alarms = ("/bin/sh", "-c", "exit 3"), list[tuple[str, str]]()
        frame = Frame(1, 2)
        async with sink(ExecConfig(command=dead, acknowledge=False), alarms) as out:
            await asyncio.sleep(0.3)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(out.deliver(list(frame)), 0.02)
        assert frame.answered == 0
        assert alarms[0] == ("sink-failed", "the program ended with exit code 3")

    run(story())


def test_a_stubborn_program_is_killed_within_the_bound(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with sink(config(tmp_path, "stubborn", stop_seconds=0.2)) as out:
            await out.deliver(list(Frame(1)))
            program = out._program
            assert program is not None
            pid = program._process.pid
            began = time.monotonic()
        assert time.monotonic() - began < 3
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    run(story())


def test_children_that_a_program_leaves_behind_end_with_it(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        leaving = ("/bin/sh", "-c", f"sleep 600 & echo $! > {tmp_path}/child; exit 0")
        async with sink(ExecConfig(command=leaving, stop_seconds=0.2)):
            await until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "")
        child = int((tmp_path / "child").read_text())
        await until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)

    run(story())


def test_a_program_that_is_not_there_is_told(run: Any) -> None:
    async def story() -> None:
        out = ExecSink(ExecConfig(command=("/nowhere/tool",)), lambda _code, _what: None)
        for attempt in (out.start, out.check):
            with pytest.raises(SinkError) as error:
                await attempt()
            assert (error.value.code, error.value.where) == ("sink-failed", "/nowhere/tool")
        await out.close()

    run(story())


def test_standard_error_is_dropped_or_goes_to_a_private_file(
    run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        loud = ("/bin/sh", "-c", "echo content >&2; cat > /dev/null")
        for where in (None, tmp_path / "tool.err"):
            async with sink(ExecConfig(command=loud, acknowledge=False, stderr=where)) as out:
                await out.deliver(list(Frame(1)))

    run(story())
    assert (tmp_path / "tool.err").read_text() == "content\n"
    assert stat.S_IMODE((tmp_path / "tool.err").stat().st_mode) == 0o600
    assert "content" not in "".join(capfd.readouterr())


def test_an_interrupt_of_the_terminal_does_not_reach_the_program(run: Any, tmp_path: Path) -> None:
    async def story() -> None:
        async with sink(config(tmp_path, "good")) as out:
            program = out._program
            assert program is not None
            assert os.getpgid(program._process.pid) != os.getpgrp()
            os.killpg(os.getpgid(program._process.pid), signal.SIGCONT)

    run(story())
