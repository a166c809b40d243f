"""An event in one line, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agencybus.cli import output

if TYPE_CHECKING:
    from rich.text import Text

    from agencybus.wire.headers import FrameHeader
    from agencybus_schemas.events import Event

_COLOURS: Final = {"FLASH": "bold red", "IMMEDIATE": "red", "PRIORITY": "yellow", "ROUTINE": "green"}


def line(header: FrameHeader, found: Event, *, place: str = "", again: bool = False) -> Text:
    """An event of a frame: time, urgency, type, who sealed it, label, reference, what it is about.

    Args:
        header: of its frame.
        found: the event.
        place: where it lies, if that is to be told.
        again: it may have been shown before.
    """
    from rich.text import Text

    text = Text(f"{place}  ", "dim") if place else Text()
    text.append_text(event(found, by=header.endpoint))
    if again:
        text.append("  (again)", "dim")
    return text


def event(found: Event, *, by: str = "") -> Text:
    """An event: time, urgency, type, whose, label, reference, what it is about.

    Args:
        found: the event.
        by: who sealed it; its originator if left out.
    """
    from rich.text import Text

    text = Text()
    text.append(f"{found.reported_at:%Y-%m-%d %H:%M:%SZ}  ", "dim")
    text.append(f"{found.precedence.value:<9}  ", _COLOURS.get(found.precedence.value, ""))
    text.append(f"{found.type_name}  ", "bold")
    text.append(output.printable(f"{by or found.originator}  {found.label}  "), "cyan")
    text.append(output.printable(f"{found.reference}  {_title(found)}"))
    return text


def _title(found: Event) -> str:
    """What an event is about, in a few words."""
    of: Any = found
    match found.type_name:
        case "alert":
            return str(of.headline)
        case "fugitive_sighting":
            return f"{of.subject_name}: {of.place}"
        case "cargo_hold":
            return f"{of.action} {of.hold_number}: {of.reason}"
    return ""
