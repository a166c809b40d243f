"""Publishing on a real Kafka: what was acknowledged is there, once, for those who may read it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from agencybus.errors import BusError, EventError, StateError, TransportError
from agencybus.kafka.local import LocalCluster
from agencybus.publisher import Accepted, Publisher
from agencybus.sandbox import Sandbox
from integration.bus import (
    CHANNEL,
    FGR,
    INM,
    USMS,
    alert,
    nothing_more,
    publishing,
    records,
    references,
    subscribing,
    take,
    until,
)


async def test_an_accepted_event_reaches_exactly_those_who_may_read_it(federation: Sandbox, tmp_path: Path) -> None:
    national = alert("only-us", label="SECRET//LES")
    async with (
        publishing(federation, tmp_path) as bus,
        subscribing(federation, tmp_path, FGR) as mexico,
        subscribing(federation, tmp_path, USMS) as marshals,
    ):
        assert {r.endpoint for r in bus.explain(national) if r.allowed} == {"us.fbi/wanted", "us.fbi/case-files", USMS}
        accepted = await bus.publish(alert("for-both"))
        assert (accepted.channel, accepted.durability, accepted.repeated) == (CHANNEL, "quorum", False)
        await bus.publish(national)
        assert references(await take(marshals, 2)) == ["for-both", "only-us"]
        assert references(await take(mexico, 1)) == ["for-both"]
        await until(lambda: mexico.stats.skipped == 1)
        await nothing_more(mexico)
        assert not mexico.stats.quarantined


async def test_a_reference_is_one_message_for_ever(federation: Sandbox, tmp_path: Path) -> None:
    first = alert("the-same")
    async with subscribing(federation, tmp_path) as reader:
        async with publishing(federation, tmp_path) as bus:
            accepted = await bus.publish(first)
            again = await bus.publish(first)
            assert (again.event_id, again.repeated) == (accepted.event_id, True)
            other = alert("the-same", headline="Something else")
            with pytest.raises(EventError) as refused:
                await bus.publish(other)
            assert (refused.value.code, refused.value.field) == ("reference-reused", "reference")
        async with publishing(federation, tmp_path) as bus:  # also after a restart
            assert (await bus.publish(first)).repeated
        assert references(await take(reader, 1)) == ["the-same"]
        await nothing_more(reader)


async def test_two_writers_with_one_reference_are_delivered_once(federation: Sandbox, tmp_path: Path) -> None:
    event = alert("twice-by-two")
    async with subscribing(federation, tmp_path) as reader:
        for writer in ("a", "b"):
            changes: dict[str, Any] = {"state": tmp_path / writer, "writer": f"{tmp_path.name[:30]}-{writer}"}
            async with publishing(federation, tmp_path, **changes) as bus:
                assert not (await bus.publish(event)).repeated
        await take(reader, 1)
        await nothing_more(reader)
        assert reader.stats.repeated == 1


async def test_what_may_not_be_published_is_refused_with_the_rule(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path) as bus:
        for event, code in (
            (alert("x", originator="us.cbp/ntc-cargo"), "endpoint-not-ours"),
            (alert("x", label="TOP SECRET"), "ceiling-exceeded"),
            (alert("x", label="SECRET//NOFORN//REL TO USA, MEX"), "label-invalid"),
            (alert("x", programme="nothing"), "programme-unknown"),
            (alert("x", programme="cargo-targeting"), "right-missing"),
            (alert("x", headline="a\x00b"), "event-invalid"),
        ):
            with pytest.raises(BusError) as refused:
                await bus.publish(event)
            assert refused.value.code == code
            assert refused.value.hint


async def test_of_many_the_bad_ones_are_refused_and_the_rest_goes_on(federation: Sandbox, tmp_path: Path) -> None:
    events = [alert(f"many-{n}") for n in range(1000)]
    events[500] = alert("many-500", label="SECRETO")
    async with publishing(federation, tmp_path) as bus, subscribing(federation, tmp_path) as reader:
        results = await bus.publish_many(events)
        assert isinstance(results[500], EventError)
        placed = [result for result in results if isinstance(result, Accepted)]
        assert len(placed) == 999
        assert len({result.offset for result in placed}) < 30, "events of a burst share frames"
        assert references(await take(reader, 999)) == [f"many-{n}" for n in range(1000) if n != 500]


async def test_a_lost_state_is_recovered_from_the_topic_and_said(federation: Sandbox, tmp_path: Path) -> None:
    async with subscribing(federation, tmp_path) as reader:
        async with publishing(federation, tmp_path) as bus:
            await bus.publish(alert("before"))
        shutil.rmtree(tmp_path / "publisher-us.fbi.wanted")
        async with publishing(federation, tmp_path) as bus:
            accepted = await bus.publish(alert("after"))
        assert accepted.sequence >= 2  # behind "before" and the close of the lineage
        assert references(await take(reader, 2)) == ["before", "after"]
        await until(lambda: reader.stats.alarms["writer-recovered"] == 1)
        assert not reader.stats.quarantined


async def test_a_restored_backup_does_not_sign_a_number_twice(federation: Sandbox, tmp_path: Path) -> None:
    state, backup = tmp_path / "publisher-us.fbi.wanted", tmp_path / "backup"
    async with subscribing(federation, tmp_path) as reader:
        async with publishing(federation, tmp_path) as bus:
            await bus.publish(alert("one"))
        shutil.copytree(state, backup)
        async with publishing(federation, tmp_path) as bus:
            await bus.publish(alert("two"))
        shutil.rmtree(state)
        backup.rename(state)
        async with publishing(federation, tmp_path) as bus:
            await bus.publish(alert("three"))
        assert references(await take(reader, 3)) == ["one", "two", "three"]
        await until(lambda: reader.stats.alarms["writer-recovered"] == 1)
        assert not reader.stats.quarantined


async def test_one_process_holds_a_state(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path):
        with pytest.raises(StateError) as refused:
            async with publishing(federation, tmp_path):
                pass
        assert refused.value.code == "state-locked"


async def test_without_a_broker_nothing_is_accepted_and_nothing_is_lost(
    federation: Sandbox, cluster: LocalCluster, tmp_path: Path
) -> None:
    async with (
        publishing(federation, tmp_path, deadline_seconds=3.0) as bus,
        subscribing(federation, tmp_path) as reader,
    ):
        await bus.publish(alert("with"))
        event = alert("without")
        cluster.kill(1)
        with pytest.raises(TransportError) as late:
            await bus.publish(event)
        assert late.value.code == "not-accepted"
        async with asyncio.timeout(8):  # of many, nobody waits for another's deadline again
            results = await bus.publish_many([alert(f"many-{n}") for n in range(20)])
        assert {result.code for result in results if isinstance(result, TransportError)} == {"not-accepted"}
        await asyncio.to_thread(cluster.restart, 1)
        await until(lambda: _accepted(bus), seconds=60)
        again = await bus.publish(event)  # idempotent: the journal had it
        assert again.repeated
        expected = ["with", "without", *(f"many-{n}" for n in range(20))]
        assert references(await take(reader, 22, seconds=60)) == expected
        await nothing_more(reader)


def _accepted(bus: Publisher) -> bool:
    return all(feed.trouble is None and not feed.waiting for feed in bus._feeds.values())


async def test_grants_of_another_process_are_used_instead_of_granting_again(
    federation: Sandbox, tmp_path: Path
) -> None:
    topic = "us.fbi.grants"
    async with publishing(federation, tmp_path) as bus:
        await bus.publish(alert("a-process"))
    before = len(await records(federation, topic))
    changes: dict[str, Any] = {"state": tmp_path / "second", "writer": f"{tmp_path.name[:30]}-2"}
    async with publishing(federation, tmp_path, **changes) as bus, subscribing(federation, tmp_path) as reader:
        await bus.publish(alert("another-process"))
        await take(reader, 1)
    assert len(await records(federation, topic)) == before


async def test_heartbeats_keep_a_quiet_feed_alive_and_close_ends_it(federation: Sandbox, tmp_path: Path) -> None:
    async with subscribing(federation, tmp_path, INM) as reader:
        async with publishing(federation, tmp_path, heartbeat_seconds=0.3) as bus:
            await bus.publish(alert("then-quiet"))
            await take(reader, 1)
            await until(lambda: reader.stats.checkpoints >= 3)
        await until(lambda: any(head.state == "close" for head in reader.heads.values()))
        assert not reader.stats.alarms
