"""What the events of one publisher have in common, so that a producer or a file gives only what is new."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self

from msgspec import Meta, Struct
from msgspec.structs import asdict

from agencybus.codec.uuid7 import uuid7
from agencybus.errors import EventError
from agencybus.label import Precedence
from agencybus_schemas.events import Correlation, Handling, Permission, SourceGrading

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Text = Annotated[str, Meta(min_length=1, max_length=256)]


def instant(at: int) -> datetime:
    """A time of an event from microseconds since the Unix epoch, exactly."""
    return _EPOCH + timedelta(microseconds=at)


def microseconds(when: datetime) -> int:
    """The inverse of `instant()`."""
    return (when - _EPOCH) // timedelta(microseconds=1)


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """The common part of events, as an agency's lawyer and its operator fix it once: `[profile]` of a `publisher.toml`.

    What it leaves open, an event says for itself: no program chooses a label or a legal basis.

    Attributes:
        label: canonical text of the label.
        programme: the agreement.
        precedence: how fast events must travel.
        purpose: see `Handling`.
        legal_basis: see `Handling`.
        retain_days: days after which recipients delete an event, up to the end of a month.
        personal_data: whether events contain personal data.
        onward_release: see `Handling`.
        court_use: see `Handling`.
        source_grading: see `Handling`.
        information_grading: see `Handling`.
    """

    label: _Text | None = None
    programme: _Text | None = None
    precedence: Precedence | None = None
    purpose: _Text | None = None
    legal_basis: _Text | None = None
    retain_days: Annotated[int, Meta(ge=1, le=36525)] | None = None
    personal_data: bool | None = None
    onward_release: Permission | None = None
    court_use: Permission | None = None
    source_grading: SourceGrading | None = None
    information_grading: Annotated[int, Meta(ge=1, le=4)] | None = None

    def over(self, other: Self) -> Self:
        """This profile, with what the other says where this one says nothing."""
        return type(self)(**(_said(other) | _said(self)))

    def defaults(self, *, originator: str, at: int, random10: bytes) -> dict[str, Any]:
        """The common fields that need nobody to be asked, for `Codec.from_json`: an event may leave them out.

        The end of retention is that of a month: an event that is made again in the same month says the same, so that
        its reference stands for one content.

        Args:
            originator: the endpoint that publishes.
            at: now, microseconds since the Unix epoch, UTC.
            random10: 10 fresh random bytes for the event id.
        """
        said, now = _said(self), instant(at)
        handling = {name: said.pop(name) for name in Handling.__struct_fields__ if name in said}
        if (days := said.pop("retain_days", None)) is not None:
            handling["retain_until"] = _month_end(now + timedelta(days=days))
        return {"event_id": uuid7(at, random10), "reported_at": now, "originator": originator, **said} | (
            {"handling": handling} if handling else {}
        )

    def common(
        self,
        *,
        originator: str,
        at: int,
        random10: bytes,
        reference: str,
        occurred_at: datetime | None = None,
        correlation: Correlation | None = None,
    ) -> dict[str, Any]:
        """The common fields of an event made in code: `Alert(**profile.common(…), status=…)`.

        Args:
            originator: the endpoint that publishes.
            at: now, microseconds since the Unix epoch, UTC.
            random10: 10 fresh random bytes for the event id.
            reference: the originator's reference of this message.
            occurred_at: when it happened; now, if not given.
            correlation: the event that this one updates or cancels.

        Raises:
            EventError: `event-invalid`: the profile leaves something open.
        """
        for name, value in asdict(self).items():
            if value is None:
                hint = "Complete the profile: what an event made in code does not say, it must."
                raise EventError("event-invalid", "the profile does not say it", field=name, rule="profile", hint=hint)
        fields = self.defaults(originator=originator, at=at, random10=random10)
        return fields | {
            "handling": Handling(**fields["handling"]),
            "reference": reference,
            "occurred_at": occurred_at or fields["reported_at"],
            "correlation": correlation,
        }


def _said(profile: Profile) -> dict[str, Any]:
    return {name: value for name, value in asdict(profile).items() if value is not None}


def _month_end(time: datetime) -> datetime:
    """The beginning of the next month, UTC."""
    return datetime(time.year + time.month // 12, time.month % 12 + 1, 1, tzinfo=UTC)
