"""A writer against a Kafka that says no, says nothing, or is not there. Real sockets, injected errors."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agencybus.errors import TransportError
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import RawRecord
from agencybus.kafka.writer import RecordWriter
from faults.kafka_mock import INIT_PRODUCER_ID, METADATA, PRODUCE, MockKafka

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TOPIC = "us.cbp.cargo-targeting.urgent"


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.topic(TOPIC, 4)
        yield cluster


@asynccontextmanager
async def writing(kafka: MockKafka, *, deadline: float = 10, attempt: float = 5) -> AsyncIterator[RecordWriter]:
    writer = RecordWriter(kafka.settings, deadline=deadline, attempt=attempt)
    try:
        yield writer
    finally:
        await writer.close()


async def content(kafka: MockKafka, partition: int = 0) -> list[bytes | None]:
    reader = RecordReader(kafka.settings)
    await reader.start({(TOPIC, partition): "earliest"})
    try:
        end = (await reader.end_offsets())[TOPIC, partition]
        records: list[RawRecord] = []
        while len(records) < end:
            records += await reader.fetch(1)
        return [record.value for record in records]
    finally:
        await reader.close()


@pytest.mark.parametrize("code", [-1, 2, 74, 89], ids=["unknown", "corrupt", "fenced-epoch", "quota"])
async def test_after_any_error_that_may_pass_the_same_bytes_are_sent_again_by_a_new_producer(
    kafka: MockKafka, code: int
) -> None:
    async with writing(kafka) as writer:
        assert await writer.send(TOPIC, 0, b"first") == 0
        kafka.answer(PRODUCE, code)
        assert await writer.send(TOPIC, 0, b"second", b"key") == 1
        assert await writer.send(TOPIC, 0, b"third") == 2
        assert writer.rebuilds == 1
    assert await content(kafka) == [b"first", b"second", b"third"]


@pytest.mark.parametrize("code", [10, 17, 29, 31], ids=["too-large", "invalid-topic", "topic-acl", "cluster-acl"])
async def test_a_refusal_is_told_at_once_and_the_next_record_goes_through_a_new_producer(
    kafka: MockKafka, code: int
) -> None:
    async with writing(kafka) as writer:
        await writer.send(TOPIC, 0, b"first")
        kafka.answer(PRODUCE, code)
        began = time.monotonic()
        with pytest.raises(TransportError) as raised:
            await writer.send(TOPIC, 0, b"refused")
        assert time.monotonic() - began < 3  # of the 10 that it has
        assert raised.value.code == "broker-refused"
        assert raised.value.where == f"{TOPIC}[0]"
        await writer.send(TOPIC, 0, b"second")
        assert writer.rebuilds == 1
    assert await content(kafka) == [b"first", b"second"]


async def test_a_passing_error_that_aiokafka_retries_itself_costs_no_producer(kafka: MockKafka) -> None:
    async with writing(kafka) as writer:
        await writer.send(TOPIC, 0, b"first")
        kafka.answer(PRODUCE, 6, 19)  # not leader, not enough replicas
        await writer.send(TOPIC, 0, b"second")
        assert writer.rebuilds == 0
    assert await content(kafka) == [b"first", b"second"]


async def test_many_sends_that_fail_together_share_one_new_producer(kafka: MockKafka) -> None:
    async with writing(kafka) as writer:
        await asyncio.gather(*(writer.send(TOPIC, partition, b"first") for partition in range(4)))
        kafka.answer(PRODUCE, -1)
        await asyncio.gather(*(writer.send(TOPIC, partition, b"second") for partition in range(4)))
        assert writer.rebuilds == 1
    for partition in range(4):
        assert await content(kafka, partition) == [b"first", b"second"]


async def test_a_refusal_in_one_partition_does_not_disturb_a_record_in_flight_in_another() -> None:
    with MockKafka(brokers=2) as kafka:
        kafka.topic(TOPIC, 2)
        kafka.lead(TOPIC, 0, broker=1)
        kafka.lead(TOPIC, 1, broker=2)
        async with writing(kafka) as writer:
            await writer.send(TOPIC, 0, b"first")
            await writer.send(TOPIC, 1, b"first")
            kafka.slow(600, broker=2)
            slow = asyncio.create_task(writer.send(TOPIC, 1, b"slow"))
            await asyncio.sleep(0.1)  # it is on its way to broker 2
            kafka.answer(PRODUCE, 29)
            with pytest.raises(TransportError):
                await writer.send(TOPIC, 0, b"refused")
            assert not slow.done()
            await asyncio.gather(writer.send(TOPIC, 0, b"second"), slow)  # the old producer and the new one
        kafka.slow(0, broker=2)
        assert await content(kafka, 1) == [b"first", b"slow"]  # once: its producer was left alone until it was done


async def test_sends_to_different_partitions_share_the_round_trips(kafka: MockKafka) -> None:
    async with writing(kafka) as writer:
        await asyncio.gather(*(writer.send(TOPIC, partition, b"warm") for partition in range(4)))
        kafka.slow(500)
        began = time.monotonic()
        await asyncio.gather(*(writer.send(TOPIC, partition, b"x") for partition in range(4)))
        assert time.monotonic() - began < 1.8  # one after the other: 2 s


async def test_a_broker_that_is_down_makes_an_error_at_the_deadline_and_everything_stays_bounded(
    kafka: MockKafka,
) -> None:
    async with writing(kafka) as writer:
        await writer.send(TOPIC, 0, b"first")
        kafka.down()
        began = time.monotonic()
        with pytest.raises(TransportError) as raised:
            await writer.send(TOPIC, 0, b"lost", deadline=1.5)
        assert 1.4 < time.monotonic() - began < 4
        assert raised.value.code == "not-accepted"
        assert "nothing listens there" in raised.value.what
        kafka.up()
        await writer.send(TOPIC, 0, b"lost")
    assert (await content(kafka))[-1] == b"lost"


async def test_a_broker_that_goes_down_and_comes_back_within_the_deadline_is_not_noticed_by_the_caller(
    kafka: MockKafka,
) -> None:
    async with writing(kafka, attempt=1) as writer:
        await writer.send(TOPIC, 0, b"first")
        kafka.down()
        sending = asyncio.create_task(writer.send(TOPIC, 0, b"second"))
        await asyncio.sleep(1.5)
        assert not sending.done()
        kafka.up()
        await sending
    assert (await content(kafka))[:2] == [b"first", b"second"]


async def test_a_broker_that_never_answers_is_given_up_at_the_deadline(kafka: MockKafka) -> None:
    async with writing(kafka, attempt=0.5) as writer:
        await writer.send(TOPIC, 0, b"first")
        kafka.slow(60_000)
        began = time.monotonic()
        with pytest.raises(TransportError) as raised:
            await writer.send(TOPIC, 0, b"lost", deadline=1.2)
        assert raised.value.code == "not-accepted"
        assert time.monotonic() - began < 4  # the deadline, and 2 s to find out why
        began = time.monotonic()
    assert time.monotonic() - began < 4  # close() as well


async def test_a_producer_that_gets_no_id_is_given_up_at_the_deadline(kafka: MockKafka) -> None:
    kafka.answer(INIT_PRODUCER_ID, *[15] * 200)  # coordinator not available, for ever: start() would never return
    async with writing(kafka, attempt=0.4) as writer:
        with pytest.raises(TransportError) as raised:
            await writer.send(TOPIC, 0, b"x", deadline=1)
        assert raised.value.code == "not-accepted"


async def test_a_topic_that_is_not_there_is_told_from_a_broker_that_is_not_there(kafka: MockKafka) -> None:
    async with writing(kafka) as writer:
        with pytest.raises(TransportError) as raised:
            await writer.send(TOPIC, 9, b"x", deadline=1)
        assert raised.value.code == "topic-missing"
        assert "[0, 1, 2, 3]" in raised.value.what
        assert writer.rebuilds == 0  # no record was given to the producer: nothing is wrong with it


async def test_start_fails_early_with_the_reason_and_a_later_send_works(kafka: MockKafka) -> None:
    kafka.down()
    async with writing(kafka) as writer:
        with pytest.raises(TransportError, match="nothing listens there"):
            await writer.start()
        kafka.up()
        await writer.send(TOPIC, 0, b"x")


async def test_a_send_that_is_cancelled_leaves_a_writer_that_works(kafka: MockKafka) -> None:
    async with writing(kafka) as writer:
        await writer.send(TOPIC, 0, b"first")
        kafka.slow(300)
        sending = asyncio.create_task(writer.send(TOPIC, 0, b"cancelled"))
        await asyncio.sleep(0.05)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        kafka.slow(0)
        await writer.send(TOPIC, 0, b"second")
    assert [value for value in await content(kafka) if value != b"cancelled"] == [b"first", b"second"]


async def test_closing_ends_a_send_that_waits_and_refuses_new_ones(kafka: MockKafka) -> None:
    async with writing(kafka) as writer:
        await writer.send(TOPIC, 0, b"first")
        kafka.down()
        sending = asyncio.create_task(writer.send(TOPIC, 0, b"waits"))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        await writer.close()
        with pytest.raises(TransportError) as raised:
            await sending
        assert raised.value.code == "not-accepted"
        assert time.monotonic() - began < 3
        with pytest.raises(TransportError, match="closed"):
            await writer.send(TOPIC, 0, b"late")


async def test_nothing_is_left_running_when_a_writer_is_closed_after_trouble(kafka: MockKafka) -> None:
    before = asyncio.all_tasks()
    async with writing(kafka, attempt=0.3) as writer:
        await writer.send(TOPIC, 0, b"first")
        kafka.answer(PRODUCE, -1)
        kafka.answer(METADATA, 5, 5)
        await asyncio.gather(*(writer.send(TOPIC, partition, b"second") for partition in range(4)))
        kafka.down()
        with pytest.raises(TransportError):
            await writer.send(TOPIC, 0, b"lost", deadline=1)
    assert asyncio.all_tasks() == before
