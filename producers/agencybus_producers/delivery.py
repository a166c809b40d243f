"""From a plan to the bus: batch by batch, each remembered before it is published and moved on after it is accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol
from uuid import UUID

from msgspec.structs import replace

from agencybus.errors import BusError, EventError, LabelError, PolicyError, SchemaError
from agencybus_producers.changes import Entry, Planned
from agencybus_producers.cursor import Cursor
from agencybus_schemas.events import Event

BATCH: Final = 256  # messages between two steps of the cursor: 2 MB of memory, and what a crash may repeat

# What the publisher refuses for good, as it is. All else may pass: the message waits in the cursor for the next run.
_REFUSALS: Final = (EventError, LabelError, PolicyError, SchemaError)


class Accepted(Protocol):
    """What the bus says of an event that it took."""

    @property
    def event_id(self) -> UUID:
        """Of the event, or of the earlier one that had its reference."""


class Bus(Protocol):
    """What a producer needs of `agencybus.publisher.Publisher`."""

    async def publish_many(self, events: Iterable[Event]) -> Sequence[Accepted | BusError]:
        """Publish in order; for each event what became of it."""


@dataclass(slots=True)
class Outcome:
    """What became of a run's messages.

    Attributes:
        accepted: those that a quorum has.
        refused: those that were refused for good, each with the reason.
        failure: why the rest waits in the cursor, None if nothing does.
    """

    accepted: list[Planned] = field(default_factory=list)
    refused: list[tuple[Planned, BusError]] = field(default_factory=list)
    failure: BusError | None = None


async def deliver(
    bus: Bus, cursor: Cursor, messages: Iterable[Planned], *, done: Callable[[int], object] = lambda _: None
) -> Outcome:
    """Publish messages; stop at the first batch of which not all came to an end.

    Args:
        bus: an open publisher.
        cursor: the source's cursor.
        messages: at most one for each subject.
        done: told how many messages came to an end.

    Raises:
        StateError: the cursor can't be written.
    """
    outcome = Outcome()
    for batch in _batches(messages):
        cursor.begin(batch)
        results = await bus.publish_many([message.entry.event for message in batch])
        accepted: list[Entry] = []
        for message, result in zip(batch, results, strict=True):
            if not isinstance(result, BusError):
                accepted.append(_accepted(message.entry, result))
                outcome.accepted.append(message)
            elif isinstance(result, _REFUSALS):
                outcome.refused.append((message, result))
            else:
                outcome.failure = outcome.failure or result
        cursor.settle(accepted, [message.entry.key for message, _ in outcome.refused])
        done(len(batch))
        if outcome.failure:
            break
    return outcome


def _accepted(entry: Entry, result: Accepted) -> Entry:
    """The entry as it stands on the bus: a repetition has the event id of the first time."""
    if result.event_id == entry.event.event_id:
        return entry
    return Entry(entry.key, entry.serial, replace(entry.event, event_id=result.event_id))


def _batches(messages: Iterable[Planned]) -> Iterator[list[Planned]]:
    rest = iter(messages)
    while batch := list(islice(rest, BATCH)):
        yield batch
