"""Page files to a plan: who is wanted now, who was published, and what must be said because they differ. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from agencybus_producers.changes import Draft, Entry, Plan, plan_drafts, plan_end
from agencybus_producers.fbi import convert, listing, rules
from agencybus_producers.fbi.convert import SOURCE
from agencybus_producers.fbi.listing import Found, Listing
from agencybus_producers.notes import Note, RefusedError
from agencybus_producers.stamp import Stamp
from agencybus_schemas.events import Alert, Severity, Urgency

_ENDS: Final = {  # what a cancellation says; the API's other words are not known well enough to be repeated
    "captured": "Captured.",
    "surrendered": "Surrendered.",
    "located": "Located.",
    "recovered": "Recovered.",
    "deceased": "Deceased.",
}
_NO_LONGER: Final = "The FBI no longer lists the person as wanted."
_GONE: Final = "The person is no longer on the FBI's list."
_STOP: Final = "Do not act on earlier alerts about this person."


@dataclass(frozen=True, slots=True)
class Ended:
    """A poster that says that a person is not wanted, or not any more.

    Attributes:
        where: file and position.
        says: what a cancellation would say.
        at: when it was changed.
    """

    where: str
    says: str
    at: datetime


@dataclass(slots=True)
class Conversion:
    """What the page files hold.

    Attributes:
        drafts: alerts on wanted persons.
        ended: posters that are no alerts, by uid.
        left_out: how many those are, by reason.
        refused: records that can't become alerts.
        notes: what was left out of alerts that could.
        listing: the records behind them.
    """

    listing: Listing
    drafts: list[Draft] = field(default_factory=list)
    ended: dict[str, Ended] = field(default_factory=dict)
    left_out: Counter[rules.LeftOut] = field(default_factory=Counter)
    refused: list[Note] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def alerts(self) -> list[Alert]:
        """The alerts, each as the first one about its person."""
        return [draft.event for draft in self.drafts if isinstance(draft.event, Alert)]


def read(pages: Iterable[tuple[str, bytes]], stamp: Stamp) -> Conversion:
    """Convert page files; a record that can't be is refused, and the rest goes on.

    Args:
        pages: name and content of each file.
        stamp: time, label, programme and handling of the alerts.
    """
    records = listing.read(pages)
    conversion = Conversion(records, refused=list(records.refused))
    for uid, found in records.records.items():
        try:
            _add(conversion, uid, found, stamp)
        except RefusedError as error:
            conversion.refused.append(error.at(found.where))
    return conversion


def _add(conversion: Conversion, uid: str, found: Found, stamp: Stamp) -> None:
    reason = rules.judge(found.item)
    if reason is None:
        event, notes = convert.alert(found.item, stamp, found.where)
        conversion.drafts.append(Draft(uid, event, found.where))
        conversion.notes += notes
        return
    status = (found.item.status or "").strip().casefold()
    says = _ENDS.get(status, _NO_LONGER) if reason is rules.LeftOut.NO_LONGER else _NO_LONGER
    conversion.ended[uid] = Ended(found.where, says, convert.changed(found.item, stamp.now))
    conversion.left_out[reason] += 1


def plan(conversion: Conversion, known: Mapping[str, Entry], stamp: Stamp) -> Plan:
    """What must be published, given what was.

    Args:
        conversion: what the page files hold.
        known: what was published, by uid.
        stamp: as for `read`.
    """
    made = plan_drafts(conversion.drafts, known, source=SOURCE, at=stamp.now)
    for uid, entry in known.items():
        ended = conversion.ended.get(uid)
        if ended is None and uid not in conversion.listing.seen and conversion.listing.complete:
            ended = Ended("", _GONE, stamp.now)
        if ended and entry.stands:
            draft = Draft(uid, _cancelled(entry, ended, stamp), ended.where)
            made.messages.append(plan_end(entry, draft, source=SOURCE))
    return made


def absent(conversion: Conversion, known: Mapping[str, Entry]) -> int:
    """How many persons that were published are not in the listing."""
    return sum(entry.stands and uid not in conversion.listing.seen for uid, entry in known.items())


def _cancelled(entry: Entry, ended: Ended, stamp: Stamp) -> Alert:
    """The cancellation, under the label of what it cancels: who was told to look must be told to stop."""
    event = entry.event
    assert isinstance(event, Alert)
    kept = event.handling.retain_until - event.reported_at
    return msgspec.structs.replace(
        event,
        event_id=stamp.event_id(),
        reported_at=stamp.now,
        occurred_at=ended.at,
        handling=msgspec.structs.replace(event.handling, retain_until=stamp.now + kept),
        urgency=Urgency.PAST,
        severity=Severity.UNKNOWN,
        description=ended.says,
        instruction=_STOP,
        person=None,
    )
