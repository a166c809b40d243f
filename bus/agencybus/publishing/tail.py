"""The tail of a lineage on the broker: what this writer itself wrote there, verified.

A state that was lost, or restored from a backup, is behind the topic. Numbers that were signed must never be signed
again with other content, so the writer goes on behind its own newest record there and says `recovered`.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from agencybus.errors import RecordError, StateError, TransportError
from agencybus.kafka.reader import RecordReader
from agencybus.lineage import LineageId, lineage_of
from agencybus.node import Node
from agencybus.seal import opener
from agencybus.wire import envelope
from agencybus.wire.headers import LineageHeader

STALL_SECONDS: Final = 30.0  # without a record for so long the read is given up; publishing can't start


class Own(NamedTuple):
    """A record that this writer wrote.

    Attributes:
        sequence: its number.
        digest: its digest, 48 bytes.
        sealed_at: its time, µs since the epoch.
        offset: where it lies.
    """

    sequence: int
    digest: bytes
    sealed_at: int
    offset: int


async def own_records(node: Node, lineage: LineageId, since: int | None) -> dict[int, Own]:
    """The own, verified records of a lineage from an offset on, by number; of several alike the first.

    Args:
        node: this endpoint.
        lineage: which.
        since: offset to begin at; None for the whole topic, as when the state knows nothing.

    Raises:
        TransportError: the topic can't be read.
        StateError: `state-cloned`: two different own records carry one number.
    """
    place = (lineage.channel, lineage.partition)
    reader = RecordReader(node.kafka)
    found: dict[int, Own] = {}
    try:
        await reader.start({place: "earliest" if since is None else since})
        end = (await reader.end_offsets())[place]
        while reader.positions()[place] < end:
            records = await reader.fetch(STALL_SECONDS)
            if not records:
                raise TransportError("broker-stalled", "the tail of the topic can't be read", where=lineage.channel)
            for raw in records:
                own = await asyncio.to_thread(_own, node, lineage, raw.value or b"", raw.offset)
                if own is None:
                    continue
                if found.setdefault(own.sequence, own).digest != own.digest:
                    raise StateError("state-cloned", f"two different records {own.sequence} of this writer exist")
    finally:
        await reader.close()
    return found


def _own(node: Node, lineage: LineageId, raw: bytes, offset: int) -> Own | None:
    """The record if it is of this lineage. Others cost no signature; who forges our name costs one, in vain."""
    place = opener.Place(node.realm, lineage.channel, lineage.partition)
    try:
        header = envelope.split(raw, place.kinds).header
        if not isinstance(header, LineageHeader) or lineage_of(header) != lineage:
            return None
        record = opener.authenticate(raw, place, node.history, now=node.now()).record
    except RecordError:
        return None
    return Own(header.sequence, record.digest, header.sealed_at, offset)
