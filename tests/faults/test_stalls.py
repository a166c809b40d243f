"""Nobody holds a partition up by promising what never comes, and what is only early is still waited for."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from agencybus.directory.entries import CountryRules, Deny
from agencybus.seal import suite
from agencybus.subscribing.patience import NAMELESS, NAMELESS_SECONDS, REFILL, Patience
from agencybus.wire.envelope import Record
from readers import FBI, Reader, Writer, raw, reading
from repositories import World

PLACE = ("us.fbi.fugitives.routine", 0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_is_spent_once_and_comes_back_slowly() -> None:
    clock = Clock()
    patience = Patience(30, clock)
    assert patience.left(FBI, PLACE) == 30
    patience.spend(FBI, PLACE, 20)
    assert patience.left(FBI, PLACE) == 10
    patience.spend(FBI, PLACE, 10)
    assert patience.left(FBI, PLACE) == 0
    clock.now += 100
    assert patience.left(FBI, PLACE) == 100 * REFILL
    clock.now += 10_000
    assert patience.left(FBI, PLACE) == 30


def test_one_does_not_spend_the_budget_of_another() -> None:
    patience = Patience(30, Clock())
    patience.spend(NAMELESS, PLACE, 30)
    patience.spend("us.fbi/case-files", PLACE, 30)
    assert patience.left(FBI, PLACE) == 30
    assert patience.left(NAMELESS, ("another", 0)) == NAMELESS_SECONDS


def test_who_always_waits_gets_a_twentieth_of_the_time() -> None:
    clock = Clock()
    patience, waited, began = Patience(30, clock), 0.0, clock.now
    while clock.now < began + 86_400:
        left = patience.left(FBI, PLACE)
        clock.now += left
        patience.spend(FBI, PLACE, left)
        waited += left
        clock.now += 1
    assert waited <= 30 + REFILL * (clock.now - began)


def forged(writer: Writer) -> Record:
    """A frame in an endpoint's name, signed by nobody, under a directory that never was."""
    real = writer.frame("forged", directory=os.urandom(48))
    return Record(real.header, real.header_bytes, os.urandom(4627), os.urandom(96), real.body)


async def seconds_of(reader: Reader, *records: Record) -> float:
    began = time.monotonic()
    for number, record in enumerate(records):
        result = await reader.verify(raw(record, number))
        assert result.refusal is not None
    return time.monotonic() - began


async def test_forged_records_under_unknown_directories_do_not_stall_a_partition(tmp_path: Path) -> None:
    """Before any signature is looked at, a header may name whatever directory: twenty of them cost one short wait."""
    async with reading(World.made_in(tmp_path), tmp_path, patience=30.0) as reader:
        forger, writer = Writer(reader.node.directory), Writer(reader.node.directory)
        assert await seconds_of(reader, *(forged(forger) for _ in range(20))) < NAMELESS_SECONDS + 2
        await reader.give(writer.audience_key())
        honest = await reader.verify(raw(writer.frame("real")))
        assert [event.reference for event in honest.events] == ["real"]


async def test_an_endpoint_that_turned_does_not_stall_a_partition_either(tmp_path: Path) -> None:
    """Real signatures over names of keys and directories that never come: one budget, then quarantine at once."""
    async with reading(World.made_in(tmp_path), tmp_path, patience=1.0) as reader:
        writer = Writer(reader.node.directory)
        frames = [writer.frame("no grant")]
        for _ in range(10):
            writer.key = suite.random_key()
            frames.append(writer.frame("no grant"))
        frames += [writer.frame("no directory", directory=os.urandom(48)) for _ in range(10)]
        assert await seconds_of(reader, *frames) < 4


async def test_a_frame_before_its_grant_waits_for_it(tmp_path: Path) -> None:
    async with reading(World.made_in(tmp_path), tmp_path, patience=20.0) as reader:
        writer = Writer(reader.node.directory)
        waiting = asyncio.create_task(reader.verify(raw(writer.frame("early"))))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await reader.give(writer.audience_key())
        result = await waiting
        assert [event.reference for event in result.events] == ["early"]


async def test_a_frame_under_a_directory_that_is_to_be_fetched_first_waits_for_it(tmp_path: Path) -> None:
    world = World.made_in(tmp_path)
    async with reading(world, tmp_path, patience=20.0) as reader:
        world.publish_country("us", rules=_narrower(world))
        newer = world.client(tmp_path / "publisher").refresh()
        assert reader.node.history.get(newer.digest) is None
        writer = Writer(newer)
        await reader.give(writer.audience_key())
        result = await reader.verify(raw(writer.frame("under the newest")))
        assert [event.reference for event in result.events] == ["under the newest"]


async def test_who_signed_under_an_unknown_directory_is_told_by_the_keys_that_are_known(tmp_path: Path) -> None:
    """So a flood of forgeries does not use up the place in quarantine of those who really sign."""
    async with reading(World.made_in(tmp_path), tmp_path) as reader:
        writer = Writer(reader.node.directory)
        digest = os.urandom(48)
        real = await reader.verify(raw(writer.frame("real", directory=digest)), patient=False)
        assert real.refusal is not None
        assert (real.refusal.code, real.refusal.endpoint) == ("directory-unknown", FBI)
        assert real.refusal.waits_for == digest
        false = await reader.verify(raw(forged(writer)), patient=False)
        assert false.refusal is not None
        assert (false.refusal.code, false.refusal.endpoint) == ("directory-unknown", "")


async def test_lies_about_the_directory_do_not_make_refreshes_a_flood(tmp_path: Path) -> None:
    async with reading(World.made_in(tmp_path), tmp_path) as reader:
        refreshes = 0

        async def count() -> None:
            nonlocal refreshes
            while True:
                await reader.node.refreshed()
                refreshes += 1

        counting, until = asyncio.create_task(count()), time.monotonic() + 7
        while time.monotonic() < until:
            reader.node.refresh_soon()
            await asyncio.sleep(0.05)
        counting.cancel()
        assert 2 <= refreshes <= 4  # after 0, 2 and 6 seconds


def _narrower(world: World) -> CountryRules:
    old = world.spec.national["us"].rules
    deny = Deny(publisher=FBI, reader="mx.inm", reason="tried")
    return CountryRules(releases=old.releases, receives=old.receives, deny=(deny,))
