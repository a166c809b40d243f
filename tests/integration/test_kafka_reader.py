"""The reader against a real Kafka: in order, from where it was told, and nothing skipped without a word."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from agencybus.errors import TransportError
from agencybus.kafka import admin, internals
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import Place, Position, RawRecord, Since
from agencybus.kafka.writer import RecordWriter
from integration.kafka_topics import new_topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agencybus.kafka.connection import KafkaSettings
    from agencybus.kafka.local import LocalCluster

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def cluster(bare_cluster: LocalCluster) -> LocalCluster:
    return bare_cluster


@asynccontextmanager
async def reading(
    settings: KafkaSettings, positions: Mapping[Place, Position], *, stall: float = 15
) -> AsyncIterator[RecordReader]:
    reader = RecordReader(settings, stall=stall)
    try:
        await reader.start(positions)
        yield reader
    finally:
        await reader.close()


async def write(cluster: LocalCluster, topic: str, *values: bytes, partition: int = 0) -> None:
    """One batch for each value."""
    writer = RecordWriter(cluster.settings())
    for value in values:
        await writer.send(topic, partition, value)
    await writer.close()


@asynccontextmanager
async def foreign_producer(cluster: LocalCluster, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """What somebody else with a right to write may use."""
    producer = AIOKafkaProducer(**cluster.settings().client_options(), **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def some(reader: RecordReader, count: int, *, within: float = 10) -> list[RawRecord]:
    records: list[RawRecord] = []
    async with asyncio.timeout(within):
        while len(records) < count:
            records += await reader.fetch(0.2)
    return records


def values(records: list[RawRecord]) -> list[bytes | None]:
    return [record.value for record in records]


# --- where it begins


async def test_it_begins_at_an_offset_the_earliest_the_latest_or_a_time(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster, partitions=4)
    for partition in range(4):
        await write(cluster, topic, b"0", b"1", partition=partition)
    await asyncio.sleep(0.01)
    noon = time.time_ns() // 1000
    for partition in range(4):
        await write(cluster, topic, b"2", partition=partition)
    where: dict[Place, Position] = {
        (topic, 0): 1,
        (topic, 1): "earliest",
        (topic, 2): "latest",
        (topic, 3): Since(noon),
    }
    async with reading(cluster.settings(), where) as reader:
        assert reader.positions() == {(topic, 0): 1, (topic, 1): 0, (topic, 2): 3, (topic, 3): 2}
        assert set((await reader.end_offsets()).values()) == {3}
        assert set((await reader.beginning_offsets()).values()) == {0}
        records = await some(reader, 6)
        assert [(r.partition, r.offset) for r in sorted(records, key=lambda r: (r.partition, r.offset))] == [
            (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (3, 2),
        ]  # fmt: skip
        assert all(record.value == b"%d" % record.offset for record in records)
        assert abs(records[0].timestamp_us - noon) < 60_000_000
        assert reader.positions() == dict.fromkeys(where, 3)


async def test_a_time_after_the_last_record_means_what_comes_from_now_on(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster)
    await write(cluster, topic, b"0")
    async with reading(cluster.settings(), {(topic, 0): Since(time.time_ns() // 1000 + 3_600_000_000)}) as reader:
        assert reader.positions() == {(topic, 0): 1}


async def test_a_paused_partition_gives_nothing_and_goes_on_where_it_was(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster, partitions=2)
    await write(cluster, topic, b"0")
    async with reading(cluster.settings(), {(topic, 0): 0, (topic, 1): 0}) as reader:
        await some(reader, 1)
        reader.pause(topic, 0)
        await write(cluster, topic, b"1")
        await write(cluster, topic, b"elsewhere", partition=1)
        assert values(await some(reader, 1)) == [b"elsewhere"]
        assert await reader.fetch(0.7) == []
        reader.resume(topic, 0)
        assert values(await some(reader, 1)) == [b"1"]
        reader.seek(topic, 0, 0)
        assert values(await some(reader, 2)) == [b"0", b"1"]


async def test_a_topic_a_partition_and_a_right_that_are_missing_are_told_at_the_start(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agencybus.kafka.connection.REQUEST_SECONDS", 1)
    topic = await new_topic(cluster)
    for name, partition, endpoint, code in (
        ("us.cbp.nothing.routine", 0, "admin", "topic-missing"),
        (topic, 3, "admin", "topic-missing"),
        (topic, 0, "mx.anam/aduanas", "broker-refused"),
    ):
        with pytest.raises(TransportError) as raised:
            async with reading(cluster.settings(endpoint), {(name, partition): 0}):
                pass
        assert raised.value.code == code
        assert name in raised.value.where


async def test_a_right_to_read_is_enough(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster)
    await write(cluster, topic, b"0")
    await asyncio.to_thread(admin.allow, cluster.settings(), "mx.inm/fronteras", read_topics=[topic])
    async with asyncio.timeout(10):
        while True:
            try:
                async with reading(cluster.settings("mx.inm/fronteras"), {(topic, 0): "earliest"}) as reader:
                    assert values(await some(reader, 1)) == [b"0"]
                    break
            except TransportError as error:  # the rule is made; the broker hears of it a moment later
                assert error.code == "broker-refused"  # noqa: PT017


# --- what lies in a topic that should not


@pytest.mark.parametrize("before", [0, 3])
async def test_a_compressed_batch_is_reported_and_stepped_over_whole(cluster: LocalCluster, before: int) -> None:
    topic = await new_topic(cluster, partitions=2, settings={"compression.type": "producer"})
    await write(cluster, topic, *[b"%d" % number for number in range(before)])
    async with foreign_producer(cluster, compression_type="gzip") as producer:
        batch = producer.create_batch()
        for _ in range(7):
            batch.append(key=None, value=b"bomb" * 100, timestamp=None)
        await (await producer.send_batch(batch, topic, partition=0))
    await write(cluster, topic, b"after")
    await write(cluster, topic, b"other", partition=1)
    async with reading(cluster.settings(), {(topic, 0): 0, (topic, 1): 0}) as reader:
        records = await some(reader, before + 3)
        mine = [record for record in records if record.partition == 0]
        assert [(record.offset, record.damage) for record in mine] == [
            *((offset, None) for offset in range(before)),
            (before, "batch-compressed"),
            (before + 7, None),
        ]
        assert mine[before] == RawRecord(topic, 0, before, 0, None, None, "batch-compressed", 7)
        assert mine[before].next_offset == before + 7
        assert mine[-1].value == b"after"
        assert values([record for record in records if record.partition == 1]) == [b"other"]
        assert reader.positions()[topic, 0] == before + 8
        assert not reader._one_by_one  # full speed again


async def test_it_can_begin_in_the_middle_of_a_compressed_batch(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster, settings={"compression.type": "producer"})
    async with foreign_producer(cluster, compression_type="gzip") as producer:
        batch = producer.create_batch()
        for _ in range(5):
            batch.append(key=None, value=b"x" * 100, timestamp=None)
        await (await producer.send_batch(batch, topic, partition=0))
    async with reading(cluster.settings(), {(topic, 0): 3}) as reader:
        [record] = await some(reader, 1)
        assert (record.offset, record.damage, record.next_offset) == (3, "batch-compressed", 5)


async def test_a_batch_that_rotted_on_the_brokers_disk_costs_itself_only(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster, partitions=2)
    await write(cluster, topic, b"0", b"1", b"the one that rots", b"3", b"4")
    [log] = (cluster.home / "broker-1" / "data" / f"{topic}-0").glob("*.log")
    with log.open("r+b") as file:
        at = file.read().index(b"the one that rots")
        file.seek(at)
        file.write(b"T")
    await write(cluster, topic, b"other", partition=1)
    async with reading(cluster.settings(), {(topic, 0): 0, (topic, 1): 0}) as reader:
        records = await some(reader, 6)
        mine = [record for record in records if record.partition == 0]
        assert [(record.offset, record.damage) for record in mine] == [
            (0, None), (1, None), (2, "batch-corrupt"), (3, None), (4, None),
        ]  # fmt: skip
        assert mine[2].value is None
        assert mine[2].span == 1
        assert values([record for record in records if record.partition == 1]) == [b"other"]


async def test_a_fetch_cancelled_while_it_judges_damage_loses_nothing(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await new_topic(cluster, partitions=2, settings={"compression.type": "producer"})
    async with foreign_producer(cluster, compression_type="gzip") as producer:
        await producer.send_and_wait(topic, b"bomb" * 100, partition=0)
    judging = 0

    async def hang(*_: object) -> None:
        nonlocal judging
        judging += 1
        await asyncio.sleep(60)

    async with reading(cluster.settings(), {(topic, 0): 0, (topic, 1): 0}) as reader:
        seen: list[RawRecord] = []
        with monkeypatch.context() as patch:
            patch.setattr(internals, "locate_damage", hang)
            async with asyncio.timeout(10):
                while judging < 6:  # the pass begins now with the one partition, now with the other
                    await write(cluster, topic, b"good", partition=1)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.3):
                            seen += await reader.fetch(1)
        end = (await reader.end_offsets())[topic, 1]
        seen += await some(reader, end + 1 - len(seen))
        assert sorted((r.partition, r.offset) for r in seen) == [(0, 0), *((1, offset) for offset in range(end))]


async def test_what_compaction_or_a_transaction_left_behind_is_passed_without_a_stall(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster)
    async with foreign_producer(cluster, transactional_id=topic) as producer, producer.transaction():
        await producer.send_and_wait(topic, b"0", partition=0)
    async with reading(cluster.settings(), {(topic, 0): "earliest"}, stall=0.5) as reader:
        assert values(await some(reader, 1)) == [b"0"]
        assert await reader.fetch(1.5) == []
        assert reader.positions() == await reader.end_offsets() == {(topic, 0): 2}  # 1 is the commit marker
        assert reader.rebuilds == 0


# --- what is no longer there


@asynccontextmanager
async def administrator(cluster: LocalCluster) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**cluster.settings().client_options())
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def test_records_deleted_below_the_reader_stop_it_and_are_never_silently_skipped(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster, partitions=2)
    await write(cluster, topic, b"0", b"1", b"2", b"3")
    async with administrator(cluster) as client:
        await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=3)})
    async with reading(cluster.settings(), {(topic, 0): 1, (topic, 1): 0}) as reader:
        await write(cluster, topic, b"other", partition=1)
        seen: list[RawRecord] = []
        for _ in range(2):  # and it stays so
            with pytest.raises(TransportError) as raised:
                seen += await some(reader, 2)
            assert raised.value.code == "offset-lost"
            assert raised.value.what == "record 1 is next, the topic holds 3 to before 4"
            assert raised.value.where == f"{topic}[0]"
        assert reader.positions()[topic, 0] == 1


async def test_a_topic_made_anew_with_fewer_records_stops_the_reader(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster)
    await write(cluster, topic, b"0", b"1", b"2")
    async with reading(cluster.settings(), {(topic, 0): 0}) as reader:
        await some(reader, 3)
        async with administrator(cluster) as client:
            await client.delete_topics([topic])
            async with asyncio.timeout(10):
                while topic in await client.list_topics():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        await new_topic(cluster, name=topic)
        await write(cluster, topic, b"another 0")
        with pytest.raises(TransportError) as raised:
            await some(reader, 1)
        assert raised.value.code == "offset-lost"
        assert "the topic holds 0 to before 1" in raised.value.what


# --- staying alive


async def test_a_background_fetch_that_died_is_noticed_at_once_and_replaced(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster, partitions=2)
    await write(cluster, topic, b"0")
    async with reading(cluster.settings(), {(topic, 0): 0, (topic, 1): 0}) as reader:
        await some(reader, 1)
        reader.pause(topic, 1)
        consumer: Any = reader._consumer
        consumer._fetcher._fetch_task.cancel()
        await write(cluster, topic, b"1")
        await write(cluster, topic, b"paused", partition=1)
        assert values(await some(reader, 1, within=3)) == [b"1"]
        assert reader.rebuilds == 1
        assert await reader.fetch(0.5) == []  # what was paused stays so
        reader.resume(topic, 1)
        assert values(await some(reader, 1)) == [b"paused"]


async def test_a_consumer_that_stopped_fetching_one_partition_is_replaced_while_the_other_goes_on(
    cluster: LocalCluster,
) -> None:
    topic = await new_topic(cluster, partitions=2)
    async with reading(cluster.settings(), {(topic, 0): 0, (topic, 1): 0}, stall=1) as reader:
        await reader.fetch(0.1)
        consumer: Any = reader._consumer
        consumer.pause(TopicPartition(topic, 0))  # below the reader: it does not know
        await write(cluster, topic, b"stuck")
        seen: list[bytes | None] = []
        async with asyncio.timeout(10):
            while b"stuck" not in seen:
                await write(cluster, topic, b"flows", partition=1)
                seen += values(await reader.fetch(0.2))
        assert reader.rebuilds == 1
        assert seen.count(b"stuck") == 1


async def test_records_that_wait_because_the_caller_is_slow_are_no_stall(cluster: LocalCluster) -> None:
    topic = await new_topic(cluster)
    async with reading(cluster.settings(), {(topic, 0): 0}, stall=0.4) as reader:
        await reader.fetch(0.1)
        for _ in range(3):
            await write(cluster, topic, b"x")
            await asyncio.sleep(0.6)
            assert len(await some(reader, 1)) == 1
        assert reader.rebuilds == 0
