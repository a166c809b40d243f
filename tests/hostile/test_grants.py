"""Grants that lie, come early or claim another's key; read from a Kafka by who follows them."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agencybus.config import KafkaConfig
from agencybus.directory.entries import CountryRules, Deny
from agencybus.errors import RecordError
from agencybus.grants import GrantFollower, grants_topic
from agencybus.kafka.writer import RecordWriter
from agencybus.seal.grant import AudienceKey
from agencybus.subscribing.verifier import Verifier
from faults.kafka_mock import MockKafka
from readers import CASES, FBI, Reader, Writer, grants, raw, reading
from repositories import World

TOPIC = grants_topic("us.fbi")


class Following:
    """A follower with what it found."""

    def __init__(self, reader: Reader, writer: RecordWriter) -> None:
        self.reader, self.writer = reader, writer
        self.keys: list[AudienceKey] = []
        self.refused: list[str] = []
        self.follower = GrantFollower(
            reader.node,
            ["us.fbi"],
            known=lambda _id, _endpoint: False,
            on_key=self.keys.append,
            on_refused=self._refuse,
        )

    def _refuse(self, _: object, error: RecordError) -> None:
        self.refused.append(error.code)

    async def write(self, *values: bytes) -> None:
        for value in values:
            await self.writer.send(TOPIC, 0, value)

    async def steps(self, count: int) -> None:
        for _ in range(count):
            await self.follower.step()


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.topic(TOPIC)
        yield cluster


@asynccontextmanager
async def following(world: World, folder: Path, kafka: MockKafka) -> AsyncIterator[Following]:
    config = KafkaConfig(bootstrap=kafka.settings.bootstrap, plaintext=True)
    async with reading(world, folder, kafka=config) as reader:
        found = Following(reader, RecordWriter(kafka.settings))
        await found.follower.start()
        try:
            yield found
        finally:
            await found.follower.close()
            await found.writer.close()


def narrower(world: World) -> CountryRules:
    old = world.spec.national["us"].rules
    deny = Deny(publisher=FBI, reader="mx.inm", reason="tried")
    return CountryRules(releases=old.releases, receives=old.receives, deny=(deny,))


async def test_a_grant_under_a_directory_that_comes_later_is_read_when_it_has_come(
    tmp_path: Path, kafka: MockKafka
) -> None:
    world, mirror = World.made_in(tmp_path), tmp_path / "mirror"
    shutil.copytree(world.folder, mirror)
    async with following(replace(world, folder=mirror), tmp_path, kafka) as found:
        world.publish_country("us", rules=narrower(world))
        newer = world.client(tmp_path / "publisher").refresh()
        early, never = Writer(newer).audience_key(), Writer(newer).audience_key()
        lies = [grants(never, newer, directory=os.urandom(48))["mx.fgr"].encode() for _ in range(9)]
        await found.write(*lies, grants(early, newer)["mx.fgr"].encode(), *lies)
        await found.steps(20)  # the mock hands out one record at a time
        assert found.keys == []
        shutil.copytree(world.folder, mirror, dirs_exist_ok=True)
        while found.reader.node.directory.digest != newer.digest:
            found.reader.node.refresh_soon()
            await found.reader.node.refreshed()
        await found.steps(20)
        assert {key.id for key in found.keys} == {early.id}
        assert found.refused == []


async def test_who_grants_anothers_key_in_its_own_name_does_not_take_it_away(tmp_path: Path) -> None:
    """A reader knows the key as well, and its agency's topic is its own: its grant may even come first."""
    async with reading(World.made_in(tmp_path), tmp_path) as reader:
        writer = Writer(reader.node.directory)
        await reader.give(writer.audience_key(endpoint=CASES))
        early = await reader.verify(raw(writer.frame("before its grant")), patient=False)
        assert early.refusal is not None
        assert early.refusal.code == "grant-missing"
        assert not reader.verifier.knows(early.refusal.waits_for)
        await reader.give(writer.audience_key())
        assert reader.verifier.knows(early.refusal.waits_for)
        result = await reader.verify(raw(writer.frame("after its grant"), 1))
        assert [event.reference for event in result.events] == ["after its grant"]
        again = Verifier(reader.node, reader.state, started_at=0, patience=0)
        assert again.knows(early.refusal.waits_for)
