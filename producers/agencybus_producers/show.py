"""What a run of a producer says to people: a table of what would be published, and a few lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agencybus.cli.output import printable
from agencybus_producers.report import Message, Report

SHOWN: Final = 50  # lines of one kind; --json has all


def render(report: Report) -> RenderableType:
    """The report for people."""
    # Text, so that a square bracket in a name is no markup; printable, so that a name can't steer the terminal.
    lines = [Text(printable(line)) for line in _lines(report)]
    return Group(_table(report.messages), *lines) if report.dry_run and report.messages else Group(*lines)


def _table(messages: list[Message]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "about", "reference", "what differs"):
        table.add_column(name, overflow="fold")
    for message in messages[:SHOWN]:
        cells = (message.change, printable(message.subject), message.reference, ", ".join(message.fields))
        table.add_row(*(Text(cell) for cell in cells))
    if len(messages) > SHOWN:
        table.add_row("", f"… and {len(messages) - SHOWN:,} more; --json shows all")
    return table


def _lines(report: Report) -> Iterator[str]:
    would = "would publish" if report.dry_run else "published"
    yield (
        f"{report.source}: {report.read:,} read; {would} {report.new:,} new, {report.updated:,} updated, "
        f"{report.cancelled:,} cancelled; {report.unchanged:,} unchanged; {len(report.refused):,} refused"
    )
    if report.left_out:
        yield "left out: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(report.left_out.items()))
    if report.waiting:
        yield f"{report.waiting:,} wait in the cursor and go first in the next run"
    yield from report.remarks
    for refusal in report.refused[:SHOWN]:
        yield f"refused: {refusal}"
        if refusal.hint:
            yield f"  {refusal.hint}"
    yield from _more("refused", report.refused)
    yield from (f"without a part: {note}" for note in report.mended[:SHOWN])
    yield from _more("without a part", report.mended)


def _more(what: str, lines: Sequence[object]) -> Iterator[str]:
    if len(lines) > SHOWN:
        yield f"{what}: … and {len(lines) - SHOWN:,} more; --json shows all"
