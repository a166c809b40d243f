"""What a run of a producer has to say, as data; `show.py` says it to people."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

from agencybus.errors import BusError, EventError
from agencybus_producers.changes import Change, Planned
from agencybus_producers.notes import Note
from agencybus_schemas.events import Alert, CargoHold, Event, FugitiveSighting


class Refusal(Struct, frozen=True):
    """A record, form or message that was refused.

    Attributes:
        where: file and position.
        field: path of the field, empty if it is refused as a whole.
        code: of the error.
        reason: what is wrong.
        hint: what to do.
    """

    where: str
    field: str
    code: str
    reason: str
    hint: str = ""

    @classmethod
    def of_note(cls, note: Note) -> Refusal:
        """From what a conversion refused."""
        return cls(note.where, note.field, "event-invalid", note.reason)

    @classmethod
    def of_error(cls, error: BusError, where: str = "") -> Refusal:
        """From an error of a form, or of the bus about a message."""
        path = error.field if isinstance(error, EventError) else ""
        return cls(where or error.where, path, error.code, error.what, error.hint)

    def __str__(self) -> str:
        field = "" if self.where.endswith(self.field) else self.field
        return f"{Note(self.where, field, self.reason)} ({self.code})"


class Message(Struct, frozen=True):
    """A message that was published, or would be.

    Attributes:
        change: new, updated or cancelled.
        subject: who or what it is about; shown by a dry run only.
        reference: the originator's reference.
        event_id: its identity.
        fields: what differs from the message before.
        event: the whole event; in a dry run only, where the caller asked to see it.
    """

    change: str
    reference: str
    event_id: str
    fields: tuple[str, ...]
    subject: str = ""
    event: Event | None = None


class Report(Struct):
    """What a run did, or would do.

    Attributes:
        source: name of the source.
        dry_run: whether nothing was published.
        read: records or forms that were read.
        new: subjects published for the first time.
        updated: subjects of which something changed.
        cancelled: subjects that ended.
        unchanged: subjects of which nothing changed.
        left_out: records that are no events of this kind, by reason.
        refused: what could not be published.
        mended: what was published with a part left out.
        remarks: sentences about the run as a whole.
        messages: all messages, in order.
        waiting: messages that are kept for the next run.
    """

    source: str
    dry_run: bool = False
    read: int = 0
    new: int = 0
    updated: int = 0
    cancelled: int = 0
    unchanged: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    mended: list[Note] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    waiting: int = 0

    def add(self, messages: list[Planned]) -> None:
        """Count messages, and list them."""
        for planned in messages:
            self.new += planned.change is Change.NEW
            self.updated += planned.change is Change.UPDATED
            self.cancelled += planned.change is Change.CANCELLED
            event = planned.entry.event
            message = Message(planned.change.value, event.reference, str(event.event_id), planned.fields)
            if self.dry_run:
                message = msgspec.structs.replace(message, subject=subject(event), event=event)
            self.messages.append(message)


def subject(event: Event) -> str:
    """Who or what an event is about, in a few words."""
    match event:
        case Alert():
            return event.headline
        case FugitiveSighting():
            return event.subject_name
        case CargoHold():
            return f"{event.hold_number} {event.action} {event.bill}"
    return event.type_name


def plain(report: Report) -> dict[str, Any]:
    """The report for programs."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    for message in found["messages"]:
        if message["event"] is None:
            del message["event"], message["subject"]
    return found
