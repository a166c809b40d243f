"""`agencybus event`: write a new event from a template, check a file of events. No network, no keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from agencybus.cli import inputs, output
from agencybus.cli.exits import Exit

app = typer.Typer(
    name="event", help="Write a new event from a template, or check a file of events.", no_args_is_help=True
)

Completing = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="A publisher.toml: its endpoint and [profile] say what the event leaves out.",
        show_default=False,
    ),
]


@app.command()
def new(
    type_name: inputs.TypeArgument,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Show the inside of all optional parts too, to be cut down by hand.")
    ] = False,
    config: Completing = None,
) -> None:
    """Print a valid event to start from, with an id of its own, as of now.

    Its values are examples: change what the event is about, then `agencybus event check` it. With --json it is one
    line, for a file of many.
    """
    import msgspec

    rules = inputs.rules(type_name, config)
    random10 = rules.random(10)
    values = rules.codec.template(type_name, at=rules.now(), random10=random10, full=full)
    if rules.originator is not None:
        ours: dict[str, Any] = msgspec.to_builtins(
            rules.profile.defaults(originator=rules.originator, at=rules.now(), random10=random10)
        )
        values["handling"] |= ours.pop("handling", {})
        values |= {name: value for name, value in ours.items() if name not in {"event_id", "reported_at"}}
    output.emit(values, lambda: json.dumps(values, indent=2, ensure_ascii=False))


@app.command()
def check(
    files: inputs.Files, *, type_name: inputs.Type, config: Completing = None, errors: inputs.Shown = inputs.SHOWN
) -> None:
    """Check events as the publisher would: structure, texts, times, labels. Sends nothing, asks nobody.

    For each event that is refused: file, line, field, what is wrong, [rule], then code and hint. Whether the directory
    lets the endpoint publish it, and who would read it, says `agencybus explain`.

    Exit code 0 if all are good, 3 if one is not.
    """
    from agencybus.errors import EventError
    from agencybus.publishing import bulk
    from agencybus.publishing import files as event_files

    rules = inputs.rules(type_name, config)
    told = inputs.Refusals(None if output.as_json() else output.console(), errors)
    checked = 0
    with inputs.meter(output.console(stderr=True), "checking", event_files.size(files)) as advance:
        for batch in bulk.reading(files, rules):
            for piece, event in batch.found:
                if isinstance(event, EventError):
                    told.add(piece, event)
            checked += len(batch.found)
            advance(batch.read, checked)
    value = {
        "checked": checked,
        "good": checked - told.count,
        "refused": dict(told.by_code),
        "errors": told.plain,
        "errors_not_told": told.untold,
    }
    output.emit(value, lambda: _sentence(checked, told))
    if told.count:
        raise typer.Exit(Exit.REFUSED)


def _sentence(checked: int, told: inputs.Refusals) -> str:
    if not checked:
        return "no event was found"
    if not told.count:
        return f"{checked:,} checked, all good" if checked > 1 else "checked, good"
    more = f"; {told.untold:,} of them not shown" if told.untold else ""
    return f"{checked:,} checked, {told.count:,} refused: {told.codes()}{more}"
