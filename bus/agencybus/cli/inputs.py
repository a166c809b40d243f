"""What the commands that read files of events share: their options, progress, and how they say what is wrong where."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agencybus.cli import output
from agencybus.errors import BusError, ConfigError, EventError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.table import Table

    from agencybus.publishing.bulk import Rules
    from agencybus.publishing.files import Piece

SHOWN: Final = 50  # refused events that are told one by one unless the caller says otherwise; all are counted


def _types(incomplete: str) -> list[str]:
    from agencybus_schemas.events import TYPES

    return [name for name in sorted(TYPES) if name.startswith(incomplete)]


def _there(paths: list[Path]) -> list[Path]:
    """See that files are files before anything is sent; a pipe is one as well."""
    for path in paths:
        if str(path) != "-" and (path.is_dir() or not path.exists()):
            raise typer.BadParameter(f"{path} is {'a folder' if path.is_dir() else 'not there'}")
    return paths


Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE",
        callback=_there,
        help="Events as JSON, one a line or one after the other; - is standard input.",
        show_default=False,
    ),
]
Type = Annotated[
    str,
    typer.Option(
        "--type",
        "-t",
        metavar="TYPE",
        autocompletion=_types,
        help="What the files hold: alert, cargo_hold or fugitive_sighting.",
        show_default=False,
    ),
]
TypeArgument = Annotated[
    str,
    typer.Argument(
        metavar="TYPE", autocompletion=_types, help="alert, cargo_hold or fugitive_sighting.", show_default=False
    ),
]
Config = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The endpoint's publisher.toml.")]
Shown = Annotated[
    int, typer.Option("--errors", min=0, metavar="N", help="Tell so many refused events one by one; all are counted.")
]
PUBLISHER: Final = Path("publisher.toml")


def check_type(name: str) -> str:
    """The name of an event type.

    Raises:
        ConfigError: `usage`, with the known ones.
    """
    if name not in (known := _types("")):
        raise ConfigError("usage", f"there is no event type {name!r}", hint=f"Known are {', '.join(known)}.")
    return name


def rules(type_name: str, config: Path | None) -> Rules:
    """How the files' events are read: complete, or completed from the profile of a publisher's configuration.

    Raises:
        ConfigError: `config-invalid`, or `usage` if the type is unknown.
    """
    import os
    import time

    import agencybus_schemas
    from agencybus.codec import Codec, Profile
    from agencybus.publishing.bulk import Rules

    check_type(type_name)
    originator, profile = None, Profile()
    if config is not None:
        from agencybus import config as configuration
        from agencybus.config import PublisherConfig

        loaded = configuration.load(config, PublisherConfig)
        originator, profile = loaded.endpoint, loaded.profile
    return Rules(
        codec=Codec(agencybus_schemas.load()),
        type_name=type_name,
        originator=originator,
        profile=profile,
        now=lambda: time.time_ns() // 1000,
        random=os.urandom,
    )


class Refusals:
    """Tells of refused events as they come, and counts them all.

    Args:
        console: where they are told; None to only keep them, for JSON.
        shown: tell so many.
    """

    def __init__(self, console: Console | None, shown: int) -> None:
        self.by_code: Counter[str] = Counter()
        self.plain: list[dict[str, object]] = []
        self._console = console
        self._shown = shown

    @property
    def count(self) -> int:
        """How many there were."""
        return self.by_code.total()

    @property
    def untold(self) -> int:
        """How many were counted only."""
        return max(0, self.count - self._shown)

    def add(self, piece: Piece, error: BusError) -> None:
        """Take an event that is refused."""
        self.by_code[error.code] += 1
        if self.count > self._shown:
            return
        line = error.line if isinstance(error, EventError) and error.line else piece.line
        field = error.field if isinstance(error, EventError) else ""
        rule = (error.rule if isinstance(error, EventError) else "") or error.code
        if self._console is None:
            described = {"file": piece.source, "line": line, "field": field, "rule": rule}
            self.plain.append(output.describe(error) | described)
            return
        where = f"{piece.source}:{line}" + (f": {field}" if field else "")
        told = output.printable(f"{where}: {error.what} [{rule}]")
        self._console.print(f"{told}\n    {error.code}: {output.printable(error.hint)}", markup=False, soft_wrap=True)

    def codes(self) -> str:
        """`event-invalid 3, label-invalid 1`."""
        return ", ".join(f"{code} {count:,}" for code, count in sorted(self.by_code.items()))


@contextmanager
def meter(console: Console, what: str, total: int | None) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, if the console is a terminal. What it gives is told bytes and events done so far.

    Args:
        console: standard error's.
        what: is being done.
        total: bytes, None if not known.
    """
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[events]:,} events, {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total, events=0, rate=0.0)

        def advance(done: int, events: int) -> None:
            seconds = bar.tasks[0].elapsed or 0.0
            bar.update(task, completed=done, events=events, rate=events / seconds if seconds else 0.0)

        yield advance


def pairs(rows: list[tuple[str, str, str]]) -> Table:
    """A summary: a word, a number, what it is about."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for word, number, about in rows:
        table.add_row(word, number, Text(output.printable(about)))
    return table
