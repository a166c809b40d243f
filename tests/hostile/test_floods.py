"""Floods of bad or needless records: what they cost is bounded, and what they can't use up is named."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import states
from agencybus.lineage import Head, LineageId
from agencybus.subscribing import verifier
from agencybus.subscribing.stats import SHOWN, Stats
from agencybus.subscribing.verifier import Verifier
from readers import CHANNEL, FBI, Writer, now, raw, reading
from repositories import World


async def test_an_endpoint_that_writes_under_ever_new_names_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "LINEAGES", 3)
    async with reading(World.made_in(tmp_path), tmp_path) as reader:
        known = LineageId(FBI, "from an earlier run", CHANNEL, 0)
        with reader.state.transaction() as step:
            step.head(known, Head(7, bytes(48), now(), "run"))
        again = Verifier(reader.node, reader.state, started_at=0, patience=0)
        writers = [Writer(reader.node.directory, writer=f"name-{number}") for number in range(3)]
        results = [await again.verify(raw(writer.checkpoint(), n)) for n, writer in enumerate(writers)]
        codes = [result.refusal.code if result.refusal else "" for result in results]
        assert codes == ["", "", "lineages-too-many"]
        assert (await again.verify(raw(writers[0].checkpoint(), 9))).refusal is None
        assert set(again.heads) == {known, *(LineageId(FBI, f"name-{n}", CHANNEL, 0) for n in range(2))}


async def test_refused_records_leave_nothing_in_memory(tmp_path: Path) -> None:
    async with reading(World.made_in(tmp_path), tmp_path) as reader:
        for number in range(5):
            writer = Writer(reader.node.directory, writer=f"name-{number}")
            refused = await reader.verify(raw(writer.checkpoint(previous=os.urandom(48)), number))
            assert refused.refusal is not None
            assert refused.refusal.code == "lineage-start-invalid"
        taken = await reader.verify(raw(Writer(reader.node.directory).checkpoint(), 9))
        assert taken.outcome is not None
        reader.verifier.forget(taken.outcome)
        assert not reader.verifier._ahead


def test_a_flood_of_alarms_is_counted_whole_and_logged_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    counted = Stats()
    with capture_logs() as lines:
        for _ in range(1000):
            counted.alarm("quarantined", "magic-unknown")
        counted.alarm("fork", "another record 7 exists")
        clock[0] += 61
        counted.alarm("quarantined", "magic-unknown")
    assert counted.alarms == {"quarantined": 1001, "fork": 1}
    assert len([line for line in lines if line["event"] == "alarm"]) == SHOWN + 2
    assert [line["count"] for line in lines if line["event"] == "alarms-not-shown"] == [1000 - SHOWN]


def test_what_is_not_kept_is_not_looked_for_again_and_again(tmp_path: Path) -> None:
    """Tens of thousands of made-up names would be looked up every two seconds, for records that can't be verified."""
    with states.reader(tmp_path) as state:
        vault = state.quarantine
        vault._kept_bytes = 3 * 2048
        with state.transaction() as step:
            for number in range(9):
                step.quarantine(states.refused(number, code="directory-unknown", waits_for=states.digest(number)))
        assert sorted(vault.awaited()) == sorted(states.digest(number) for number in range(3))
