"""What every event of one run carries besides its content: who publishes, when, under which label, for what."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import agencybus_schemas
from agencybus.codec import Codec, Profile, uuid7
from agencybus.codec.profile import instant
from agencybus.codec.uuid7 import RANDOM_BYTES
from agencybus.errors import EventError
from agencybus_producers.notes import RefusedError
from agencybus_schemas.events import Correlation, Event


@dataclass(frozen=True, slots=True)
class Stamp:
    """The common part of a run's events: the caller's decisions, never the source's.

    Attributes:
        originator: the endpoint that publishes.
        profile: label, programme, precedence, handling; nothing is left open.
        at: now, microseconds since the Unix epoch, UTC.
        random: gives so many fresh random bytes, for event ids.
    """

    originator: str
    profile: Profile
    at: int
    random: Callable[[int], bytes] = secrets.token_bytes

    @property
    def now(self) -> datetime:
        """The time of the run."""
        return instant(self.at)

    def event_id(self) -> UUID:
        """A fresh event id."""
        return uuid7(self.at, self.random(RANDOM_BYTES))

    def common(
        self, reference: str, occurred_at: datetime | None = None, correlation: Correlation | None = None
    ) -> dict[str, Any]:
        """The common fields of an event."""
        return self.profile.common(
            originator=self.originator,
            at=self.at,
            random10=self.random(RANDOM_BYTES),
            reference=reference,
            occurred_at=occurred_at,
            correlation=correlation,
        )


@cache
def codec() -> Codec:
    """The event types of this installation; made once, 0.1 s."""
    return Codec(agencybus_schemas.load())


def checked(event: Event) -> None:
    """Check an event as the publisher will, so that a bad record is refused where its position is known.

    Raises:
        RefusedError: naming the field of the event.
    """
    try:
        codec().encode(event)
    except EventError as error:
        raise RefusedError(f"event.{error.field}".rstrip("."), f"{error.what} ({error.rule or error.code})") from None
