"""The writer against a real Kafka: what it acknowledged is there, whatever happens to the broker."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agencybus.errors import TransportError
from agencybus.kafka import admin
from agencybus.kafka.connection import KafkaSettings
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.writer import RecordWriter
from agencybus.wire.limits import RECORD_BYTES
from integration.kafka_topics import new_topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agencybus.kafka.local import LocalCluster
    from agencybus.kafka.records import RawRecord

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def cluster(bare_cluster: LocalCluster) -> LocalCluster:
    return bare_cluster


@asynccontextmanager
async def writing(settings: KafkaSettings, *, deadline: float = 30) -> AsyncIterator[RecordWriter]:
    writer = RecordWriter(settings, deadline=deadline)
    try:
        yield writer
    finally:
        await writer.close()


async def content(settings: KafkaSettings, topic: str, partition: int = 0) -> list[RawRecord]:
    """All that a partition holds."""
    reader = RecordReader(settings)
    try:
        await reader.start({(topic, partition): "earliest"})
        end = (await reader.end_offsets())[topic, partition]
        records: list[RawRecord] = []
        async with asyncio.timeout(20):
            while reader.positions()[topic, partition] < end:
                records += await reader.fetch(1)
        return records
    finally:
        await reader.close()


async def test_the_offset_that_is_returned_is_where_the_record_lies(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster, partitions=2)
    async with writing(cluster.settings()) as writer:
        await writer.start()
        sent = {await writer.send(topic, 1, b"%d" % number, b"key"): b"%d" % number for number in range(5)}
        await writer.send(topic, 0, b"elsewhere")
    found = await content(cluster.settings(), topic, 1)
    assert {record.offset: record.value for record in found} == sent
    assert {record.key for record in found} == {b"key"}


async def test_the_biggest_record_is_taken_and_a_bigger_one_refused_before_it_is_sent(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster)
    async with writing(cluster.settings()) as writer:
        assert await writer.send(topic, 0, bytes(RECORD_BYTES), b"k" * 256) == 0
        with pytest.raises(TransportError) as raised:
            await writer.send(topic, 0, bytes(RECORD_BYTES * 2))
        assert raised.value.code == "broker-refused"
        assert await writer.send(topic, 0, b"small") == 1
    assert [len(record.value or b"") for record in await content(cluster.settings(), topic)] == [RECORD_BYTES, 5]


async def test_a_record_that_the_broker_refuses_does_not_poison_those_that_follow(cluster: LocalCluster) -> None:
    # aiokafka 0.14 counts the refused batch: without a new producer all later ones are out of order, for ever.
    topic = await new_topic(cluster, settings={"max.message.bytes": "10000"})
    async with writing(cluster.settings()) as writer:
        assert await writer.send(topic, 0, b"first") == 0
        with pytest.raises(TransportError) as raised:
            await writer.send(topic, 0, bytes(20_000))
        assert raised.value.code == "broker-refused"
        assert await writer.send(topic, 0, b"second", deadline=5) == 1
        assert writer.rebuilds == 1


async def test_an_endpoint_without_the_right_is_told_at_once_and_can_write_as_soon_as_it_has_it(
    cluster: LocalCluster,
) -> None:
    topic = await new_topic(cluster)
    endpoint = "us.usms/watch-floor"

    async def allow(prefix: str) -> None:
        await asyncio.to_thread(admin.allow, cluster.settings(), endpoint, write_prefixes=[prefix])

    async def send_when_allowed() -> int:
        while True:
            try:
                return await writer.send(topic, 0, b"x")
            except TransportError as error:  # the rule is made; the broker hears of it a moment later
                assert error.code == "broker-refused"  # noqa: PT017

    async with writing(cluster.settings(endpoint)) as writer:
        with pytest.raises(TransportError, match="ACLs say no"):  # no right to write anywhere
            await writer.start()
        await allow("us.usms.elsewhere.")
        began = time.monotonic()
        with pytest.raises(TransportError, match="ACLs say no") as raised:
            await writer.send(topic, 0, b"x")
        assert time.monotonic() - began < 2
        assert raised.value.code == "broker-refused"
        await allow(topic.removesuffix("routine"))
        async with asyncio.timeout(10):
            assert await send_when_allowed() == 0


async def test_a_certificate_of_another_authority_is_told_from_a_broker_that_is_away(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    trustme = pytest.importorskip("trustme")
    theirs = trustme.CA().issue_cert(common_name="us.cbp/ntc-cargo")
    theirs.private_key_pem.write_to_path(tmp_path / "key.pem")
    theirs.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    ca = cluster.client_files("us.cbp/ntc-cargo").ca
    stranger = KafkaSettings(cluster.bootstrap, ca, tmp_path / "cert.pem", tmp_path / "key.pem")
    async with writing(stranger) as writer:
        with pytest.raises(TransportError, match="TLS: the broker") as raised:
            await writer.start()
    assert raised.value.code == "broker-refused"
    assert str(tmp_path / "cert.pem") in raised.value.hint


async def test_a_topic_that_does_not_exist_is_named(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agencybus.kafka.connection.REQUEST_SECONDS", 1)
    async with writing(cluster.settings()) as writer:
        with pytest.raises(TransportError) as raised:
            await writer.send("us.cbp.nothing.urgent", 0, b"x", deadline=2)
    assert raised.value.code == "topic-missing"
    assert raised.value.where == "us.cbp.nothing.urgent[0]"


async def test_a_broker_that_stops_answering_is_given_up_at_the_deadline_and_used_again_when_it_answers(
    cluster: LocalCluster,
) -> None:
    topic = await new_topic(cluster)
    async with writing(cluster.settings()) as writer:
        await writer.send(topic, 0, b"first")
        cluster.pause(1)
        try:
            began = time.monotonic()
            with pytest.raises(TransportError) as raised:
                await writer.send(topic, 0, b"second", deadline=1)
            assert raised.value.code == "not-accepted"
            assert time.monotonic() - began < 4
        finally:
            cluster.resume(1)
        await writer.send(topic, 0, b"second")
        await writer.send(topic, 0, b"third")
    # `second` may be there twice: at the deadline nobody knew whether the broker had taken it.
    values = [record.value for record in await content(cluster.settings(), topic)]
    assert list(dict.fromkeys(values)) == [b"first", b"second", b"third"]


async def test_after_kill_9_of_the_broker_everything_acknowledged_is_there_and_a_reader_saw_it_once_in_order(
    cluster: LocalCluster,
) -> None:
    topic = await new_topic(cluster, partitions=2)
    acknowledged: dict[tuple[int, int], bytes] = {}
    last: dict[int, int] = {0: -1, 1: -1}
    ending = asyncio.Event()
    seen: list[RawRecord] = []

    async def publish(writer: RecordWriter, partition: int) -> None:
        while not ending.is_set():
            number = last[partition] + 1
            value = b"%d-%d-" % (partition, number) + bytes(2000)
            acknowledged[partition, await writer.send(topic, partition, value)] = value
            last[partition] = number

    async def read(reader: RecordReader) -> None:
        while not ending.is_set() or reader.positions() != await reader.end_offsets():
            try:
                seen.extend(await reader.fetch(0.5))
            except TransportError as error:  # where a start of Java takes long, the reader says what it misses
                assert error.code == "broker-unreachable"  # noqa: PT017

    reader = RecordReader(cluster.settings())
    await reader.start({(topic, 0): "earliest", (topic, 1): "earliest"})
    async with writing(cluster.settings(), deadline=90) as writer, asyncio.TaskGroup() as tasks:
        tasks.create_task(publish(writer, 0))
        tasks.create_task(publish(writer, 1))
        tasks.create_task(read(reader))
        await asyncio.sleep(0.5)
        cluster.kill(1)
        await asyncio.to_thread(cluster.restart, 1)
        before = dict(last)
        async with asyncio.timeout(30):
            while any(last[partition] <= before[partition] for partition in last):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        ending.set()
    await reader.close()

    for partition in (0, 1):
        records = await content(cluster.settings(), topic, partition)
        at = {record.offset: record.value for record in records}
        told = {offset: value for (where, offset), value in acknowledged.items() if where == partition}
        assert told == {offset: at[offset] for offset in told}  # each where the writer said, as it was sent
        numbers = [int((record.value or b"").split(b"-")[1]) for record in records]
        assert list(dict.fromkeys(numbers)) == list(range(last[partition] + 1))  # none lost, first sights in order
        assert len(numbers) - len(set(numbers)) <= 1  # only what was in flight may be there twice
        assert [record for record in seen if record.partition == partition] == records
