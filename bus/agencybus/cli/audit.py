"""`agencybus replay` and `agencybus inspect`: topics read again, records looked at. Nothing live is touched."""

from __future__ import annotations

import os
import signal
import stat
import sys
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agencybus.cli import audit_show, configs, inspect, output
from agencybus.cli.exits import Exit
from agencybus.cli.inputs import check_type

if TYPE_CHECKING:
    from agencybus.audit.export import Export
    from agencybus.audit.ranges import Target
    from agencybus.audit.summary import Summary
    from agencybus.config import EndpointConfig
    from agencybus.kafka.records import Position

app = typer.Typer()
app.command("inspect")(inspect.inspect)

CONFIG: Final = Path("subscriber.toml")


@app.command()
def replay(
    topic: Annotated[
        str, typer.Argument(metavar="TOPIC", help="A channel, or one partition of it: TOPIC/0.", show_default=False)
    ],
    *,
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", help="The endpoint's subscriber.toml.")
    ] = CONFIG,
    begin: Annotated[
        str, typer.Option("--from", metavar="PLACE", help="earliest, an offset, or a time: 2026-01-31T12:00:00Z.")
    ] = "earliest",
    end: Annotated[
        str, typer.Option("--to", metavar="PLACE", help="now, an offset, or a time; it is left out itself.")
    ] = "now",
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the events there, one line of JSON each, instead of printing them."),
    ] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", "-t", metavar="TYPE", help="Only events of this type. Repeatable.")
    ] = None,
) -> None:
    """Read a range of a topic again, as an endpoint cleared for it: the same thirteen checks, every record counted.

    No live state is touched, so it runs beside a reader. Events are printed one a line, or exported: two exports of one
    range are the same, byte by byte. What this endpoint may not read is verified and counted by the rule that says no;
    what is refused, by step and code. A range that begins midway is normal, and said. With --json the counts only.

    Exit code 0 if all of it was read and verified; 9 if a record was refused, a key or a record is missing, or a
    lineage shows something that needs an explanation; 130 after Ctrl-C.
    """
    from agencybus.audit.ranges import Target, parse_bound
    from agencybus.cli import logs
    from agencybus.cli.daemon import run_loop
    from agencybus.keyring import harden_process

    (logs.log_json if output.as_json() else logs.log_for_people)("error")
    harden_process()
    target, ends = Target.parse(topic), (parse_bound(begin), parse_bound(end))
    kinds = [check_type(name) for name in types or ()]
    loaded = configs.of_endpoint(config)
    summary, by = run_loop(_replay(loaded, target, ends, kinds, export))
    output.emit(
        summary.plain() | {"export": str(export) if export and summary.ended else None},
        lambda: audit_show.summary(summary, export, wide=output.console().width),
    )
    if by is not None:
        raise typer.Exit(Exit.INTERRUPTED if by == signal.SIGINT else Exit.AGAIN)
    if not summary.clean:
        raise typer.Exit(Exit.FINDINGS)


async def _replay(
    config: EndpointConfig, target: Target, ends: tuple[Position, Position], types: list[str], export: Path | None
) -> tuple[Summary, int | None]:
    """Read the range; what was counted, and the signal that ended it early."""
    from agencybus.audit.export import Export
    from agencybus.audit.replay import Replay
    from agencybus.cli.stopping import stopping
    from agencybus.node import Node

    async with AsyncExitStack() as stack:
        writing: Export | None = None
        if export is not None:
            writing = Export(export)
            stack.callback(writing.close)
        node = await Node.open(config)
        stack.push_async_callback(node.close)
        opening = Replay.open(node, target, begin=ends[0], end=ends[1], types=types)
        replay = await stack.enter_async_context(opening)
        heard = stack.enter_context(stopping(replay.stop))
        advance = stack.enter_context(audit_show.meter(replay.total, quiet=_prints_to_a_screen(writing)))
        show = None if writing is not None or output.as_json() else audit_show.printer()
        events = await stack.enter_async_context(aclosing(replay.events(lambda done: advance(done, replay.summary))))
        async for found in events:
            if writing is not None:
                writing.write(found)
            elif show is not None:
                show(found)
        if writing is not None and replay.summary.ended:
            writing.finish()
        return replay.summary, heard[0] if heard else None


def _prints_to_a_screen(writing: Export | None) -> bool:
    """Whether lines of events may come out where a progress bar would be."""
    try:
        file = stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        file = False
    return writing is None and not output.as_json() and not file
