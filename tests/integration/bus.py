"""Publishers and subscribers of the test federation, each with a state of its own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import agencybus_schemas
from agencybus import config
from agencybus.codec import Codec
from agencybus.config import PublisherConfig, Start, SubscriberConfig
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import RawRecord
from agencybus.kafka.writer import RecordWriter
from agencybus.keyring import Keyring, Passphrase
from agencybus.publisher import Publisher
from agencybus.sandbox import Sandbox
from agencybus.subscriber import Delivery, Subscriber
from agencybus_schemas.events import TYPES, Event

FBI, CBP, USMS = "us.fbi/wanted", "us.cbp/ntc-cargo", "us.usms/watch-floor"
FGR, INM = "mx.fgr/watch-floor", "mx.inm/fronteras"
CHANNEL = "us.fbi.fugitives.routine"
SHARED = "UNCLASSIFIED//REL TO USA, MEX"
CODEC = Codec(agencybus_schemas.load())


def alert(reference: str, **changes: Any) -> Event:
    """A valid alert of the FBI, now."""
    at = time.time_ns() // 1000
    fields = CODEC.template("alert", at=at, random10=os.urandom(10))
    fields |= {"originator": FBI, "programme": "fugitives", "label": SHARED, "reference": reference}
    return msgspec.convert(fields | {"precedence": "ROUTINE"} | changes, TYPES["alert"])


def publisher_config(federation: Sandbox, folder: Path, endpoint: str = FBI, **changes: Any) -> PublisherConfig:
    """A publisher with a fresh lineage: each test's folder names a writer."""
    loaded = config.load(federation.publisher(endpoint), PublisherConfig)
    fields = {"state": folder / f"publisher-{endpoint.replace('/', '.')}", "writer": f"{folder.name}"[:40]}
    return msgspec.structs.replace(loaded, **(fields | changes))


def subscriber_config(federation: Sandbox, folder: Path, endpoint: str = FGR, **changes: Any) -> SubscriberConfig:
    """A subscriber that begins now."""
    loaded = config.load(federation.subscriber(endpoint), SubscriberConfig)
    fields = {"state": folder / f"reader-{endpoint.replace('/', '.')}", "start": Start("latest"), "wait_seconds": 2.0}
    return msgspec.structs.replace(loaded, **(fields | changes))


@asynccontextmanager
async def publishing(
    federation: Sandbox, folder: Path, endpoint: str = FBI, **changes: Any
) -> AsyncIterator[Publisher]:
    async with Publisher.open(publisher_config(federation, folder, endpoint, **changes)) as publisher:
        yield publisher


@asynccontextmanager
async def subscribing(
    federation: Sandbox, folder: Path, endpoint: str = FGR, **changes: Any
) -> AsyncIterator[Subscriber]:
    """A subscriber that has found its place: what is published from here on, it sees."""
    async with Subscriber.open(subscriber_config(federation, folder, endpoint, **changes)) as subscriber:
        await until(lambda: len(subscriber.state.positions()) > 1)
        yield subscriber


async def take(subscriber: Subscriber, count: int, *, seconds: float = 20.0, done: bool = True) -> list[Delivery]:
    """The next deliveries, answered."""
    found: list[Delivery] = []
    async with asyncio.timeout(seconds):
        while len(found) < count:
            delivery = await anext(subscriber)
            found.append(delivery)
            if done:
                await delivery.done()
    return found


async def nothing_more(subscriber: Subscriber, *, seconds: float = 1.0) -> None:
    """Fail if another event is delivered."""
    try:
        async with asyncio.timeout(seconds):
            delivery = await anext(subscriber)
    except TimeoutError:
        return
    raise AssertionError(f"delivered {delivery.event.reference}")


async def until(true: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Wait until a condition holds that nothing tells of."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is asked for is a counter, not an event
            await asyncio.sleep(0.02)


def references(deliveries: Iterable[Delivery]) -> list[str]:
    return [delivery.event.reference for delivery in deliveries]


def keyring(federation: Sandbox, endpoint: str) -> Keyring:
    folder = federation.folder(endpoint)
    return Keyring.load(folder / "keys.json", Passphrase.from_file(folder / "passphrase"))


async def records(federation: Sandbox, topic: str, *, since: int = 0) -> list[RawRecord]:
    """What lies in a topic."""
    settings = config.load(federation.subscriber(FGR), SubscriberConfig).kafka.settings()
    reader, found = RecordReader(settings), []
    await reader.start({(topic, 0): since or "earliest"})
    try:
        end = (await reader.end_offsets())[topic, 0]
        while reader.positions()[topic, 0] < end:
            found += await reader.fetch(2.0)
    finally:
        await reader.close()
    return found


async def write(federation: Sandbox, value: bytes, *, topic: str = CHANNEL, endpoint: str = FBI) -> int:
    """Write bytes to a topic with an endpoint's certificate: what a broker's operator could do, too."""
    writer = RecordWriter(config.load(federation.publisher(endpoint), PublisherConfig).kafka.settings())
    try:
        return await writer.send(topic, 0, value)
    finally:
        await writer.close()
