"""Audience keys of a publisher: made, granted to the whole audience, used for at most a day.

An epoch ends early when the audience changes, or the encapsulation key of one of its endpoints: the digest of the
audience is another then, so it gets another key at once.
The next epoch's key is granted ten minutes ahead, so that no reader waits at midnight.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final

import structlog

from agencybus.directory.model import Directory
from agencybus.directory.policy import Audience
from agencybus.errors import EventError
from agencybus.grants import GrantFollower, grants_topic
from agencybus.kafka.writer import RecordWriter
from agencybus.node import Node
from agencybus.seal import sealer, suite
from agencybus.seal.grant import AudienceKey
from agencybus.state.writer import WriterState
from agencybus.wire import ids, limits

AHEAD_US: Final = 600 * 1_000_000  # µs before an epoch's end at which the next key is granted

_log = structlog.get_logger(__name__)


class Granter:
    """Gives the key to seal with."""

    def __init__(self, node: Node, state: WriterState, writer: RecordWriter) -> None:
        self._node = node
        self._state = state
        self._writer = writer
        self._keys: dict[bytes, AudienceKey] = {}
        self._turns: defaultdict[bytes, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._ahead: set[asyncio.Task[AudienceKey]] = set()

    async def adopt(self) -> None:
        """Take keys that other processes of this endpoint granted, instead of granting again.

        Raises:
            TransportError: the grants can't be read.
        """
        agency = self._node.endpoint.partition("/")[0]

        def keep(key: AudienceKey) -> None:
            if key.endpoint == self._node.endpoint and key.epoch_end > self._node.now():
                self._state.put_audience_key(key)

        follower = GrantFollower(
            self._node, [agency], known=self._state.knows_key, on_key=keep, on_refused=lambda _raw, _error: None
        )
        await follower.start()
        following = asyncio.create_task(follower.run())
        try:
            await follower.catch_up()
        finally:
            following.cancel()
            await follower.close()

    async def key(self, audience: Audience, at: int) -> AudienceKey:
        """The key for an audience at a moment; granted first if there is none.

        Args:
            audience: who may read.
            at: the moment of sealing, µs since the epoch.

        Raises:
            EventError: `directory-expired`: the audience was never granted to and the directory is past its date.
            TransportError: the grants were not accepted.
        """
        key = self._keys.get(audience.digest)
        if key is None or not key.epoch_start <= at < key.epoch_end:
            async with self._turns[audience.digest]:
                key = self._state.audience_key(audience.digest, at=at)
                if key is None:
                    key = await self._grant(audience, at)
            self._keys[audience.digest] = key
        if at >= key.epoch_end - AHEAD_US and not self._ahead and audience.until > key.epoch_end:
            task = asyncio.create_task(self._grant(audience, key.epoch_end))
            self._ahead.add(task)
            task.add_done_callback(self._granted_ahead)
        return key

    async def close(self) -> None:
        """Give up what is granted ahead."""
        for task in self._ahead:
            task.cancel()

    def _granted_ahead(self, task: asyncio.Task[AudienceKey]) -> None:
        self._ahead.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.warning("not-granted-ahead", error=str(error))  # it is granted when the epoch begins

    async def _grant(self, audience: Audience, start: int) -> AudienceKey:
        node = self._node
        directory = node.history.get(audience.directory)  # the one that gave the audience: it may have changed since
        if directory is None:
            raise EventError("directory-invalid", "the directory that gave the audience is not kept")
        if node.directory_health().expired and not self._granted_before(audience, directory, start):
            raise EventError("directory-expired", "this audience is new, and the directory is past its date")
        secret = suite.random_key()
        key = AudienceKey(
            key=secret,
            id=ids.audience_key_id(secret),
            endpoint=node.endpoint,
            audience=audience.digest,
            epoch_start=start,
            epoch_end=min(start + limits.EPOCH_US, audience.until),
        )
        agencies: defaultdict[str, list[tuple[str, suite.KemPublicKey]]] = defaultdict(list)
        for name in audience.endpoints:
            endpoint = directory.endpoints[name]
            kem = endpoint.kem_at(start)
            if kem is None:
                raise EventError("directory-invalid", f"{name} has no encapsulation key for the epoch")
            agencies[endpoint.agency].append((name, suite.KemPublicKey(kem.mlkem, kem.p384)))
        # The own agency last: who finds its grant (`adopt`) may take it that all others have theirs.
        own = node.endpoint.partition("/")[0]
        for agency, recipients in sorted(agencies.items(), key=lambda item: (item[0] == own, item[0])):
            record = await asyncio.to_thread(
                sealer.seal_grant,
                key,
                recipients,
                node.keyring.signer,
                realm=node.realm,
                agency=agency,
                sealed_at=node.now(),
                directory=directory.digest,
            )
            await self._writer.send(grants_topic(own), 0, record.encode())
        self._state.put_audience_key(key)
        _log.info("granted", key=key.id.hex()[:16], readers=len(audience.endpoints), until=key.epoch_end)
        return key

    def _granted_before(self, audience: Audience, directory: Directory, at: int) -> bool:
        """Whether the same endpoints had a key before, be it under earlier keys of their own: that is no widening."""
        members = [directory.endpoints[name] for name in audience.endpoints]
        changes = {moment for member in members for key in member.kems for moment in (key.not_before, key.not_after)}
        for moment in (at, *sorted((change for change in changes if change < at), reverse=True)):
            kems = [(member.name, kem.id) for member in members if (kem := member.kem_at(moment))]
            if len(kems) == len(members) and self._state.knows_audience(ids.audience_digest(kems)):
                return True
        return False
