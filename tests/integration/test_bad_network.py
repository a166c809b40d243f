"""Writer and reader against a real broker behind a bad network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio

from agencybus.errors import TransportError
from agencybus.kafka import admin, topics
from agencybus.kafka.local import LocalCluster
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.writer import RecordWriter
from faults.proxy import Proxy

CARGO = "us.cbp/ntc-cargo"
NUMBERS = count()


@pytest.fixture(scope="module")
def cluster(bare_cluster: LocalCluster) -> LocalCluster:
    return bare_cluster


@pytest_asyncio.fixture
async def proxy(cluster: LocalCluster) -> AsyncIterator[Proxy]:
    node = cluster.nodes[0]
    assert node.front is not None
    assert node.proxied is not None
    async with Proxy(node.front, node.proxied) as made:
        yield made


@pytest_asyncio.fixture
async def topic(cluster: LocalCluster) -> str:
    name = f"us.cbp.bad-network-{next(NUMBERS)}.urgent"
    await topics.create_missing(cluster.settings(), {name: 1}, copies=1)
    admin.admit(cluster.settings(), CARGO)
    return name


@pytest_asyncio.fixture
async def writer(cluster: LocalCluster, proxy: Proxy) -> AsyncIterator[RecordWriter]:
    made = RecordWriter(cluster.proxied_settings(CARGO), attempt=2)
    await made.start()
    assert proxy.connections
    yield made
    await made.close()


async def values(cluster: LocalCluster, topic: str) -> list[bytes | None]:
    """What lies in the topic, read past the proxy."""
    return await _read(RecordReader(cluster.settings(CARGO)), topic)


async def _read(reader: RecordReader, topic: str) -> list[bytes | None]:
    found: list[bytes | None] = []
    try:
        await reader.start({(topic, 0): "earliest"})
        end = (await reader.end_offsets())[topic, 0]
        async with asyncio.timeout(30):
            while reader.positions()[topic, 0] < end:
                found += [record.value for record in await reader.fetch(1)]
    finally:
        await reader.close()
    return found


async def test_a_late_network_makes_late_and_whole_records(
    cluster: LocalCluster, proxy: Proxy, topic: str, writer: RecordWriter
) -> None:
    await writer.send(topic, 0, b"first")
    proxy.delay = 0.2
    began = time.monotonic()
    await writer.send(topic, 0, b"second")
    assert time.monotonic() - began >= 2 * proxy.delay
    assert await values(cluster, topic) == [b"first", b"second"]


async def test_a_connection_that_is_cut_in_the_middle_of_the_answer_loses_nothing(
    cluster: LocalCluster, proxy: Proxy, topic: str, writer: RecordWriter
) -> None:
    await writer.send(topic, 0, b"first")
    proxy.cut_after(3)  # bytes of the acknowledgement
    await writer.send(topic, 0, b"second")
    assert proxy.cuts == 1
    assert await values(cluster, topic) in ([b"first", b"second"], [b"first", b"second", b"second"])


async def test_an_acknowledgement_that_never_comes_is_an_error_in_time_and_the_next_send_works(
    cluster: LocalCluster, proxy: Proxy, topic: str, writer: RecordWriter
) -> None:
    await writer.send(topic, 0, b"first")
    proxy.mute = True
    began = time.monotonic()
    with pytest.raises(TransportError, match="not-accepted"):
        await writer.send(topic, 0, b"second", deadline=1)
    assert time.monotonic() - began < 5
    proxy.mute = False
    await writer.send(topic, 0, b"second")
    assert await values(cluster, topic) in ([b"first", b"second"], [b"first", b"second", b"second"])


async def test_a_reader_gets_all_of_it_in_drops_and_over_a_connection_that_is_cut(
    cluster: LocalCluster, proxy: Proxy, topic: str, writer: RecordWriter
) -> None:
    sent = [bytes([number]) * 2000 for number in range(20)]
    for value in sent:
        await writer.send(topic, 0, value)
    reader = RecordReader(cluster.proxied_settings(CARGO))
    proxy.piece = 100
    proxy.cut_after(30_000)  # in the middle of the records
    assert await _read(reader, topic) == sent
    assert proxy.cuts == 1
