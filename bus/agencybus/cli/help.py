"""`agencybus help CODE`: the runbook of an error code."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agencybus.cli import output
from agencybus.cli.exits import exit_code
from agencybus.errors import CODES, BusError, ConfigError, Culprit, Reaction

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer()

_FAULT: Final = {
    Culprit.WRITER: "whoever wrote the record: the endpoint that signed it, or somebody who pretends to be it",
    Culprit.CALLER: "the program or person that asked",
    Culprit.OPERATOR: "this machine: its configuration, keys, disk or clock",
    Culprit.BROKER: "Kafka, or the way to it",
    Culprit.DIRECTORY: "the directory, or the rules that the authorities signed in it",
}
_EFFECT: Final = {
    Reaction.REFUSE: "the input is refused; nothing else is touched",
    Reaction.QUARANTINE: "the record is kept whole in quarantine, with the reason; the feed goes on",
    Reaction.WAIT: "it is tried again when what is missing arrives, then it goes to quarantine",
    Reaction.RETRY: "it is tried again, with back-off",
    Reaction.ALARM: "it is reported; the feed goes on",
    Reaction.HALT: "the process stops: going on could lose or leak",
}


def _starting_with(incomplete: str) -> list[str]:
    return [code for code in CODES if code.startswith(incomplete)]


@app.command("help")
def explain_code(
    code: Annotated[
        str | None,
        typer.Argument(metavar="CODE", autocompletion=_starting_with),
    ] = None,
) -> None:
    """Say what an error code means, whose fault it is, what the bus does about it and what you can do.

    Without a code: list all of them.
    """
    if code is None:
        output.emit([_plain(known) for known in CODES], _all_codes)
        return
    if code not in CODES:
        near = get_close_matches(code, CODES)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`agencybus help` lists all codes."
        raise ConfigError("usage", f"there is no error code {code}", hint=hint)
    output.emit(_plain(code), lambda: _page(code))


def _plain(code: str) -> dict[str, object]:
    known = CODES[code]
    return {
        "code": code,
        "culprit": known.culprit.value,
        "reaction": known.reaction.value,
        "hint": known.hint,
        "exit": int(exit_code(BusError(code, ""))),
    }


def _page(code: str) -> str:
    known = CODES[code]
    return "\n".join(
        (
            code,
            f"  whose fault   {_FAULT[known.culprit]}",
            f"  what happens  {_EFFECT[known.reaction]}",
            f"  what to do    {known.hint}",
            f"  exit code     {int(exit_code(BusError(code, '')))}",
        )
    )


def _all_codes() -> Table:
    from rich.table import Table

    table = Table("code", "whose fault", "reaction", "what to do")
    for code, known in CODES.items():
        table.add_row(code, known.culprit.value, known.reaction.value, known.hint)
    return table
