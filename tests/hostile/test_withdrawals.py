"""One country takes something away, and it is gone, whatever older directory or time a writer names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agencybus.directory.entries import CountryRules
from agencybus.directory.model import Directory
from agencybus.subscribing import verifier
from agencybus.subscribing.verifier import Verified
from readers import FBI, HOUR, Reader, Writer, now, raw, reading
from repositories import World


async def refreshed(reader: Reader) -> None:
    """The reader has seen what changed."""
    before = reader.node.directory.digest
    while reader.node.directory.digest == before:
        reader.node.refresh_soon()
        await reader.node.refreshed()


def said(result: Verified) -> str:
    return "delivered" if result.refusal is None and result.events else result.refusal.code if result.refusal else ""


@asynccontextmanager
async def after(tmp_path: Path, change: str) -> AsyncIterator[tuple[Reader, Directory]]:
    """A reader that knows of the change, and the directory from before it."""
    world = World.made_in(tmp_path)
    async with reading(world, tmp_path) as reader:
        old = reader.node.directory
        if change == "withdrawn":
            world.withdraw(FBI)  # from an hour ago on
        else:
            world.publish_country("us", rules=CountryRules())
        await refreshed(reader)
        yield reader, old


async def test_a_withdrawn_endpoint_goes_on_under_no_older_directory_and_no_older_date(tmp_path: Path) -> None:
    async with after(tmp_path, "withdrawn") as (reader, old):
        long_ago = now() - 2 * HOUR
        for name, at in {"goes on": now(), "since then": now() - HOUR // 2, "backdated": long_ago}.items():
            writer = Writer(old, writer=name)
            await reader.give(writer.audience_key(epoch_start=now() - 3 * HOUR))
            assert said(await reader.verify(raw(writer.frame(name, sealed_at=at)))) == "endpoint-withdrawn"
        writer = Writer(old, writer="before")
        await reader.give(writer.audience_key(epoch_start=now() - 3 * HOUR))
        came_then = raw(writer.frame("before", sealed_at=long_ago), arrived_at=long_ago)
        assert said(await reader.verify(came_then)) == "delivered"


async def test_what_a_country_no_more_releases_is_not_read_under_the_directory_before(tmp_path: Path) -> None:
    """A publisher that did not look at its directory for a minute, or does not want to."""
    async with after(tmp_path, "closed") as (reader, old):
        writer = Writer(old)
        await reader.give(writer.audience_key())
        before = await reader.verify(raw(writer.frame("before", sealed_at=now() - HOUR // 2)))
        assert said(before) == "delivered"
        result = await reader.verify(raw(writer.frame("not released any more"), 1))
        assert result.skipped


async def test_a_record_that_came_long_after_its_date_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backdated under an old right or with an old key, or an old record replayed to a reader that is new."""
    monkeypatch.setattr(verifier, "LATE_US", 90 * HOUR // 60)  # a day: the keys of the tests are no older
    async with reading(World.made_in(tmp_path), tmp_path) as reader:
        writer, old = Writer(reader.node.directory), now() - 2 * HOUR
        await reader.give(writer.audience_key(epoch_start=old))
        found = await reader.verify(raw(writer.frame("backdated", sealed_at=old)))
        assert said(found) == "delivered"
        assert found.outcome is not None
        assert [finding.code for finding in found.outcome.findings] == ["sealed-long-ago"]
        in_time = await reader.verify(raw(writer.frame("in time", sealed_at=old), 1, arrived_at=old + HOUR))
        assert in_time.outcome is not None
        assert not in_time.outcome.findings
