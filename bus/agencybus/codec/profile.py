"""What the events of one publisher have in common, so that a producer gives only what is new."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta, Struct

from agencybus.codec.uuid7 import uuid7
from agencybus.label import Precedence
from agencybus_schemas.events import Correlation, Handling, Permission, SourceGrading

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(at: int) -> datetime:
    """A time of an event from microseconds since the Unix epoch, exactly."""
    return _EPOCH + timedelta(microseconds=at)


def microseconds(when: datetime) -> int:
    """The inverse of `instant()`."""
    return (when - _EPOCH) // timedelta(microseconds=1)


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The common part of events, as an agency's lawyer and its operator fix it once. Fits into a TOML table.

    Attributes:
        originator: the endpoint that publishes.
        programme: the agreement.
        label: canonical text of the label.
        purpose: see `Handling`.
        legal_basis: see `Handling`.
        retain_days: days after which recipients delete an event.
        personal_data: whether events contain personal data.
        precedence: how fast events must travel.
        onward_release: see `Handling`.
        court_use: see `Handling`.
        source_grading: see `Handling`.
        information_grading: see `Handling`.
    """

    originator: str
    programme: str
    label: str
    purpose: str
    legal_basis: str
    retain_days: Annotated[int, Meta(ge=1, le=36525)]
    personal_data: bool
    precedence: Precedence = Precedence.ROUTINE
    onward_release: Permission = Permission.WITH_CONSENT
    court_use: Permission = Permission.WITH_CONSENT
    source_grading: SourceGrading = SourceGrading.B
    information_grading: Annotated[int, Meta(ge=1, le=4)] = 2

    def common(
        self,
        *,
        at: int,
        random10: bytes,
        reference: str,
        occurred_at: datetime | None = None,
        correlation: Correlation | None = None,
    ) -> dict[str, Any]:
        """The common fields of an event: `Alert(**profile.common(…), status=…)`.

        Args:
            at: now, microseconds since the Unix epoch, UTC.
            random10: 10 fresh random bytes for the event id.
            reference: the originator's reference of this message.
            occurred_at: when it happened; now, if not given.
            correlation: the event that this one updates or cancels.
        """
        reported_at = instant(at)
        handling = Handling(
            purpose=self.purpose,
            legal_basis=self.legal_basis,
            retain_until=reported_at + timedelta(days=self.retain_days),
            onward_release=self.onward_release,
            court_use=self.court_use,
            source_grading=self.source_grading,
            information_grading=self.information_grading,
            personal_data=self.personal_data,
        )
        return {
            "event_id": uuid7(at, random10),
            "reported_at": reported_at,
            "occurred_at": occurred_at or reported_at,
            "reference": reference,
            "originator": self.originator,
            "label": self.label,
            "precedence": self.precedence,
            "programme": self.programme,
            "handling": handling,
            "correlation": correlation,
        }
