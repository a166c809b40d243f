"""Subscribing: only true events, only what this endpoint is cleared for, nothing missed without a word.

async with Subscriber.open("watch-floor.toml") as bus:
    async for delivery in bus:                # verified, cleared, decrypted
        ...; await delivery.done()            # or .refuse(why), .retry(after=5)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from agencybus import config as configuration
from agencybus.config import SubscriberConfig
from agencybus.errors import ConfigError, RecordError, TransportError
from agencybus.grants import GrantFollower
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import Place, Position, RawRecord, Since
from agencybus.lineage import Head, LineageId
from agencybus.node import Node
from agencybus.seal.grant import AudienceKey
from agencybus.state.reader import ReaderState, Start
from agencybus.subscribing import places
from agencybus.subscribing.delivery import Delivery
from agencybus.subscribing.feed import Desk, PartitionFeed, QuarantineFeed
from agencybus.subscribing.silence import Silence
from agencybus.subscribing.stats import Stats
from agencybus.subscribing.verifier import Verifier

FETCH_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 2.0  # after an error of the transport
MISSING_SECONDS: Final = 60.0  # between two looks for topics that were not there
SECOND: Final = 1.0
QUARANTINE_SECONDS: Final = 2.0  # between two looks for an operator's decisions
DAY_SECONDS: Final = 86_400.0

_log = structlog.get_logger(__name__)


class Subscriber:
    """Reads for one endpoint and route. Open it with `open`; one process holds a state folder at a time.

    Attributes:
        node: this endpoint.
        state: what the reader knows, quarantine included.
        stats: what it counted.
    """

    def __init__(
        self, node: Node, config: SubscriberConfig, state: ReaderState, start: Start, *, sync: bool, stats: Stats
    ) -> None:
        self.node = node
        self.state = state
        self.stats = stats
        self._config = config
        self._start = start
        self._verifier = Verifier(node, state, started_at=start.at, patience=config.wait_seconds)
        self._desk = Desk(
            node, state, self._verifier, self.stats, self._hand_out, types=frozenset(config.types), sync=sync
        )
        self._feeds: dict[Place, PartitionFeed] = {}
        self._readers: dict[str, RecordReader] = {}
        self._quarantine = QuarantineFeed(self._desk)
        self._silence = Silence(lambda: asyncio.get_running_loop().time())
        self._lanes: dict[str, deque[Delivery]] = {lane: deque() for lane in places.LANES}
        self._ready = asyncio.Event()
        self._ending = False
        self._worked_on = state.worked_on()
        self._lanes_read: set[str] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._failure: BaseException | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: SubscriberConfig | Path | str,
        node: Node | None = None,
        *,
        route: str = "main",
        sync: bool = True,
        stats: Stats | None = None,
    ) -> AsyncIterator[Subscriber]:
        """Open keys, directory and state; go on where this reader stopped.

        Args:
            config: a `subscriber.toml`, or what it says.
            node: an opened endpoint to share; made from the configuration if left out.
            route: name of the reader within the endpoint; bound to the state.
            sync: a commit waits for the disk. False only before sinks that know their own position.
            stats: counters to go on with, of a reader that is opened again.

        Raises:
            BusError: configuration, keys, directory, state or broker can't be used; the hint says what to do.
        """
        if not isinstance(config, SubscriberConfig):
            config = configuration.load(Path(config), SubscriberConfig)
        async with AsyncExitStack() as stack:
            if node is None:
                node = await Node.open(config)
                stack.push_async_callback(node.close)
            state = await asyncio.to_thread(
                ReaderState.open,
                config.state,
                endpoint=config.endpoint,
                realm=node.realm,
                route=route,
                storage_key=node.keyring.storage_key,
            )
            stack.callback(state.close)
            start = _beginning(config, state, node.now())
            subscriber = cls(node, config, state, start, sync=sync, stats=stats or Stats())
            async with subscriber._running():
                yield subscriber

    # --- what a tool sees

    def __aiter__(self) -> Subscriber:
        return self

    async def __anext__(self) -> Delivery:
        """The next event; urgent ones first."""
        for delivery in await self.some(1):
            return delivery
        raise StopAsyncIteration

    async def some(self, limit: int) -> list[Delivery]:
        """The next events: what is at hand, urgent ones first; waits for one. Empty after `end`.

        Args:
            limit: at most so many.

        Raises:
            BusError: reading has ended, and this is why.
        """
        while True:
            found: list[Delivery] = []
            for lane in places.LANES:
                waiting = self._lanes[lane]
                found += [waiting.popleft() for _ in range(min(limit - len(found), len(waiting)))]
            if found:
                return found
            if self._failure is not None:
                raise self._failure
            if self._ending:
                return []
            self._ready.clear()
            await self._ready.wait()

    def end(self) -> None:
        """Hand out no further frame: iteration ends behind what has been handed out."""
        self._ending = True
        self._desk.end()
        self._ready.set()

    async def settled(self) -> None:
        """Return when every frame that was answered for in full is committed.

        Raises:
            BusError: it can't be: reading has ended, and this is why. Such frames come again.
        """
        await self._desk.settled()
        if self._failure is not None:
            raise self._failure

    def _hand_out(self, deliveries: list[Delivery]) -> None:
        self._lanes[deliveries[0].position.topic.rpartition(".")[2]].extend(deliveries)
        self._ready.set()

    # --- what an operator sees

    async def lag(self) -> dict[Place, int]:
        """Records on the broker that are not committed here, by topic and partition.

        Raises:
            TransportError: no broker answers.
        """
        done = self.state.positions()
        found = await asyncio.gather(*(reader.end_offsets() for reader in self._readers.values()))
        ends = {place: end for lane in found for place, end in lane.items()}
        return {place: max(0, end - done.get(place, end)) for place, end in ends.items()}

    def oldest_unanswered(self) -> int | None:
        """Since when the oldest event waits for its tool's answer, µs since the epoch; None if none does."""
        return self._desk.oldest_unanswered()

    @property
    def connected(self) -> bool:
        """Whether every lane is being read; topics that are missing aside."""
        return self._failure is None and bool(self._lanes_read) and self._lanes_read <= set(self._readers)

    def silence(self) -> dict[LineageId, float]:
        """Seconds since each open lineage was heard."""
        return self._silence.seconds(self._verifier.heads)

    @property
    def heads(self) -> Mapping[LineageId, Head]:
        """The newest record of every lineage."""
        return self._verifier.heads

    # --- the machine

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        """Run all tasks; the first that fails ends the reading, with its error at the next delivery."""
        async with AsyncExitStack() as stack:
            lanes = self._places()
            if not any(lanes.values()):
                what = f"the directory gives {self.node.endpoint} nothing to read"
                raise ConfigError("config-invalid", what, where="endpoint")
            self._lanes_read = {lane for lane, found in lanes.items() if found}
            runner = asyncio.create_task(self._run(lanes), name="subscriber")
            runner.add_done_callback(self._ended)
            stack.push_async_callback(_cancelled, runner)
            yield

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            self._failure = error
            self._ready.set()

    async def _run(self, lanes: dict[str, list[Place]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for lane in places.LANES:
                tasks.create_task(self._read_lane(lane))
            tasks.create_task(self._follow_grants(places.granting_agencies(lanes)))
            tasks.create_task(self._quarantine.run(QUARANTINE_SECONDS))
            tasks.create_task(self._watch())
            tasks.create_task(self._prune())

    async def _read_lane(self, lane: str) -> None:
        """Read all topics of a lane with one consumer, made anew when the directory gives other topics."""
        while True:
            reader = RecordReader(self.node.kafka, stall=self._config.stall_seconds)
            try:
                missing = await self._open_lane(lane, reader)
                self._readers[lane] = reader
                await self._fetch_lane(lane, reader, again=MISSING_SECONDS if missing else DAY_SECONDS)
            except TransportError as error:
                if error.code == "offset-lost":
                    raise  # an operator must decide: what is gone below the position can't be had again
                self.stats.alarm(error.code, error.what, where=error.where)
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                self._readers.pop(lane, None)
                await reader.close()

    async def _open_lane(self, lane: str, reader: RecordReader) -> bool:
        """Start the reader on every topic that is there; whether one is missing."""
        wanted = self._places()[lane]
        done = self.state.positions()
        begin = {place: done.get(place, self._begin()) for place in wanted}
        missing = False
        while begin:
            try:
                await reader.start(begin)
                break
            except TransportError as error:
                gone = [place for place in begin if error.code == "topic-missing" and place[0] in error.where]
                if not gone:
                    raise
                missing = True
                self.stats.alarm("topic-missing", error.what, where=error.where)
                for place in gone:
                    del begin[place]
        found = reader.positions()
        with self.state.transaction() as step:  # so that `now` means the same after a crash
            for (topic, partition), offset in found.items():
                if (topic, partition) not in done:
                    step.offset(topic, partition, offset)
        for place in found:
            self._feed(place)
        return missing

    def _places(self) -> dict[str, list[Place]]:
        """What the newest directory and the configuration give to read, by lane."""
        config = self._config
        return places.places(self.node.directory, self.node.endpoint, config.channels, config.programmes)

    def _begin(self) -> Position:
        if self._start.policy == "earliest":
            return "earliest"
        fresh = self._start.policy == "now" and not self.state.positions()
        return "latest" if fresh else Since(self._start.at)

    def _feed(self, place: Place) -> PartitionFeed:
        """The feed of a partition, made at first sight."""
        if place not in self._feeds:
            assert self._tasks is not None
            suspect = max(
                (offset for topic, partition, offset in self.state.suspects() if (topic, partition) == place),
                default=-1,
            )
            before = {offset for topic, partition, offset in self._worked_on if (topic, partition) == place}
            feed = PartitionFeed(self._desk, place, suspect_until=suspect + 1, worked_on=before)
            self._feeds[place] = feed
            self._tasks.create_task(feed.run(), name=f"feed {place[0]}/{place[1]}")
        return self._feeds[place]

    async def _fetch_lane(self, lane: str, reader: RecordReader, *, again: float) -> None:
        """Fetch until the directory gives other topics, or it is time to look for missing ones."""
        clock = asyncio.get_running_loop().time
        until, directory = clock() + again, self.node.directory.digest
        paused: set[Place] = set()
        if not reader.positions():
            await asyncio.sleep(min(again, MISSING_SECONDS))
            return
        while clock() < until:
            if self.node.directory.digest != directory:
                wanted = self._places()[lane]
                if set(wanted) != set(reader.positions()):
                    await self._drained(reader)
                    return
                directory = self.node.directory.digest
            for record in await reader.fetch(FETCH_SECONDS):
                self._feed((record.topic, record.partition)).offer(record)
            for place in reader.positions():
                if self._feeds[place].full and place not in paused:
                    reader.pause(*place)
                    paused.add(place)
                elif place in paused and self._feeds[place].hungry:
                    reader.resume(*place)
                    paused.discard(place)
        await self._drained(reader)

    async def _drained(self, reader: RecordReader) -> None:
        """Wait until all that was fetched is committed, so that the next reader begins behind it."""
        for place in reader.positions():
            await self._feeds[place].idle()

    async def _follow_grants(self, agencies: set[str]) -> None:
        found: deque[AudienceKey] = deque()

        def keep(key: AudienceKey) -> None:
            with self.state.transaction() as step:
                step.audience_key(key)
            found.append(key)

        def known(key_id: bytes, endpoint: str) -> bool:
            return self.state.keys.get(key_id, endpoint) is not None

        def refused(raw: RawRecord, error: RecordError) -> None:
            where = {"topic": raw.topic, "partition": raw.partition, "offset": raw.offset}
            self.stats.quarantined[error.code] += 1
            self.stats.alarm("grant-refused", f"{error.code}: {error.what}", step=int(error.step), **where)

        while True:
            follower = GrantFollower(self.node, sorted(agencies), known=known, on_key=keep, on_refused=refused)
            try:
                await follower.start()
                while True:
                    await follower.step()
                    while found:
                        await self._verifier.tell_key(found.popleft())
                        self._quarantine.look()
            except TransportError as error:
                self.stats.alarm(error.code, error.what, where=error.where)
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                await follower.close()

    async def _watch(self) -> None:
        """Alarms that come of time passing."""
        expired = False
        while True:
            await asyncio.sleep(SECOND)
            was, expired = expired, self.node.directory_health().expired
            if expired and not was:
                self.stats.alarm("directory-expired", "the directory is past its date; reading goes on")
            for lineage, seconds in self._silence.fallen_silent(self._verifier.heads, self.node.directory):
                what = f"nothing for {seconds:.0f} s from {lineage.endpoint}, not even a heartbeat"
                self.stats.alarm("feed-silent", what, channel=lineage.channel, partition=lineage.partition)

    async def _prune(self) -> None:
        while True:
            await asyncio.to_thread(self.state.prune, at=self.node.now())
            await asyncio.sleep(DAY_SECONDS)


def _beginning(config: SubscriberConfig, state: ReaderState, now: int) -> Start:
    """Where this reader began: remembered, or what the configuration says at its first start."""
    known = state.start()
    if known is not None:
        return known
    if config.start is None:
        raise ConfigError("start-required", "a new reader does not know where to begin", where="start")
    match config.start.position:
        case "earliest":
            start = Start("earliest", 0)
        case "latest":
            start = Start("now", now)
        case at:
            start = Start("time", at)
    state.remember_start(start)
    return start


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


__all__ = ["Delivery", "Subscriber"]
