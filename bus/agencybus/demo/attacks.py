"""The attackers: the operator of the broker, and an endpoint that does what it has no right to."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import msgspec

import agencybus_schemas
from agencybus.codec import Codec
from agencybus.directory.model import Directory
from agencybus.kafka.connection import KafkaSettings
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import RawRecord
from agencybus.kafka.writer import RecordWriter
from agencybus.keyring import Keyring, Passphrase
from agencybus.seal import sealer, suite
from agencybus.seal.sealer import Content, Link
from agencybus.wire import ids
from agencybus_schemas.events import TYPES, Event

CODEC = Codec(agencybus_schemas.load())


def alert(originator: str, reference: str, **changes: str) -> Event:
    """An alert made of the schema's own example."""
    at = time.time_ns() // 1000
    fields = CODEC.template("alert", at=at, random10=os.urandom(10)) | {
        "originator": originator,
        "programme": "fugitives",
        "label": "UNCLASSIFIED//REL TO USA, MEX",
        "precedence": "ROUTINE",
        "reference": reference,
    }
    return msgspec.convert(fields | changes, TYPES["alert"])


def write(settings: KafkaSettings, topic: str, value: bytes) -> int:
    """Append a record, as whoever runs the broker can."""

    async def work() -> int:
        writer = RecordWriter(settings)
        try:
            return await writer.send(topic, 0, value)
        finally:
            await writer.close()

    return asyncio.run(work())


def read(settings: KafkaSettings, topic: str) -> list[RawRecord]:
    """Every record of a topic, as whoever runs the broker can."""

    async def work() -> list[RawRecord]:
        reader, found = RecordReader(settings), []
        try:
            await reader.start({(topic, 0): "earliest"})
            end = (await reader.end_offsets())[topic, 0]
            while reader.positions()[topic, 0] < end:
                found += await reader.fetch(2.0)
        finally:
            await reader.close()
        return found

    return asyncio.run(work())


def without_the_right(folder: Path, endpoint: str, channel: str, directory: Directory) -> bytes:
    """A frame with real keys and two good signatures, by an endpoint that may read but not publish."""
    keyring = Keyring.load(folder / "keys.json", Passphrase.from_file(folder / "passphrase"))
    now = time.time_ns() // 1000
    link = Link(
        realm=directory.realm,
        endpoint=endpoint,
        writer="side-door",
        channel=channel,
        partition=0,
        sequence=0,
        previous=ids.first_previous(directory.realm, endpoint, "side-door", channel, 0),
        previous_sealed_at=0,
        sealed_at=now,
        directory=directory.digest,
        state="open",
    )
    content = Content(
        type="alert",
        schema_id=CODEC.schema("alert").id,
        label="UNCLASSIFIED//REL TO USA, MEX",
        programme="fugitives",
        precedence="ROUTINE",
        compress=True,
    )
    event = CODEC.encode(alert(endpoint, "SIDE-DOOR-1"))
    return sealer.seal_frame(link, content, [event], suite.random_key(), keyring.signer).encode()
