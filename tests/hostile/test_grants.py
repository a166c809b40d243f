"""Grants that lie, come early or claim another's key; read from a Kafka by who follows them."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agencybus.config import KafkaConfig
from agencybus.directory import policy
from agencybus.directory.authoring import Repository
from agencybus.directory.entries import CountryRules, Deny
from agencybus.directory.keys import KEM_LIFE_US, KemKey
from agencybus.directory.spec import EndpointKeys, country_files
from agencybus.errors import EventError, RecordError
from agencybus.grants import GrantFollower, grants_topic
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.writer import RecordWriter
from agencybus.label import Label
from agencybus.node import Node
from agencybus.publishing.granting import Granter
from agencybus.seal.grant import AudienceKey
from agencybus.seal.suite import KemPrivateKey
from agencybus.state import WriterState
from agencybus.subscribing.verifier import Verifier
from agencybus.wire.envelope import GRANT_KINDS, split
from agencybus.wire.headers import GrantHeader
from faults.kafka_mock import MockKafka
from federation import DAY
from readers import CASES, FBI, FGR, SHARED, Reader, Writer, grants, now, raw, reading
from repositories import World, fresh_federation

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


@asynccontextmanager
async def granting(reader: Reader, folder: Path, kafka: MockKafka) -> AsyncIterator[Granter]:
    """What grants the keys of a publisher, with a state of its own."""
    node, writer = reader.node, RecordWriter(kafka.settings)
    state = WriterState.open(
        folder, endpoint=node.endpoint, realm=node.realm, writer="main", storage_key=node.keyring.storage_key
    )
    try:
        yield Granter(node, state, writer)
    finally:
        state.close()
        await writer.close()


def shared_with(node: Node, at: int | None = None) -> policy.Audience:
    return policy.audience(node.directory, FBI, "alert", Label.parse(SHARED), "fugitives", at or now())


async def test_the_own_agency_is_granted_to_last_so_that_half_a_grant_is_not_taken_for_whole(
    tmp_path: Path, kafka: MockKafka
) -> None:
    """A publisher that died between two grants grants anew; what is whole, the next process takes over."""
    world = World.made_in(tmp_path)
    config = KafkaConfig(bootstrap=kafka.settings.bootstrap, plaintext=True)
    async with reading(world, tmp_path, FBI, kafka=config) as reader:
        audience = shared_with(reader.node)
        async with granting(reader, tmp_path / "one", kafka) as granter:
            key = await granter.key(audience, now())
        written = await contents(kafka)
        headers = [split(value, GRANT_KINDS).header for value in written]
        agencies = [header.agency for header in headers if isinstance(header, GrantHeader)]
        assert agencies == ["mx.fgr", "mx.inm", "us.usms", "us.fbi"]
        async with granting(reader, tmp_path / "two", kafka) as granter:
            await granter.adopt()
            assert await granter.key(audience, now()) == key
    with MockKafka() as another:
        another.topic(TOPIC)
        writer = RecordWriter(another.settings)
        for value in written[:-1]:
            await writer.send(TOPIC, 0, value)
        await writer.close()
        (tmp_path / "another").mkdir()
        config = KafkaConfig(bootstrap=another.settings.bootstrap, plaintext=True)
        async with (
            reading(world, tmp_path / "another", FBI, kafka=config) as reader,
            granting(reader, tmp_path / "three", another) as granter,
        ):
            await granter.adopt()
            assert await granter.key(audience, now()) != key


async def contents(kafka: MockKafka) -> list[bytes]:
    """Everything in the topic of the grants."""
    reader, found = RecordReader(kafka.settings), []
    await reader.start({(TOPIC, 0): "earliest"})
    while reader.positions() != await reader.end_offsets():
        found += [record.value or b"" for record in await reader.fetch(1.0)]
    await reader.close()
    return found


async def test_past_its_date_a_directory_lets_a_reader_change_its_key_but_nobody_join(
    tmp_path: Path, kafka: MockKafka
) -> None:
    """The digest of the audience changes in both cases; only one of them is more readers."""
    world, keys = World.made_in(tmp_path), dict(fresh_federation().keys)
    fresh = KemPrivateKey.generate().public
    began = now() - 2 * 1_000_000
    newer = KemKey(mlkem=fresh.mlkem1024, p384=fresh.p384, not_before=began, not_after=began + KEM_LIFE_US)
    keys[FGR] = EndpointKeys(keys[FGR].signers, (*keys[FGR].kems, newer))
    Repository(world.folder / "mx", world.authorities["mx"].own).publish(
        country_files(world.spec, "mx", keys), datetime.now(UTC)
    )
    config = KafkaConfig(bootstrap=kafka.settings.bootstrap, plaintext=True)
    async with (
        reading(world, tmp_path, FBI, kafka=config) as reader,
        granting(reader, tmp_path / "publisher", kafka) as granter,
    ):
        before, after = shared_with(reader.node, began - 1), shared_with(reader.node)
        assert before.digest != after.digest
        assert before.endpoints == after.endpoints
        reader.node._client._now = lambda: now() + 365 * DAY
        with pytest.raises(EventError, match="directory-expired"):
            await granter.key(after, now())
        granter._state.put_audience_key(Writer(reader.node.directory).audience_key(audience=before.digest))
        assert (await granter.key(after, now())).audience == after.digest
        fewer = policy.audience(reader.node.directory, FBI, "alert", Label.parse("SECRET//LES"), "fugitives", now())
        with pytest.raises(EventError, match="directory-expired"):
            await granter.key(fewer, now())
