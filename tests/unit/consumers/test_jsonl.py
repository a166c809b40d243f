"""Sink jsonl: each event once, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agencybus.errors import BusError, SinkError
from agencybus_consumers.sinks.jsonl import JsonlConfig, JsonlSink, LineFile
from deliveries import TOPIC, Frame, frames
from sample_events import alert

TESTS = Path(__file__).parents[2]


@asynccontextmanager
async def sink(path: Path) -> AsyncIterator[JsonlSink]:
    made = JsonlSink(JsonlConfig(path=path), lambda _code, _what: None)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


def written(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def offsets(path: Path) -> list[int]:
    return [line["position"][2] for line in written(path)]


@contextmanager
def opened(path: Path) -> Iterator[LineFile]:
    file = LineFile(path)
    try:
        yield file
    finally:
        file.close()


async def test_a_line_has_position_seal_label_and_the_event_in_readable_form(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    async with sink(path) as out:
        await out.deliver(frames(7))
    (line,) = written(path)
    assert line["position"] == [TOPIC, 0, 7, 0]
    assert (line["type"], line["label"], line["redelivered"]) == ("alert", alert().label, False)
    assert line["sealed"]["by"] == "us.fbi/wanted"
    assert line["sealed"]["at"] == "2026-03-01T12:00:00.123456Z"
    event = line["event"]
    assert event["event_id"] == str(Frame(7).event_id())
    assert event["reported_at"] == "2026-03-01T12:00:00.123456Z"
    assert event["person"]["birth_dates"] == ["1973-01-19", "1969-12-31"]
    assert event["person"]["aliases"][1] == "José Ejemplo"


def test_the_file_is_for_its_user_only(tmp_path: Path) -> None:
    with opened(tmp_path / "out.jsonl"):
        assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600


def test_what_comes_again_is_not_written_again_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as file:
        file.write(frames(1, 2, count=3))
        file.write(frames(2, count=3))
    with opened(path) as file:
        file.write(frames(1, 2, 3, count=3))
    assert offsets(path) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_half_a_frame_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as file:
        file.write(frames(5, count=4)[:2])
    with opened(path) as file:
        file.write(frames(5, count=4))
    assert [line["position"][3] for line in written(path)] == [0, 1, 2, 3]


def test_what_comes_out_of_quarantine_late_is_written_and_only_once(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as file:
        file.write(frames(1, 3, 4))
        file.write(frames(2))
        file.write(frames(2))
        file.write(frames(1, 2, 3, 4, 5))
    with opened(path) as file:
        file.write(frames(2, 0, 4))
    assert offsets(path) == [1, 3, 4, 2, 5, 0]


def test_partitions_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as file:
        file.write([*Frame(9), *Frame(2, topic="mx.fgr.fugitives.urgent")])
    with opened(path) as file:
        file.write([*Frame(9), *Frame(3, topic="mx.fgr.fugitives.urgent"), *Frame(2, topic="mx.fgr.fugitives.urgent")])
    assert offsets(path) == [9, 2, 3]


def test_a_file_cut_anywhere_is_whole_again_after_a_redelivery(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as file:
        file.write(frames(1, 2))
    whole = path.read_bytes()
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    near = [at + step for at in ends for step in range(-2, 20) if at + step <= len(whole)]
    for cut in sorted({*range(20), *range(0, len(whole), 53), *near}):
        path.write_bytes(whole[:cut])
        with opened(path) as file:
            file.write(frames(1, 2))
        assert path.read_bytes() == whole, cut


def test_zeros_that_a_loss_of_power_left_at_the_end_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as file:
        file.write(frames(1))
    whole = path.read_bytes()
    for tail in (bytes(4096), whole[:40] + bytes(100)):
        path.write_bytes(whole + tail)
        with opened(path):
            assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "content",
    [
        b"a diary\n",
        b"a diary",
        b'{"position":["t",0,1,0],"half\n',
        b'{"a":1}\n{"position":["t',
        bytes(100) + b"\n",
        b'{"position":["t",0,1,0],"x":1}\nmine\n{"position":["t",0,2,0],"x":1}\n',
    ],
)
def test_a_file_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(SinkError) as refused:
        LineFile(path)
    assert refused.value.code == "sink-foreign"
    assert path.read_bytes() == content


def test_a_pipe_is_refused_without_waiting_for_its_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SinkError) as refused:
        LineFile(tmp_path / "pipe")
    assert refused.value.code == "sink-foreign"


async def test_a_second_writer_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    async with sink(path):
        with pytest.raises(SinkError) as refused:
            async with sink(path):
                pass
        assert refused.value.code == "sink-locked"
    with opened(path):
        pass


def test_a_renamed_file_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as file:
        file.write(frames(1))
        path.rename(tmp_path / "out.jsonl.1")
        file.write(frames(1, 2))
        path.unlink()
        file.write(frames(3))
    assert offsets(tmp_path / "out.jsonl.1") == [1]
    assert offsets(path) == [3]


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow over 20,000 bytes: a disk that is full, for one process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_leaves_the_file_as_it_was_and_all_goes_on_with_new_space(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as file:
        file.write(frames(1, 2))
        before = path.read_bytes()
        with pytest.raises(SinkError) as full:
            file.write(frames(*range(3, 40)))
        assert full.value.code == "sink-full"
        assert path.read_bytes() == before
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        file.write(frames(*range(3, 40)))
    assert offsets(path) == list(range(1, 40))


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "out.jsonl"
    made = JsonlSink(JsonlConfig(path=path), lambda _code, _what: None)
    for attempt in (made.check, made.start):
        with pytest.raises(BusError) as missing:
            await attempt()
        assert (missing.value.code, missing.value.where) == ("sink-failed", str(path))
    await made.close()


async def test_a_check_touches_nothing_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    made = JsonlSink(JsonlConfig(path=path), lambda _code, _what: None)
    assert "will be made" in await made.check()
    assert not path.exists()
    with opened(path) as file:
        file.write(frames(1, 2, 3))
    path.write_bytes(path.read_bytes() + b'{"position":["')
    before = path.read_bytes()
    assert "3 lines" in await made.check()
    assert path.read_bytes() == before
    await made.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from agencybus_consumers.sinks import jsonl
from deliveries import frames

path, after = Path(sys.argv[1]), int(sys.argv[2])
real = os.fdatasync

def die(handle):
    os.kill(os.getpid(), signal.SIGKILL)

file = jsonl.LineFile(path)
file.write(frames(*range(after)))
os.fdatasync = die
file.write(frames(*range(after, after + 50)))
"""


def test_a_kill_between_writing_and_the_disk_costs_and_doubles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    done = subprocess.run([sys.executable, "-c", KILLED, path, "20"], cwd=TESTS, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with opened(path) as file:
        file.write(frames(*range(20, 80)))
    assert offsets(path) == list(range(80))
