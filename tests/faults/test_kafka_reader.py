"""A reader whose Kafka goes away, answers nonsense, or lies. Real sockets, injected errors."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from agencybus.errors import TransportError
from agencybus.kafka import reader as module
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.writer import RecordWriter
from faults.kafka_mock import FETCH, MockKafka

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agencybus.kafka.records import Position, RawRecord

TOPIC = "us.cbp.cargo-targeting.urgent"


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        cluster.topic(TOPIC, 2)
        yield cluster


@asynccontextmanager
async def reading(
    kafka: MockKafka, start: Position = "earliest", *, stall: float = 15
) -> AsyncIterator[tuple[RecordReader, RecordWriter]]:
    reader, writer = RecordReader(kafka.settings, stall=stall), RecordWriter(kafka.settings)
    try:
        await reader.start({(TOPIC, 0): start, (TOPIC, 1): start})
        yield reader, writer
    finally:
        await reader.close()
        await writer.close()


async def some(reader: RecordReader, count: int, *, within: float = 8) -> list[RawRecord]:
    records: list[RawRecord] = []
    async with asyncio.timeout(within):
        while len(records) < count:
            records += await reader.fetch(0.2)
    return records


@pytest.mark.parametrize("code", [-1, 6, 74], ids=["unknown", "not-leader", "fenced"])
async def test_errors_of_a_fetch_that_pass_cost_nothing(kafka: MockKafka, code: int) -> None:
    async with reading(kafka) as (reader, writer):
        await writer.send(TOPIC, 0, b"first")
        await some(reader, 1)
        kafka.answer(FETCH, code, code)
        await writer.send(TOPIC, 0, b"second")
        assert [record.value for record in await some(reader, 1)] == [b"second"]


async def test_a_fetch_that_the_acls_refuse_is_told_and_told_again_until_they_allow_it(kafka: MockKafka) -> None:
    async with reading(kafka) as (reader, writer):
        await writer.send(TOPIC, 0, b"first")
        await some(reader, 1)
        kafka.answer(FETCH, 29, 29, 29)
        for _ in range(2):
            with pytest.raises(TransportError) as raised:
                await reader.fetch(2)
            assert raised.value.code == "broker-refused"
        await writer.send(TOPIC, 0, b"second")
        while True:
            try:
                assert [record.value for record in await some(reader, 1)] == [b"second"]
                break
            except TransportError as error:
                assert error.code == "broker-refused"  # noqa: PT017


async def test_an_offset_that_is_called_out_of_range_but_is_there_is_not_believed_lost(kafka: MockKafka) -> None:
    async with reading(kafka) as (reader, writer):
        await writer.send(TOPIC, 0, b"first")
        await some(reader, 1)
        kafka.answer(FETCH, 1)
        await writer.send(TOPIC, 0, b"second")
        assert [record.value for record in await some(reader, 1)] == [b"second"]
        assert reader.positions()[TOPIC, 0] == 2


async def test_a_reader_whose_brokers_are_away_says_so_and_goes_on_where_it_was_when_they_are_back(
    kafka: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASK_SECONDS", 0.3)
    async with reading(kafka, stall=0.5) as (reader, writer):
        await writer.send(TOPIC, 0, b"first")
        await some(reader, 1)
        kafka.down()
        began = time.monotonic()
        with pytest.raises(TransportError, match="nothing listens there") as raised:
            await some(reader, 1)
        assert raised.value.code == "broker-unreachable"
        assert time.monotonic() - began < 4
        kafka.up()
        await writer.send(TOPIC, 0, b"second")
        while True:
            try:
                assert [record.value for record in await some(reader, 1)] == [b"second"]
                break
            except TransportError as error:
                assert error.code == "broker-unreachable"  # noqa: PT017
        assert reader.positions()[TOPIC, 0] == 2


async def test_a_reader_that_can_not_be_rebuilt_yet_does_not_spin(kafka: MockKafka) -> None:
    async with reading(kafka) as (reader, writer):
        await reader.fetch(0.1)
        kafka.down()
        consumer: Any = reader._consumer
        consumer._fetcher._fetch_task.cancel()
        await asyncio.sleep(0)
        with pytest.raises(TransportError, match="nothing listens there"):
            await reader.fetch(5)
        busy = time.process_time()
        assert await reader.fetch(0.8) == []
        assert time.process_time() - busy < 0.3
        kafka.up()
        await writer.send(TOPIC, 0, b"first")
        assert [record.value for record in await some(reader, 1)] == [b"first"]
        assert reader.rebuilds == 1


async def test_a_reader_that_never_started_says_so_and_closes() -> None:
    with MockKafka() as kafka:
        kafka.topic(TOPIC, 2)
        kafka.down()
        reader = RecordReader(kafka.settings)
        with pytest.raises(TransportError, match="nothing listens there"):
            await reader.start({(TOPIC, 0): "latest"})
        with pytest.raises(TransportError, match="not started"):
            await reader.fetch(0)
        await reader.close()


async def test_closing_is_bounded_while_no_broker_answers_and_leaves_nothing_running(kafka: MockKafka) -> None:
    before = asyncio.all_tasks()
    async with reading(kafka, stall=0.2) as (reader, _):
        await reader.fetch(0.1)
        kafka.slow(60_000)
        assert await reader.fetch(0.6) == []
        began = time.monotonic()
        await reader.close()
        assert time.monotonic() - began < 4
    assert asyncio.all_tasks() == before


async def test_a_cancelled_fetch_loses_nothing(kafka: MockKafka) -> None:
    async with reading(kafka) as (reader, writer):
        for number in range(60):
            await writer.send(TOPIC, number % 2, b"%d" % number)
        seen: list[RawRecord] = []
        async with asyncio.timeout(8):
            for delay in range(10_000):
                fetching = asyncio.create_task(reader.fetch(1))
                await asyncio.sleep(delay % 7 * 0.0005)
                fetching.cancel()
                with suppress(asyncio.CancelledError):
                    seen += await fetching
                if len(seen) == 60:
                    break
        for partition in range(2):
            assert [r.offset for r in seen if r.partition == partition] == list(range(30))
