"""How commands speak: one JSON document with ``--json``, words for people otherwise, errors in one form.

Results go to standard output, errors and progress to standard error, so that a pipe gets results only.
"""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import typer

from agencybus.cli.exits import exit_code
from agencybus.errors import EventError, RecordError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

    from agencybus.errors import BusError

_json: Final[ContextVar[bool]] = ContextVar("agencybus-json", default=False)


def as_json() -> bool:
    """Whether the caller asked for ``--json``."""
    return _json.get()


def choose_json(*, asked: bool) -> None:
    """Remember whether ``--json`` was asked for, for the rest of this command."""
    _json.set(asked)


def console(*, stderr: bool = False) -> Console:
    """A rich console, which leaves colours out and breaks no lines when its output is not a terminal."""
    from rich.console import Console

    class PipeAwareConsole(Console):
        """Lets a closed pipe reach the root command, which knows the exit code for it."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PipeAwareConsole(stderr=stderr, highlight=False, soft_wrap=True)


def emit(value: object, render: Callable[[], RenderableType]) -> None:
    """Print a result: `value` as one line of JSON with ``--json``, what `render` returns otherwise.

    Args:
        value: anything msgspec can encode: a dict, a list, a Struct, a dataclass. Give digests as hex text.
        render: makes the rich renderable or plain text for people; called only when it is needed.
    """
    if as_json():
        typer.echo(_encode(value))
        return
    rendered = render()
    if isinstance(rendered, str):
        typer.echo(rendered)  # as it is: a square bracket in it is no markup
    else:
        console().print(rendered)


def printable(text: str) -> str:
    r"""Text that can't move the cursor or recolour a terminal: names in records are an enemy's to choose."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def describe(error: BusError) -> dict[str, object]:
    """A documented error as plain values: what ``--json`` prints under `error`."""
    plain: dict[str, object] = {
        "code": error.code,
        "what": error.what,
        "where": error.where,
        "hint": error.hint,
        "culprit": error.culprit.value,
        "reaction": error.reaction.value,
        "exit": int(exit_code(error)),
    }
    if isinstance(error, RecordError):
        plain["step"] = int(error.step)
    if isinstance(error, EventError):
        plain["field"] = error.field
    return plain


def complain(error: BusError) -> None:
    """Print a documented error on standard error: what (where), its code, what to do."""
    if as_json():
        typer.echo(_encode({"error": describe(error)}), err=True)
        return
    step = f"step {int(error.step)}: " if isinstance(error, RecordError) else ""
    at = f" ({error.where})" if error.where else ""
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(printable(f"{step}{error.what}{at}"), err=True)
    typer.echo(printable(f"  {error.code}: {error.hint}"), err=True)


def silence_pipe() -> None:
    """Let the interpreter's last flush go nowhere: the reader of our output has gone (Python docs, signal)."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _encode(value: object) -> str:
    """One line of JSON."""
    import msgspec

    return msgspec.json.encode(value).decode()
