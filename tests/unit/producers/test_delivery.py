"""The cursor moves on only after acceptance: whatever dies in between, nobody is lost and nobody comes twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agencybus.errors import PolicyError, TransportError
from agencybus_producers import delivery
from agencybus_producers.changes import Planned
from agencybus_producers.cursor import Cursor
from agencybus_producers.delivery import deliver
from agencybus_producers.fbi import source
from producing import AT, DAY, Bus, entries, posters, read, stamp

ROOT = Path(__file__).parents[3]
LATE = TransportError("not-accepted", "not acknowledged within 30 s")


def planned(at: int = AT) -> list[Planned]:
    return source.plan(read(posters()[:6], at=at), {}, stamp(at=at)).messages


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "BATCH", 2)


@pytest.fixture
def bus(tmp_path: Path) -> Bus:
    return Bus(tmp_path / "bus.jsonl")


def cursor(folder: Path) -> Cursor:
    return Cursor.open(folder / "cursor", endpoint="us.fbi/wanted", source="fbi-wanted")


async def test_what_is_accepted_is_remembered_and_nothing_waits(tmp_path: Path, bus: Bus) -> None:
    messages = planned()
    with cursor(tmp_path) as one:
        outcome = await deliver(bus, one, messages)
        assert outcome.accepted == messages
        assert one.entries() == entries(messages)
        assert one.waiting() == []
    assert [event["reference"] for event in bus.events] == [message.entry.event.reference for message in messages]


async def test_progress_counts_every_message_once(tmp_path: Path, bus: Bus) -> None:
    done: list[int] = []
    with cursor(tmp_path) as one:
        await deliver(bus, one, planned(), done=done.append)
    assert sum(done) == 6


async def test_a_refused_message_is_forgotten_and_the_others_go_on(tmp_path: Path, bus: Bus) -> None:
    bus.fails[2] = PolicyError("ceiling-exceeded", "the label is above the ceiling")
    messages = planned()
    with cursor(tmp_path) as one:
        outcome = await deliver(bus, one, messages)
        assert [message for message, _ in outcome.refused] == [messages[2]]
        assert len(one.entries()) == 5
        assert one.waiting() == []


async def test_what_the_broker_did_not_take_in_time_waits_and_goes_first_in_the_next_run(
    tmp_path: Path, bus: Bus
) -> None:
    bus.fails[3] = LATE
    messages = planned()
    with cursor(tmp_path) as one:
        outcome = await deliver(bus, one, messages)
        assert outcome.failure is LATE
        assert len(one.entries()) == 3
        [waiting] = one.waiting()
        assert waiting == messages[3]
        await deliver(bus, one, one.waiting())
        await deliver(bus, one, messages[4:])
        assert one.entries() == entries(messages)
    assert len(bus.events) == 6


async def test_after_the_first_failure_no_further_batch_is_tried(tmp_path: Path, bus: Bus) -> None:
    bus.fails[0] = LATE
    with cursor(tmp_path) as one:
        await deliver(bus, one, planned())
    assert len(bus.events) == 1  # the other one of the first batch


async def test_a_repetition_is_remembered_with_the_event_id_of_the_first_time(tmp_path: Path, bus: Bus) -> None:
    first, again = planned(at=AT - 1_000_000), planned()
    with cursor(tmp_path / "lost") as one:
        await deliver(bus, one, first)
    with cursor(tmp_path / "new") as two:
        await deliver(bus, two, again)
        found = {entry.event.event_id for entry in two.entries().values()}
    assert found == {message.entry.event.event_id for message in first}
    assert len(bus.events) == 6


DIE = """
import asyncio, os, sys
from pathlib import Path
from agencybus_producers import delivery
from producing import *
from agencybus_producers.cursor import Cursor
delivery.BATCH = 2
folder, step = Path(sys.argv[1]), sys.argv[2]

class Mortal(Cursor):
    def begin(self, messages):
        if step == "before-begin": os._exit(9)
        super().begin(messages)
        if step == "after-begin": os._exit(9)
    def settle(self, accepted, refused):
        if step == "before-settle": os._exit(9)
        super().settle(accepted, refused)
        if step == "after-settle": os._exit(9)

async def main():
    at = int(sys.argv[3])
    with Mortal.open(folder / "cursor", endpoint="us.fbi/wanted", source="fbi-wanted") as one:
        bus = Bus(folder / "bus.jsonl")
        await delivery.deliver(bus, one, one.waiting())
        plan = source.plan(read(posters()[:6], at=at), one.entries(), stamp(at=at))
        await delivery.deliver(bus, one, plan.messages)
asyncio.run(main())
"""


@pytest.mark.parametrize("step", ["before-begin", "after-begin", "before-settle", "after-settle"])
def test_a_producer_that_dies_at_any_step_loses_nobody_and_publishes_nobody_twice(tmp_path: Path, step: str) -> None:
    def run(step: str, at: int) -> int:
        command = [sys.executable, "-c", DIE, str(tmp_path), step, str(at)]
        return subprocess.run(command, cwd=ROOT / "tests", timeout=60, check=False).returncode

    assert run(step, AT) == 9
    # Weeks later ids, times and references would all be others, had they not been stored.
    assert run("never", AT + 40 * DAY) == 0
    lines = (tmp_path / "bus.jsonl").read_bytes().splitlines()
    keys = [json.loads(line)["reference"].split("/")[1] for line in lines]
    assert sorted(keys) == sorted(item["uid"] for item in posters()[:6])
    with Cursor.open(tmp_path / "cursor", endpoint="us.fbi/wanted", source="fbi-wanted") as one:
        assert one.waiting() == []
        known = {str(entry.event.event_id) for entry in one.entries().values()}
    assert known == {json.loads(line)["event_id"] for line in lines}
