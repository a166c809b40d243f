"""A reader without a broker: real keys, a real directory on disk, a real state; records are handed to it by hand."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

import agencybus_schemas
from agencybus.codec import Codec
from agencybus.config import DirectoryConfig, EndpointConfig, KafkaConfig, KeyringConfig
from agencybus.directory import policy
from agencybus.directory.model import Directory
from agencybus.kafka.records import RawRecord
from agencybus.keyring import Keyring, Passphrase
from agencybus.label import Label
from agencybus.node import Node
from agencybus.seal import sealer, suite
from agencybus.seal.grant import AudienceKey
from agencybus.seal.sealer import Content, Link
from agencybus.state import ReaderState
from agencybus.subscribing.verifier import Verified, Verifier
from agencybus.wire import ids
from agencybus.wire.envelope import Record
from agencybus_schemas.events import TYPES
from federation import DAY
from repositories import World, fresh_federation

FBI, FGR, CASES = "us.fbi/wanted", "mx.fgr/watch-floor", "us.fbi/case-files"
CHANNEL = "us.fbi.fugitives.routine"
SHARED = "UNCLASSIFIED//REL TO USA, MEX"
CODEC = Codec(agencybus_schemas.load())
HOUR = 3600 * 1_000_000
NO_KAFKA = KafkaConfig(bootstrap="localhost:9", plaintext=True)


def now() -> int:
    return time.time_ns() // 1000


def raw(record: Record | bytes, offset: int = 0, *, topic: str = CHANNEL, arrived_at: int | None = None) -> RawRecord:
    """The record as it lies in a topic."""
    value = record if isinstance(record, bytes) else record.encode()
    return RawRecord(topic, 0, offset, now() if arrived_at is None else arrived_at, None, value)


def alert(reference: str, **changes: Any) -> bytes:
    """An encoded alert of the FBI."""
    fields = CODEC.template("alert", at=now(), random10=os.urandom(10))
    fields |= {"originator": FBI, "programme": "fugitives", "label": SHARED, "reference": reference}
    return CODEC.encode(msgspec.convert(fields | {"precedence": "ROUTINE"} | changes, TYPES["alert"]))


@dataclass
class Writer:
    """A lineage of an endpoint, with its real keys; obeys nothing."""

    directory: Directory
    endpoint: str = FBI
    writer: str = "main"
    signer: suite.SigningKey | None = None
    _place: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.signer = self.signer or fresh_federation().signing[self.endpoint]
        self.key = suite.random_key()
        self._sequence = count()
        self._previous = b""
        self._sealed_at = 0

    def frame(self, *references: str, channel: str = CHANNEL, **changes: Any) -> Record:
        """The next frame, of alerts."""
        events = [alert(reference, originator=self.endpoint) for reference in references]
        content = Content(
            type="alert",
            schema_id=CODEC.schema("alert").id,
            label=SHARED,
            programme="fugitives",
            precedence="ROUTINE",
            compress=True,
        )
        assert self.signer
        record = sealer.seal_frame(self._link(channel, changes), content, events, self.key, self.signer)
        self._previous = record.digest
        return record

    def checkpoint(self, *, channel: str = CHANNEL, **changes: Any) -> Record:
        """The next checkpoint."""
        assert self.signer
        record = sealer.seal_checkpoint(self._link(channel, changes), self.signer)
        self._previous = record.digest
        return record

    def _link(self, channel: str, changes: dict[str, Any]) -> Link:
        number = next(self._sequence)
        place = (self.endpoint, self.writer, channel, 0)
        fields: dict[str, Any] = {
            "realm": self.directory.realm,
            "endpoint": self.endpoint,
            "writer": self.writer,
            "channel": channel,
            "partition": 0,
            "sequence": number,
            "previous": self._previous or ids.first_previous(self.directory.realm, *place),
            "previous_sealed_at": self._sealed_at,
            "sealed_at": now(),
            "directory": self.directory.digest,
            "state": "run",
        }
        link = Link(**(fields | changes))
        self._sealed_at = link.sealed_at
        return link

    def audience_key(self, **changes: Any) -> AudienceKey:
        """Its key, granted as the rules say."""
        found = policy.audience(self.directory, self.endpoint, "alert", Label.parse(SHARED), "fugitives", now())
        fields: dict[str, Any] = {
            "key": self.key,
            "id": ids.audience_key_id(self.key),
            "endpoint": self.endpoint,
            "audience": found.digest,
            "epoch_start": now() - HOUR,
            "epoch_end": now() + HOUR,
        }
        return AudienceKey(**(fields | changes))


@dataclass
class Reader:
    """What verifies the records of an endpoint, and what it stands on."""

    node: Node
    state: ReaderState
    verifier: Verifier

    async def verify(self, record: RawRecord, **options: Any) -> Verified:
        return await self.verifier.verify(record, **options)

    async def give(self, key: AudienceKey) -> None:
        """A grant of the key has come."""
        with self.state.transaction() as step:
            step.audience_key(key)
        await self.verifier.tell_key(key)


@asynccontextmanager
async def reading(
    world: World,
    folder: Path,
    endpoint: str = FGR,
    *,
    patience: float = 1.0,
    kafka: KafkaConfig = NO_KAFKA,
) -> AsyncIterator[Reader]:
    """A reader that began a day ago. Its Kafka is not there, unless one is given for what reads by itself."""
    keys, home = fresh_federation(), folder / endpoint.replace("/", ".")
    home.mkdir(mode=0o700)
    ring = Keyring(endpoint, [keys.signing[endpoint]], [keys.kem[endpoint]], suite.random_key())
    passphrase = Passphrase(b"a passphrase of the tests")
    ring.save(home / "keys.json", passphrase)
    (home / "root.json").write_bytes(world.root)
    config = EndpointConfig(
        endpoint=endpoint,
        state=home / "state",
        keyring=KeyringConfig(file=home / "keys.json"),
        directory=DirectoryConfig(root=home / "root.json", url=world.url, cache=home / "directory"),
        kafka=kafka,
    )
    node = await Node.open(config, passphrase)
    try:
        with ReaderState.memory(
            endpoint=endpoint, realm=node.realm, route="main", storage_key=node.keyring.storage_key
        ) as state:
            yield Reader(node, state, Verifier(node, state, started_at=now() - DAY, patience=patience))
    finally:
        await node.close()


def grants(
    key: AudienceKey, rules: Directory, *, signer: suite.SigningKey | None = None, **changes: Any
) -> dict[str, Record]:
    """The grants of a key to its whole audience, by agency."""
    audience = policy.audience(rules, FBI, "alert", Label.parse(SHARED), "fugitives", now())
    kems: dict[str, list[tuple[str, suite.KemPublicKey]]] = {}
    for name in audience.endpoints:
        kems.setdefault(name.partition("/")[0], []).append((name, fresh_federation().kem[name].public))
    fields: dict[str, Any] = {"realm": rules.realm, "sealed_at": now(), "directory": rules.digest} | changes
    own = signer or fresh_federation().signing[key.endpoint]
    return {agency: sealer.seal_grant(key, lines, own, agency=agency, **fields) for agency, lines in kems.items()}
