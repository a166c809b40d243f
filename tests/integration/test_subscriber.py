"""Subscribing on a real Kafka: what is wrong goes to quarantine with step and code, and nothing else is held up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agencybus.config import Start
from agencybus.errors import ConfigError, StateError, Step
from agencybus.sandbox import Sandbox
from agencybus.seal import suite
from agencybus.subscriber import Subscriber
from agencybus.subscribing import silence
from agencybus.wire.envelope import CHANNEL_KINDS, split
from integration.bus import (
    CHANNEL,
    FBI,
    FGR,
    alert,
    keyring,
    nothing_more,
    publishing,
    records,
    references,
    subscribing,
    take,
    until,
    write,
)
from integration.rogue import Rogue, audience


async def quarantined(subscriber: Subscriber, code: str, step: int) -> None:
    await until(lambda: subscriber.stats.quarantined[code] == 1)
    entry = subscriber.state.quarantine.entries()[-1]
    assert (entry.code, entry.step) == (code, step)
    assert entry.reason
    raw = subscriber.state.quarantine.raw(entry)
    assert raw is not None
    assert len(raw) == entry.size


async def test_a_flipped_bit_is_quarantined_and_the_rest_goes_on(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path) as bus, subscribing(federation, tmp_path) as reader:
        accepted = await bus.publish(alert("before"))
        (real,) = await records(federation, CHANNEL, since=accepted.offset)
        forged = bytearray(real.value or b"")
        forged[6000] ^= 1
        await write(federation, bytes(forged))
        await bus.publish(alert("after"))
        assert references(await take(reader, 2)) == ["before", "after"]
        await quarantined(reader, "mldsa-signature-invalid", Step.SIGNATURES)


async def test_a_replayed_record_is_dropped(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path) as bus, subscribing(federation, tmp_path) as reader:
        accepted = await bus.publish(alert("once"))
        (real,) = await records(federation, CHANNEL, since=accepted.offset)
        await write(federation, real.value or b"")
        assert references(await take(reader, 1)) == ["once"]
        await until(lambda: reader.stats.duplicates == 1)
        await nothing_more(reader)


async def test_foreign_bytes_are_quarantined_at_step_1(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path) as bus, subscribing(federation, tmp_path) as reader:
        await write(federation, b'{"type": "alert", "wanted": "everybody"}')
        await bus.publish(alert("after"))
        assert references(await take(reader, 1)) == ["after"]
        await quarantined(reader, "magic-unknown", Step.LAYOUT)


async def test_a_record_moved_to_another_topic_is_quarantined(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path) as bus, subscribing(federation, tmp_path) as reader:
        accepted = await bus.publish(alert("here"))
        (real,) = await records(federation, CHANNEL, since=accepted.offset)
        await write(federation, real.value or b"", topic="us.fbi.fugitives.urgent")
        await quarantined(reader, "channel-mismatch", Step.PLACE)


async def test_an_endpoint_without_the_right_is_quarantined(federation: Sandbox, tmp_path: Path) -> None:
    """The FBI's case files have real keys and their agency's ACL, and no right to publish."""
    async with subscribing(federation, tmp_path) as reader:
        rogue = Rogue(federation, tmp_path, reader.node, "us.fbi/case-files")
        record = rogue.frame(alert("x", originator="us.fbi/case-files"))
        await write(federation, record.encode(), endpoint="us.fbi/case-files")
        await quarantined(reader, "right-missing", Step.AUTHORITY)


async def test_a_stolen_key_shows_as_a_fork(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path) as bus, subscribing(federation, tmp_path) as reader:
        accepted = await bus.publish(alert("real"))
        await take(reader, 1)
        (real,) = await records(federation, CHANNEL, since=accepted.offset)
        thief = Rogue(federation, tmp_path, reader.node)
        thief.writer = split(real.value or b"", CHANNEL_KINDS).header.writer  # type: ignore[attr-defined]
        await write(federation, thief.frame(alert("forged")).encode())
        await quarantined(reader, "fork", Step.LINEAGE)
        await nothing_more(reader)


async def test_a_frame_waits_for_its_grant_and_comes_out_of_quarantine_when_it_arrives(
    federation: Sandbox, tmp_path: Path
) -> None:
    key = suite.random_key()
    async with publishing(federation, tmp_path) as bus, subscribing(federation, tmp_path, wait_seconds=0.5) as reader:
        rogue = Rogue(federation, tmp_path, reader.node)
        record = rogue.frame(alert("late-grant"), key=key)
        await write(federation, record.encode())
        await bus.publish(alert("not-held-up"))
        assert references(await take(reader, 1)) == ["not-held-up"]
        await quarantined(reader, "grant-missing", Step.AUDIENCE_KEY)
        for grant in rogue.grant(key, audience(), now=record.header.sealed_at):
            await write(federation, grant.encode(), topic="us.fbi.grants")
        assert references(await take(reader, 1)) == ["late-grant"]
        await until(lambda: reader.state.quarantine.entries()[-1].verdict == "delivered")
        assert not reader.state.quarantine.by_code()


async def test_a_grant_to_other_readers_than_the_rules_give_is_refused(federation: Sandbox, tmp_path: Path) -> None:
    key = suite.random_key()
    async with subscribing(federation, tmp_path) as reader:
        rogue = Rogue(federation, tmp_path, reader.node)
        now = reader.node.now()
        for grant in rogue.grant(key, [FBI, FGR], now=now):
            await write(federation, grant.encode(), topic="us.fbi.grants")
        await write(federation, rogue.frame(alert("whispered"), key=key).encode())
        await quarantined(reader, "grant-audience-mismatch", Step.AUDIENCE_KEY)


async def test_a_missing_record_is_an_alarm_and_the_feed_goes_on(federation: Sandbox, tmp_path: Path) -> None:
    key = suite.random_key()
    async with subscribing(federation, tmp_path) as reader:
        rogue = Rogue(federation, tmp_path, reader.node)
        for grant in rogue.grant(key, audience(), now=reader.node.now()):
            await write(federation, grant.encode(), topic="us.fbi.grants")
        frames = [rogue.frame(alert(f"frame-{n}"), key=key) for n in range(4)]
        for index in (0, 3):
            await write(federation, frames[index].encode())
        assert references(await take(reader, 2)) == ["frame-0", "frame-3"]
        await until(lambda: reader.stats.alarms["gap"] == 1)
        await write(federation, frames[2].encode())  # it was only late
        assert references(await take(reader, 1)) == ["frame-2"]
        await until(lambda: reader.stats.alarms["late-record"] == 1)


async def test_a_cut_feed_is_an_alarm(federation: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that hands out nothing more of an open lineage: three heartbeats are made short here."""
    monkeypatch.setattr(silence, "MISSED", 0.05)
    key = suite.random_key()
    async with subscribing(federation, tmp_path) as reader:
        rogue = Rogue(federation, tmp_path, reader.node)
        for grant in rogue.grant(key, audience(), now=reader.node.now()):
            await write(federation, grant.encode(), topic="us.fbi.grants")
        await write(federation, rogue.frame(alert("last-words"), key=key).encode())
        await take(reader, 1)
        await until(lambda: reader.stats.alarms["feed-silent"] == 1)


async def test_a_restart_goes_on_behind_the_last_answer(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path) as bus:
        async with subscribing(federation, tmp_path) as reader:
            await bus.publish(alert("one"))
            await bus.publish(alert("two"))
            (one,) = await take(reader, 1)
            (two,) = await take(reader, 1, done=False)
            assert (one.event.reference, two.event.reference) == ("one", "two")
            await until(lambda: reader.stats.frames == 1)
        await bus.publish(alert("three"))
        async with subscribing(federation, tmp_path) as reader:
            assert references(await take(reader, 2)) == ["two", "three"]
            await until(lambda: reader.stats.frames == 2)
        async with subscribing(federation, tmp_path) as reader:
            await nothing_more(reader)


async def test_a_tool_may_refuse_or_ask_again(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path) as bus, subscribing(federation, tmp_path) as reader:
        await bus.publish_many([alert("refused"), alert("later"), alert("fine")])
        refused, later, fine = await take(reader, 3, done=False)
        await refused.refuse("the case file is closed")
        await later.retry(after=0.1)
        await fine.done()
        (again,) = await take(reader, 1)
        assert again.event.reference == "later"
        await quarantined(reader, "refused-by-tool", 0)
        assert "the case file is closed" in reader.state.quarantine.entries()[-1].reason


async def test_a_record_that_killed_two_processes_is_put_away_undecoded(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path) as bus:
        async with subscribing(federation, tmp_path) as reader:
            pass
        accepted = await bus.publish(alert("deadly"))
        await bus.publish(alert("harmless"))
        for _ in range(2):  # two processes that die with the record in hand: nothing disarms
            async with _state_only(federation, tmp_path, reader) as dying:
                dying.arm(CHANNEL, 0, accepted.offset)
                dying.disarm = lambda: None
        async with subscribing(federation, tmp_path) as reader:
            assert references(await take(reader, 1)) == ["harmless"]
            await quarantined(reader, "crash-fuse", 0)


class _state_only:  # noqa: N801 - reads as a function
    """The reader's state, opened and left as a process that dies would."""

    def __init__(self, federation: Sandbox, folder: Path, reader: Subscriber) -> None:
        self.folder = folder / f"reader-{FGR.replace('/', '.')}"
        self.realm = reader.node.realm
        self.key = keyring(federation, FGR).storage_key

    async def __aenter__(self) -> Any:
        from agencybus.state.reader import ReaderState  # noqa: PLC0415

        self.state = ReaderState.open(self.folder, endpoint=FGR, realm=self.realm, route="main", storage_key=self.key)
        return self.state

    async def __aexit__(self, *_: object) -> None:
        self.state.close()


async def test_a_new_reader_must_say_where_it_begins(federation: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        async with subscribing(federation, tmp_path, start=None):
            pass
    assert refused.value.code == "start-required"


async def test_one_process_holds_a_state(federation: Sandbox, tmp_path: Path) -> None:
    async with subscribing(federation, tmp_path):
        with pytest.raises(StateError) as refused:
            async with subscribing(federation, tmp_path):
                pass
    assert refused.value.code == "state-locked"


async def test_a_reader_from_the_beginning_sees_it_all(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path) as bus:
        await bus.publish_many([alert(f"history-{n}") for n in range(50)])
    async with subscribing(federation, tmp_path, start=Start("earliest")) as reader:
        wanted = [f"history-{n}" for n in range(50)]
        found: list[str] = []
        while found[-50:] != wanted:
            found += references(await take(reader, 1))
        assert not reader.stats.alarms["unseen-history"]
