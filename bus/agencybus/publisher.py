"""Publishing: one call per event, acknowledged by a quorum, never lost, never twice under one reference.

async with Publisher.open("publisher.toml") as bus:
    for ruling in bus.explain(alert): ...     # sends nothing: who reads it, who not, which rule
    accepted = await bus.publish(alert)
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
import structlog

from agencybus import config as configuration
from agencybus.config import PublisherConfig
from agencybus.directory import policy
from agencybus.directory.model import Directory
from agencybus.directory.policy import Audience, Ruling
from agencybus.errors import BusError, EventError, PolicyError, TransportError
from agencybus.kafka.writer import RecordWriter
from agencybus.label import Label, Precedence
from agencybus.lineage import LineageId
from agencybus.node import Node
from agencybus.publishing.feed import Feed
from agencybus.publishing.granting import Granter
from agencybus.publishing.pending import Gathering, Room, check_repeat
from agencybus.seal.sealer import Content
from agencybus.state.writer import REFERENCE_BYTES, Reference, WriterState
from agencybus.wire.limits import MIB
from agencybus_schemas.events import Event

BREATH: Final = 256  # events that publish_many encodes before it lets others run
LONELY: Final = 500  # events sealed alone in a row, each awaited before the next, until a warning
CLOSE_SECONDS: Final = 30.0
DAY_SECONDS: Final = 86_400.0
REMEMBERED_US: Final = 400 * 86_400 * 1_000_000  # µs that a reference is remembered: it is one message for ever
CONTENTS: Final = 1024  # combinations of type, label, programme, precedence that are kept; a publisher has a handful

_log = structlog.get_logger(__name__)


class Accepted(msgspec.Struct, frozen=True):
    """A quorum of brokers has the event.

    Attributes:
        event_id: of the event; of the earlier one if it was published before.
        reference: the originator's.
        durability: what the acknowledgement means: `quorum`, all in-sync replicas of the partition.
        repeated: it had been published before under this reference: nothing was sent again.
        channel: its topic; empty if repeated.
        partition: of the topic.
        offset: in the partition, -1 if repeated.
        sequence: of its frame in the lineage, -1 if repeated.
    """

    event_id: UUID
    reference: str
    durability: str
    repeated: bool
    channel: str = ""
    partition: int = 0
    offset: int = -1
    sequence: int = -1


class Publisher:
    """Publishes the events of one endpoint. Open it with `open`; one process holds a state folder at a time."""

    def __init__(
        self, node: Node, config: PublisherConfig, state: WriterState, writers: dict[str, RecordWriter]
    ) -> None:
        self._node = node
        self._config = config
        self._state = state
        self._writers = writers
        self._granter = Granter(node, state, writers["grants"])
        self._room = Room(config.pending_mib * MIB)
        self._feeds: dict[tuple[str, int], Feed] = {}
        self._contents: dict[tuple[str, ...], Content] = {}
        self._audiences: dict[int, tuple[Directory, int, Audience, Content]] = {}
        self._lonely = 0
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(cls, config: PublisherConfig | Path | str, node: Node | None = None) -> AsyncIterator[Publisher]:
        """Open the keys, the directory and the journal; send again what was in flight.

        Args:
            config: a `publisher.toml`, or what it says.
            node: an opened endpoint to share; made from the configuration if left out.

        Raises:
            BusError: configuration, keys, directory, state or broker can't be used; the hint says what to do.
        """
        if not isinstance(config, PublisherConfig):
            config = configuration.load(Path(config), PublisherConfig)
        async with AsyncExitStack() as stack:
            if node is None:
                node = await Node.open(config)
                stack.push_async_callback(node.close)
            state = await asyncio.to_thread(
                WriterState.open,
                config.state,
                endpoint=config.endpoint,
                realm=node.realm,
                writer=config.writer,
                storage_key=node.keyring.storage_key,
            )
            stack.callback(state.close)
            writers = {lane: RecordWriter(node.kafka) for lane in ("urgent", "routine", "grants")}
            for writer in writers.values():
                stack.push_async_callback(writer.close)
            publisher = cls(node, config, state, writers)
            stack.push_async_callback(publisher.close)
            await publisher._start()
            pruning = asyncio.create_task(publisher._prune())
            stack.callback(pruning.cancel)
            yield publisher

    async def _start(self) -> None:
        await self._writers["grants"].start()
        await self._granter.adopt()
        own = self._node.directory.endpoints[self._node.endpoint].publishes
        for channel, partition in self._state.places():
            if channel.split(".")[2] in own:  # a right that was lost: readers would refuse even a heartbeat
                self._feed(channel, partition)

    async def _prune(self) -> None:
        """Forget old references, now and then: readers forget them as well."""
        while True:
            await asyncio.to_thread(self._state.prune, before=self._node.now() - REMEMBERED_US)
            await asyncio.sleep(DAY_SECONDS)

    async def close(self) -> None:
        """Send what waits and close every lineage, bounded. What is not acknowledged stays in the journal."""
        self._closed = True
        await asyncio.gather(*(feed.close(CLOSE_SECONDS) for feed in self._feeds.values()))
        await self._granter.close()

    # --- asking

    def explain(self, event: Event) -> list[Ruling]:
        """Every endpoint of the directory with yes or no and the rule that said so. Sends nothing.

        Raises:
            EventError: the event is invalid.
        """
        content = self._content(event)
        self._node.codec.check(event)
        return policy.explain(
            self._node.directory,
            self._node.endpoint,
            content.type,
            Label.parse(content.label),
            content.programme,
            self._node.now(),
        )

    # --- publishing

    async def publish(self, event: Event) -> Accepted:
        """Publish one event and wait until a quorum has it. For many, `publish_many` is ten times as fast.

        Raises:
            EventError: refused; field, rule and hint say why. Nothing was sent.
            PolicyError: refused by the directory's rules. Nothing was sent.
            TransportError: `not-accepted`: it is not known whether it will arrive. Publish it again, with the same
                reference, as often as you like.
            StateError: the journal can't be written.
        """
        seconds = self._config.deadline_seconds
        gathering, index = await self._add(event, seconds)
        accepted = await self._wait(event, gathering, index, seconds)
        self._lonely = self._lonely + 1 if len(gathering.events) == 1 else 0
        if self._lonely == LONELY:
            _log.warning("published-one-by-one", events=LONELY, hint="publish_many is ten times as fast")
        return accepted

    async def publish_many(self, events: Iterable[Event]) -> list[Accepted | BusError]:
        """Publish many events, in order, and wait for all. One that is refused does not stop the others.

        Returns:
            For each event, in order: `Accepted`, or the error that `publish` would have raised.
        """
        added: list[tuple[Event, Gathering, int] | BusError] = []
        seconds = self._config.deadline_seconds  # for one after the other, as long as they come through
        for number, event in enumerate(events):
            try:
                gathering, index = await self._add(event, seconds)
            except BusError as error:
                added.append(error)
                seconds = 0.0 if isinstance(error, TransportError) else seconds
            else:
                added.append((event, gathering, index))
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
        results: list[Accepted | BusError] = []
        for item in added:
            result = item if isinstance(item, BusError) else await self._result(*item, seconds)
            results.append(result)
            if isinstance(result, TransportError):
                seconds = 0.0
        return results

    async def _result(self, event: Event, gathering: Gathering, index: int, seconds: float) -> Accepted | BusError:
        try:
            return await self._wait(event, gathering, index, seconds)
        except BusError as error:
            return error

    async def _add(self, event: Event, seconds: float) -> tuple[Gathering, int]:
        if self._closed:
            raise EventError("publisher-closed", "the publisher was closed")
        content = self._content(event)
        encoded = self._node.codec.encode(event)
        self._audience(content, self._node.now())  # refuses here what the rules refuse
        feed = self._feed(self._channel(content), self._partition(event))
        if not self._room.fits(len(encoded)):
            await self._wait_for_room(feed, len(encoded), seconds)
        try:
            return feed.add(content, encoded, _reference(event, encoded))
        except BusError:
            self._room.give(len(encoded))
            raise

    async def _wait_for_room(self, feed: Feed, size: int, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._room.take(size)
        except TimeoutError:
            why = feed.trouble.what if feed.trouble else "the brokers are slower than the events come"
            what = f"no room for another event: {why}"
            raise TransportError("not-accepted", what, where=feed.lineage.channel) from None

    async def _wait(self, event: Event, gathering: Gathering, index: int, seconds: float) -> Accepted:
        if not gathering.done.done():
            await self._wait_for_fate(event, gathering, seconds)
        fate = gathering.done.result()
        known = fate.known.get(index)
        if known is not None:
            check_repeat(known, gathering.references[index])
            return Accepted(UUID(bytes=known.event_id), event.reference, "quorum", repeated=True)
        placed, first = fate.placed, gathering.references[index].event_id
        assert placed is not None
        repeated = first != event.event_id.bytes  # twice in one frame
        return Accepted(
            UUID(bytes=first) if repeated else event.event_id,
            event.reference,
            "quorum",
            repeated,
            placed.channel,
            placed.partition,
            placed.offset,
            placed.sequence,
        )

    async def _wait_for_fate(self, event: Event, gathering: Gathering, seconds: float) -> None:
        await asyncio.wait({gathering.done}, timeout=seconds)
        if not gathering.done.done():
            what = f"not acknowledged within {self._config.deadline_seconds:g} s"
            raise TransportError("not-accepted", what, where=event.reference)

    # --- parts

    def _content(self, event: Event) -> Content:
        """What the event's frame will say of it.

        Raises:
            EventError: the event is invalid, or not this endpoint's.
        """
        if event.originator != self._node.endpoint:
            what = f"this is {self._node.endpoint}"
            raise EventError("endpoint-not-ours", what, field="originator")
        shared = (event.type_name, event.label, event.programme, event.precedence.value)
        content = self._contents.get(shared)
        if content is None:
            schema = self._node.codec.schema(event.type_name)
            content = Content(
                type=event.type_name,
                schema_id=schema.id,
                label=event.label,
                programme=event.programme,
                precedence=event.precedence.value,
                compress=schema.compress,
            )
            if len(self._contents) >= CONTENTS:
                self._contents.clear()
            self._contents[shared] = content
        return content

    def _channel(self, content: Content) -> str:
        lane = Precedence(content.precedence).lane
        return f"{self._node.endpoint.partition('/')[0]}.{content.programme}.{lane}"

    def _audience(self, content: Content, at: int) -> Audience:
        """The audience of a content, kept while neither directory nor time may change it.

        Raises:
            PolicyError: may not be published, or nobody may read it.
        """
        directory = self._node.directory
        known = self._audiences.get(id(content))
        if known is not None and known[0] is directory and known[1] <= at < known[2].until:
            return known[2]
        label = Label.parse(content.label)
        audience = policy.audience(directory, self._node.endpoint, content.type, label, content.programme, at)
        if len(self._audiences) >= CONTENTS:
            self._audiences.clear()
        self._audiences[id(content)] = (directory, at, audience, content)  # held, so that its id stays its own
        return audience

    def _partition(self, event: Event) -> int:
        """Everything about one story goes to one partition: by the event that began it."""
        count = self._node.directory.programmes[event.programme].partitions
        if count == 1:
            return 0
        root = event.correlation.root if event.correlation else event.event_id
        return int.from_bytes(hashlib.sha256(root.bytes).digest(), "big") % count

    def _feed(self, channel: str, partition: int) -> Feed:
        feed = self._feeds.get((channel, partition))
        if feed is None:
            _, programme, lane = channel.rsplit(".", 2)
            agreed = self._node.directory.programmes.get(programme)
            own = self._config.heartbeat_seconds
            feed = Feed(
                self._node,
                LineageId(self._node.endpoint, self._config.writer, channel, partition),
                state=self._state,
                writer=self._writers[lane],
                granter=self._granter,
                audience=self._audience,
                room=self._room,
                heartbeat=min(own, agreed.heartbeat_seconds) if agreed else own,
            )
            self._feeds[channel, partition] = feed
        return feed


def _reference(event: Event, encoded: bytes) -> Reference:
    """Its key, and a digest of the content without event_id and reported_at, which a repetition has anew."""
    at = 16
    while encoded[at] & 0x80:
        at += 1
    content = hashlib.sha256(encoded[at + 1 :]).digest()[:REFERENCE_BYTES]
    key = hashlib.sha256(event.reference.encode()).digest()[:REFERENCE_BYTES]
    return Reference(key, event.event_id.bytes, content)


__all__ = ["Accepted", "PolicyError", "Publisher"]
