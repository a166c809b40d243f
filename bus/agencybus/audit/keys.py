"""The audience keys that an agency granted to an endpoint, all that there are by now."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Final

from agencybus.errors import RecordError, TransportError
from agencybus.grants import GrantFollower, grants_topic
from agencybus.kafka.records import RawRecord
from agencybus.node import Node
from agencybus.seal.grant import AudienceKey
from agencybus.state.reader import ReaderState

SECONDS: Final = 120.0  # to read all grants of an agency


async def gather(node: Node, agency: str, state: ReaderState) -> tuple[int, Counter[str]]:
    """Put every key that was granted by now into a state.

    Args:
        node: the endpoint.
        agency: whose endpoints granted.
        state: takes the keys; one that ends with the process.

    Returns:
        How many keys, and the grants that a step refused, by code.

    Raises:
        TransportError: the grants can't be read.
    """
    refused: Counter[str] = Counter()
    keys: set[tuple[bytes, str]] = set()

    def keep(key: AudienceKey) -> None:
        with state.transaction(sync=False) as step:
            step.audience_key(key)
        keys.add((key.id, key.endpoint))

    def refuse(_: RawRecord, error: RecordError) -> None:
        refused[error.code] += 1

    follower = GrantFollower(
        node,
        [agency],
        known=lambda key_id, endpoint: (key_id, endpoint) in keys,
        on_key=keep,
        on_refused=refuse,
    )
    try:
        await follower.start()
        reading = asyncio.create_task(follower.run())
        try:
            async with asyncio.timeout(SECONDS):
                await follower.catch_up()
        except TimeoutError:
            what = f"the grants could not be read within {SECONDS:g} s"
            raise TransportError("broker-stalled", what, where=grants_topic(agency)) from None
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
    finally:
        await follower.close()
    return len(keys), refused
