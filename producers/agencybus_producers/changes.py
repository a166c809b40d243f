"""What differs between what a source says now and what was published: new, changed, ended. Pure.

A subject (a wanted person, a hold) is published under one root. Its messages are numbered, and the number is part of
the reference: a person who is described as before after two changes is a third message, not a repeat of the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from agencybus_schemas.events import Correlation, CorrelationKind, Event

# They differ between two messages that say the same.
_IDENTITY: Final = frozenset({"event_id", "reported_at", "occurred_at", "reference", "originator", "correlation"})
_NESTED: Final = frozenset({"handling", "person"})  # compared field by field, so that a person sees what changed
RENEW_DAYS: Final = 30  # an unchanged alert is sent again when recipients would delete theirs within this many days


class Change(StrEnum):
    """What a planned message does."""

    NEW = "new"
    UPDATED = "updated"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered of a subject.

    Attributes:
        key: the source's name of it.
        serial: number of its newest message; the first is 1.
        event: its newest message.
    """

    key: str
    serial: int
    event: Event

    @property
    def root(self) -> UUID:
        """Event id of the first message of the story."""
        return self.event.correlation.root if self.event.correlation else self.event.event_id

    @property
    def stands(self) -> bool:
        """Whether it was not cancelled."""
        return self.event.correlation is None or self.event.correlation.kind is not CorrelationKind.CANCELS

    def correlation(self, kind: CorrelationKind) -> Correlation:
        """How the next message refers to the newest one."""
        return Correlation(kind=kind, event_id=self.event.event_id, root=self.root)


@dataclass(frozen=True, slots=True)
class Planned:
    """A message that is to be published.

    Attributes:
        change: what it does.
        entry: what is remembered once it is accepted.
        fields: what differs from the message before, in dotted paths.
        where: file and position it came from.
    """

    change: Change
    entry: Entry
    fields: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event as it is if nothing was published before.

    Attributes:
        key: the source's name of the subject.
        event: the event; its reference and correlation are set when it is planned.
        where: file and position it came from.
    """

    key: str
    event: Event
    where: str


@dataclass(slots=True)
class Plan:
    """What a run would do."""

    messages: list[Planned] = field(default_factory=list)
    unchanged: int = 0

    def count(self, change: Change) -> int:
        """How many messages do this."""
        return sum(message.change is change for message in self.messages)


def differing(old: Event, new: Event) -> tuple[str, ...]:
    """Paths of the fields in which two messages about one subject differ, in the order of the schema."""
    found: list[str] = []
    for name in new.__struct_fields__:
        if name in _IDENTITY:
            continue
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if name in _NESTED and before is not None and after is not None:
            found += [
                f"{name}.{part}"
                for part in after.__struct_fields__
                if part != "retain_until" and getattr(before, part) != getattr(after, part)
            ]
        else:
            found.append(name)
    return tuple(found)


def plan_drafts(drafts: Iterable[Draft], known: Mapping[str, Entry], *, source: str, at: datetime) -> Plan:
    """Plan what the source says: new subjects, changed ones, and those that recipients would soon delete.

    Args:
        drafts: one for each subject.
        known: what was published, by key.
        source: first part of the references.
        at: now.
    """
    plan = Plan()
    for draft in drafts:
        entry = known.get(draft.key)
        if entry is None or not entry.stands:
            plan.messages.append(Planned(Change.NEW, _message(entry, draft, None, source), (), draft.where))
        elif fields := differing(entry.event, draft.event) or _renewed(entry.event, draft.event, at):
            message = _message(entry, draft, CorrelationKind.UPDATES, source)
            plan.messages.append(Planned(Change.UPDATED, message, fields, draft.where))
        else:
            plan.unchanged += 1
    return plan


def plan_end(entry: Entry, draft: Draft, *, source: str) -> Planned:
    """Plan that a subject no longer stands.

    Args:
        entry: what stands.
        draft: what is said about it now.
        source: first part of the reference.
    """
    return Planned(Change.CANCELLED, _message(entry, draft, CorrelationKind.CANCELS, source), (), draft.where)


def _renewed(old: Event, new: Event, at: datetime) -> tuple[str, ...]:
    """Whether recipients would soon delete what still holds."""
    kept = new.handling.retain_until - new.reported_at
    ends = old.handling.retain_until - at < min(timedelta(days=RENEW_DAYS), kept / 2)
    return ("handling.retain_until",) if ends else ()


def content_digest(event: Event) -> str:
    """48 bits over all that a repetition has in common with the first message, in hexadecimal.

    It is what the publisher compares when a reference comes again, so a reference never names two contents.
    """
    fresh = {"event_id", "reported_at", "reference"}
    content = {name: getattr(event, name) for name in event.__struct_fields__ if name not in fresh}
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:12]


def _message(entry: Entry | None, draft: Draft, kind: CorrelationKind | None, source: str) -> Entry:
    """The entry of the next message, with its number, correlation and reference."""
    serial = entry.serial + 1 if entry else 1
    event = msgspec.structs.replace(draft.event, correlation=entry.correlation(kind) if entry and kind else None)
    name = f"{source}/{draft.key}/{serial}-{content_digest(event)}"
    return Entry(draft.key, serial, msgspec.structs.replace(event, reference=name))
