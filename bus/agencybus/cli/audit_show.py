"""What a replay says to people: its events, its progress, its counts."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agencybus.cli import output, short
from agencybus.cli.inputs import pairs

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Group, RenderableType

    from agencybus.audit.replay import Replayed
    from agencybus.audit.summary import Summary

WIDE: Final = 100  # columns that a table of lineages needs to be readable
LISTED: Final = 20  # refused records and findings that are shown one by one; --json has more
_NORMAL: Final = {"joined-midway": "normal: the range begins midway"}


def printer() -> Callable[[Replayed], None]:
    """Prints events, one a line."""
    console = output.console()

    def show(found: Replayed) -> None:
        position = found.position
        place = f"{position.partition}/{position.offset}.{position.number}"
        text = short.line(found.header, found.event, place=place)
        if console.is_terminal:
            console.print(text)
        else:
            sys.stdout.write(f"{text.plain}\n")  # a file of millions of lines needs no layout

    return show


@contextmanager
def meter(total: int, *, quiet: bool) -> Iterator[Callable[[int, Summary], None]]:
    """A progress bar on standard error, if that is a terminal.

    Args:
        total: offsets in the range.
        quiet: show none.
    """
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = output.console(stderr=True)
    columns = (
        TextColumn("reading"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records, {task.fields[events]:,} events"),
        TimeElapsedColumn(),
    )
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=total, records=0, events=0)

        def advance(done: int, counts: Summary) -> None:
            bar.update(task, completed=done, records=counts.records, events=counts.events)

        yield advance


def summary(counts: Summary, export: Path | None, *, wide: int) -> Group:
    """All counts."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"{counts.topic} as {counts.endpoint}", "bold")]
    parts += [_range(counts), pairs(_rows(counts))]
    if counts.lineages:
        parts += ["", *_lineages(counts, wide)]
    parts += ["", *_directories(counts)]
    if counts.listed or counts.told:
        parts += ["", *_listed(counts)]
    if export is not None:
        done = f"exported to {export}" if counts.ended else f"not whole: {export}.partial"
        parts += ["", Text(done)]
    return Group(*parts)


def _range(counts: Summary) -> RenderableType:
    from rich.text import Text

    lines = []
    for span in counts.spans:
        said = (
            f"  partition {span.partition}: offsets {span.first} to {span.end - 1}"
            if span.count
            else (f"  partition {span.partition}: nothing, at offset {span.first}")
        )
        if span.held and span.first == span.held:
            said += f"; the topic begins at {span.held}, what was before is gone"
        if span.end < span.newest:
            said += f"; the topic goes on to {span.newest - 1}"
        lines.append(said)
    if not counts.ended:
        lines.append("  ENDED EARLY: this is what was read up to there")
    return Text("\n".join(lines))


def _rows(counts: Summary) -> list[tuple[str, str, str]]:
    rows = [("records", f"{counts.records:,}", "each in one of the next lines")]

    def add(word: str, count: int, about: str = "", *, always: bool = False) -> None:
        if count or always:
            rows.append((word, f"{count:,}", about))

    left_out = f", of which not shown: {_codes(counts.left_out)}" if counts.left_out else ""
    refused = {f"step {step} {code}": count for (step, code), count in counts.refused.items()}
    add("  read", counts.read, f"with {_number(counts.events, 'event')}{left_out}", always=True)
    add("  checkpoints", counts.checkpoints, "signed, without events")
    more = f"with {_number(counts.not_for_us_events, 'event')}, verified and not read: {_codes(counts.not_for_us)}"
    add("  not for us", counts.not_for_us.total(), more)
    add("  came again", counts.duplicates, "the same records, counted once")
    add("  no key", counts.grant_missing, "this endpoint may read them, but no grant that opens is there")
    add("  refused", counts.refused.total(), _codes(refused))
    add(
        "damaged",
        counts.damaged.total(),
        f"batches with {_number(counts.damaged_offsets, 'offset')}: {_codes(counts.damaged)}",
    )
    add("missing", counts.holes, "offsets without a record")
    add("gone", counts.gone, "offsets that were asked for, and that the broker has no more")
    findings = {f"{code} ({_NORMAL[code]})" if code in _NORMAL else code: n for code, n in counts.findings.items()}
    add("findings", counts.findings.total(), _codes(findings))
    grants = f"granted to {counts.endpoint}"
    if counts.grants_refused:
        grants += f"; {counts.grants_refused.total():,} grants refused: {_codes(counts.grants_refused)}"
    add("keys", counts.keys, grants, always=True)
    return rows


def _lineages(counts: Summary, wide: int) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    found = [counts.lineages[name] for name in sorted(counts.lineages)]
    if wide < WIDE:
        return [
            Text(
                f"{each.endpoint} {each.writer}, partition {each.partition}: records {each.first} to {each.last}, "
                f"{each.records:,} here, last {each.state} {_time(each.sealed_at)}"
            )
            for each in found
        ]
    table = Table("lineage of", "writer", "partition", "numbers", "records", "last", "sealed", "digest")
    for each in found:
        table.add_row(
            output.printable(each.endpoint),
            output.printable(each.writer),
            str(each.partition),
            f"{each.first} to {each.last}",
            f"{each.records:,}",
            each.state,
            _time(each.sealed_at),
            f"{each.digest[:16]}…",
        )
    return [table]


def _directories(counts: Summary) -> list[RenderableType]:
    from rich.text import Text

    if not counts.directories:
        return [Text("no version of the directory was used")]
    lines = ["directory versions that the records obeyed"]
    for digest, version in counts.directories.items():
        since = "in force" if version.superseded_at is None else f"until {_time(version.superseded_at)}"
        times = f"{_time(version.first_at)} to {_time(version.last_at)}"
        lines.append(f"  {digest[:16]}…  {_number(version.records, 'record')}, {times}, {since}")
    return [Text("\n".join(lines))]


def _listed(counts: Summary) -> list[RenderableType]:
    from rich.text import Text

    lines = [
        f"refused {each.partition}/{each.offset}: step {each.step} {each.code}: {each.reason}"
        + (f" ({each.endpoint})" if each.endpoint else "")
        for each in counts.listed[:LISTED]
    ]
    told = [each for each in counts.told if each.code not in _NORMAL]
    lines += [
        f"{each.code} {each.partition}/{each.offset}: {each.text} ({each.endpoint} {each.writer})"
        for each in told[:LISTED]
    ]
    untold = counts.refused.total() + counts.grant_missing - min(len(counts.listed), LISTED)
    untold += sum(n for code, n in counts.findings.items() if code not in _NORMAL) - min(len(told), LISTED)
    if untold:
        lines.append(f"and {untold:,} more")
    return [Text("\n".join(output.printable(line) for line in lines))] if lines else []


def _codes(counts: Counter[str] | dict[str, int]) -> str:
    return ", ".join(f"{code} {count:,}" for code, count in sorted(counts.items()))


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1_000_000, UTC):%Y-%m-%d %H:%M:%SZ}"
