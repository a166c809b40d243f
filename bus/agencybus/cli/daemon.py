"""`agencybus daemon`: the process that feeds local tools for months: check, run, status."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from agencybus.cli import output
from agencybus.cli.exits import Exit, exit_code

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from rich.table import Table

    from agencybus_consumers.board import DaemonStatus
    from agencybus_consumers.checks import Finding
    from agencybus_consumers.config import DaemonConfig

app = typer.Typer(name="daemon", help="Feed local tools for months: check, run, status.", no_args_is_help=True)

ASK_SECONDS: Final = 5.0  # for a running daemon's answer
_T = TypeVar("_T")

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="The endpoint's daemon.toml.")]
CONFIG: Final = Path("daemon.toml")


def run_loop(main: Coroutine[Any, Any, _T], *, fast: bool = False) -> _T:
    """Run a coroutine to its end.

    Args:
        main: what to run.
        fast: on uvloop. For what runs for months; uvloop ends only when every socket was closed in order, and a
            command that is done should not have to wait for that.
    """
    factory = None
    if fast:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


@app.command()
def check(*, config: Config = CONFIG) -> None:
    """Look at everything that a run needs, one line each with the fix; writes and delivers nothing.

    Exit code 0 if all is well, 9 if there are warnings only, else that of the first failure.
    """
    from agencybus.cli import logs
    from agencybus.keyring import harden_process
    from agencybus_consumers.checks import Level
    from agencybus_consumers.config import load

    logs.log_for_people("error")
    loaded = load(config)
    harden_process()
    found = run_loop(_check(loaded, config))
    if output.as_json():
        output.emit([_plain(finding) for finding in found], lambda: "")
    first = next((finding.error for finding in found if finding.error is not None), None)
    if first is not None:
        raise typer.Exit(exit_code(first))
    worst = max(finding.level for finding in found)
    if worst is not Level.OK:
        raise typer.Exit(Exit.SETUP if worst is Level.FAIL else Exit.FINDINGS)


async def _check(config: DaemonConfig, path: Path) -> list[Finding]:
    from agencybus_consumers import checks

    found = []
    async for finding in checks.look(config, path):
        found.append(finding)
        if not output.as_json():
            _print(finding)
    return found


def _print(finding: Finding) -> None:
    from agencybus_consumers.checks import Level

    word, colour = {Level.OK: ("ok", "green"), Level.WARN: ("warn", "yellow"), Level.FAIL: ("FAIL", "red")}[
        finding.level
    ]
    typer.secho(f"{word:<5}", fg=colour, bold=True, nl=False)
    typer.echo(output.printable(f"{finding.name}: {finding.text}"))
    if finding.fix:
        typer.echo(output.printable(f"     {finding.fix}"))


def _plain(finding: Finding) -> dict[str, object]:
    plain: dict[str, object] = {"level": finding.level.name.lower(), "name": finding.name, "text": finding.text}
    plain |= {"fix": finding.fix, "error": output.describe(finding.error) if finding.error else None}
    return plain


@app.command()
def run(
    *,
    config: Config = CONFIG,
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = "info",
) -> None:
    """Feed the tools until SIGTERM or Ctrl-C; logs JSON to standard error, never content.

    A stop lets the tools finish what they have in hand. Exit code 0 after SIGTERM, 130 after Ctrl-C, 9 if a route had
    failed or was cut off by then; that of the first failure if no route was left to run.
    """
    from agencybus.cli import logs
    from agencybus.errors import ConfigError
    from agencybus_consumers import daemon
    from agencybus_consumers.config import load

    if log_level not in {"debug", "info", "warning", "error"}:
        raise ConfigError("usage", f"{log_level!r} is no level of a log")
    logs.log_json(log_level)
    ended = run_loop(daemon.run(load(config), config), fast=True)
    if ended.error is not None:
        raise ended.error
    if ended.left:
        raise typer.Exit(Exit.FINDINGS)
    if ended.by == signal.SIGINT:
        raise typer.Exit(Exit.INTERRUPTED)


@app.command()
def status(*, config: Config = CONFIG) -> None:
    """Say how a running daemon is: lag, what the tools owe, quarantine by code. Exit code 9 if not all is well.

    If it does not run: what its states hold.
    """
    from agencybus_consumers import status
    from agencybus_consumers.config import load

    loaded = load(config)
    found = status.ask(loaded, seconds=ASK_SECONDS)
    if found is None:
        held = status.at_rest(loaded)
        output.emit({"running": False, "quarantined": held}, lambda: _at_rest(held))
        raise typer.Exit(Exit.FINDINGS)
    output.emit(found, lambda: _table(found))
    if not found.ready:
        raise typer.Exit(Exit.FINDINGS)


def _at_rest(held: dict[str, dict[str, int] | None]) -> str:
    lines = ["no daemon runs on this state"]
    for route, codes in held.items():
        lines.append(
            f"  {route}: " + ("no state yet" if codes is None else f"in quarantine: {_codes(codes) or 'nothing'}")
        )
    return "\n".join(lines)


def _table(found: DaemonStatus) -> Table:
    from rich.table import Table

    late = ", past its date" if found.directory_expired else ""
    title = f"{found.endpoint}, process {found.pid}: {'ready' if found.ready else 'NOT READY'}"
    table = Table(title=title, caption=f"directory looked at {found.directory_age_seconds:.0f} s ago{late}")
    for column in ("route", "stage", "lag", "tool owes for", "events", "above ceiling", "quarantine", "why"):
        table.add_column(column, justify="right" if column in {"lag", "events", "above ceiling"} else "left")
    for route in found.routes:
        table.add_row(
            route.name,
            route.stage if route.connected or route.stage != "running" else "running, no broker",
            "?" if route.lag is None else str(route.lag),
            f"{route.oldest_unacknowledged_seconds:.1f} s" if route.oldest_unacknowledged_seconds else "",
            str(route.events),
            str(route.above_ceiling),
            _codes(route.quarantined),
            output.printable(f"{route.code}: {route.what}") if route.code else "",
        )
    return table


def _codes(codes: dict[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
