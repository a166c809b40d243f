"""Following grants: every audience key that this endpoint was given, by id.

One follower serves all channels of a process. It reads the grant topics of the agencies that concern it,
verifies every record as any other, and opens what is addressed to this endpoint. Keys are kept for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from agencybus.errors import RecordError, TransportError
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import Place, Position, RawRecord
from agencybus.node import Node
from agencybus.seal import grant, opener
from agencybus.seal.grant import AudienceKey
from agencybus.wire import envelope
from agencybus.wire.headers import GrantHeader

FETCH_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 2.0  # after an error of the transport

_log = structlog.get_logger(__name__)


def grants_topic(agency: str) -> str:
    """The topic of an agency's grants."""
    return f"{agency}.grants"


class GrantFollower:
    """Reads grants and hands out keys.

    Args:
        node: this endpoint.
        agencies: whose grants to follow.
        known: whether the key with this id of this endpoint is kept already: its grant costs no signature again.
        on_key: called with every key found; it keeps the key.
        on_refused: called with every grant that a step refused.
    """

    def __init__(
        self,
        node: Node,
        agencies: Iterable[str],
        *,
        known: Callable[[bytes, str], bool],
        on_key: Callable[[AudienceKey], None],
        on_refused: Callable[[RawRecord, RecordError], None],
    ) -> None:
        self._node = node
        self._known = known
        self._on_key = on_key
        self._on_refused = on_refused
        self._places: dict[Place, Position] = {(grants_topic(agency), 0): "earliest" for agency in agencies}
        self._done: dict[tuple[str, int], int] = {}
        self._unread: dict[Place, int] = {}  # lowest offset whose grant names a directory that is not known yet
        self._directory = node.directory.digest
        self._advanced = asyncio.Condition()
        self._reader = RecordReader(node.kafka)

    async def start(self) -> None:
        """Begin at the start of the topics.

        Raises:
            TransportError: no broker answers.
        """
        await self._reader.start(self._places)

    async def close(self) -> None:
        """End."""
        await self._reader.close()

    async def run(self) -> None:
        """Follow until cancelled. Errors of the transport are waited out: keys that are there stay in use."""
        while True:
            try:
                await self.step()
            except TransportError as error:
                _log.warning("grants-not-followed", code=error.code, what=error.what)
                await asyncio.sleep(RETRY_SECONDS)

    async def step(self) -> None:
        """Take what has come. When the directory has changed, read again from the first grant that waited for that.

        What waits is not kept: anybody can write grants under directories that never come. Reading again is cheap,
        since known keys cost no signature.
        """
        if self._directory != self._node.directory.digest:
            self._directory = self._node.directory.digest
            for place, offset in self._unread.items():
                self._reader.seek(*place, offset)
            self._unread.clear()
        records = await self._reader.fetch(FETCH_SECONDS)
        for record in records:
            await self._take(record)
        async with self._advanced:
            for record in records:
                self._done[record.topic, record.partition] = record.next_offset
            self._advanced.notify_all()

    async def catch_up(self) -> None:
        """Return when everything that the topics held at the call was taken."""
        ends = await self._reader.end_offsets()
        positions = self._reader.positions()
        for place, end in ends.items():
            if positions.get(place, 0) >= end:
                self._done[place] = max(end, self._done.get(place, 0))
        async with self._advanced:
            await self._advanced.wait_for(lambda: all(self._done.get(place, 0) >= end for place, end in ends.items()))

    async def _take(self, raw: RawRecord) -> None:
        if raw.damage is not None or raw.value is None:
            return  # a tombstone, or a batch that can't be had: no key comes of it, and frames say what is missing
        place = opener.Place(self._node.realm, raw.topic, raw.partition)
        try:
            if not self._concerns(raw.value, place):
                return
            authentic = await asyncio.to_thread(
                opener.authenticate,
                raw.value,
                place,
                self._node.history,
                now=self._node.now(),
                arrived_at=raw.timestamp_us,
            )
            key = await asyncio.to_thread(
                grant.open_grant, authentic.record, self._node.endpoint, self._node.keyring.kems
            )
        except RecordError as error:
            if error.code == "directory-unknown":
                self._node.refresh_soon()
                self._unread.setdefault((raw.topic, raw.partition), raw.offset)
            else:
                self._on_refused(raw, error)
            return
        if key is not None:
            self._on_key(key)

    def _concerns(self, raw: bytes, place: opener.Place) -> bool:
        """Whether an unverified grant is worth verifying. A lie here gains nothing: no key comes of it."""
        header = envelope.split(raw, place.kinds).header
        assert isinstance(header, GrantHeader)
        own = any(line.endpoint == self._node.endpoint for line in header.recipients)
        return own and not self._known(header.audience_key_id, header.endpoint)
