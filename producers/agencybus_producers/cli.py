"""`agencybus fbi`, `sighting`, `hold`: from what an agency has to published events. docs/producers.md."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Self

import structlog
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agencybus import config as configuration
from agencybus.cli import output
from agencybus.cli.exits import Exit, exit_code
from agencybus.codec import Profile
from agencybus.config import PublisherConfig
from agencybus.errors import BusError, ConfigError
from agencybus.label import Precedence
from agencybus_producers import runs
from agencybus_producers.changes import Entry, Plan
from agencybus_producers.delivery import Bus
from agencybus_producers.fbi import source
from agencybus_producers.forms import form
from agencybus_producers.forms import hold as hold_form
from agencybus_producers.forms import sighting as sighting_form
from agencybus_producers.report import Refusal, Report, plain
from agencybus_producers.show import render
from agencybus_schemas.events import Permission, SourceGrading

app = typer.Typer()

FBI: Final = runs.Source(
    "fbi-wanted",
    Profile(
        programme="fugitives",
        precedence=Precedence.PRIORITY,
        purpose="Finding wanted persons",
        onward_release=Permission.PERMITTED,  # the posters are public
        source_grading=SourceGrading.A,  # the authority that wants them
    ),
)
SIGHTING: Final = runs.Source(
    "sighting-form",
    Profile(programme="fugitives", precedence=Precedence.IMMEDIATE, purpose="Finding wanted persons"),
)
HOLD: Final = runs.Source(
    "hold-form",
    Profile(programme="cargo-targeting", precedence=Precedence.PRIORITY, purpose="Customs control of cargo"),
)

Config = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="The publisher's configuration.", show_default=True)
]
State = Annotated[
    Path | None,
    typer.Option("--state", metavar="FOLDER", help="Where the cursor is; beside the publisher's state if left out."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be published; no network, nothing stored.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask, however much it is.")]
Most = Annotated[
    int, typer.Option("--max-first", min=0, metavar="N", help="Ask before more than N messages, as in a first run.")
]
LabelText = Annotated[str | None, typer.Option("--label", help="Instead of the configuration's profile.label.")]
Programme = Annotated[str | None, typer.Option("--programme", help="Instead of profile.programme.")]
Urgency = Annotated[Precedence | None, typer.Option("--precedence", help="Instead of profile.precedence.")]
Basis = Annotated[str | None, typer.Option("--legal-basis", help="Instead of profile.legal-basis.")]
Sample = Annotated[bool, typer.Option("--sample", help="Print a form to start from, and end.")]
Forms = Annotated[
    list[Path] | None, typer.Argument(metavar="FORM.json...", exists=True, dir_okay=False, show_default=False)
]


@app.command()
def fbi(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|FOLDER...", exists=True, help="Answers of the Wanted API, page by page."),
    ],
    *,
    config: Config = Path("publisher.toml"),
    state: State = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    max_first: Most = runs.ASK_ABOVE,
    label: LabelText = None,
    programme: Programme = None,
    precedence: Urgency = None,
    legal_basis: Basis = None,
) -> None:
    """Publish alerts on persons whom the FBI wants: new ones, changed ones, and who is wanted no longer.

    Only wanted persons, never victims or missing persons. Only what changed since the last run. Who is not in the
    listing is cancelled only if the listing is complete.
    """
    given = _given(label, programme, precedence, legal_basis)
    options = runs.Options(_load(config), state, given, dry_run=dry_run, yes=yes, ask_above=max_first)
    common = runs.stamp(FBI, options)
    with _Meters() as meters:
        conversion = source.read(_pages(paths, meters), common)

    def planner(known: Mapping[str, Entry]) -> tuple[Plan, Report]:
        plan = source.plan(conversion, known, common)
        places = {message.where for message in plan.messages}
        report = Report(
            FBI.name,
            read=len(conversion.listing.seen),
            unchanged=plan.unchanged,
            left_out={reason.value: count for reason, count in conversion.left_out.items()},
            refused=[Refusal.of_note(note) for note in conversion.refused],
            mended=[note for note in conversion.notes if note.where in places],  # what stands was told before
        )
        if gone := source.absent(conversion, known) if not conversion.listing.complete else 0:
            gaps = "; ".join(conversion.listing.gaps)
            report.remarks.append(f"The listing is not complete ({gaps}): {gone:,} who are not in it still stand.")
        return plan, report

    with _Meters() as meters:
        found = runs.perform(FBI, options, planner, confirm=_confirm, meter=meters.meter, open_bus=open_bus)
    _finish(*found)


@app.command()
def sighting(
    forms: Forms = None,
    *,
    config: Config = Path("publisher.toml"),
    state: State = None,
    dry_run: DryRun = False,
    sample: Sample = False,
    label: LabelText = None,
    programme: Programme = None,
    precedence: Urgency = None,
    legal_basis: Basis = None,
) -> None:
    """Publish sightings of wanted persons from forms: JSON, one object a file.

    A form that was published before is not published again. `updates` or `cancels` in a form name an earlier one.
    """
    if sample:
        _print_sample("sighting.json")
        return
    given = _given(label, programme, precedence, legal_basis)
    _publish_forms(SIGHTING, forms, sighting_form.plan_one, runs.Options(_load(config), state, given, dry_run=dry_run))


@app.command()
def hold(
    forms: Forms = None,
    *,
    config: Config = Path("publisher.toml"),
    state: State = None,
    dry_run: DryRun = False,
    sample: Sample = False,
    label: LabelText = None,
    programme: Programme = None,
    precedence: Urgency = None,
    legal_basis: Basis = None,
) -> None:
    """Publish holds on cargo from forms: set, changed, released. JSON, one object a file.

    A form that changes or releases a hold names its number; which event set it is remembered.
    """
    if sample:
        _print_sample("hold-set.json")
        return
    given = _given(label, programme, precedence, legal_basis)
    _publish_forms(HOLD, forms, hold_form.plan_one, runs.Options(_load(config), state, given, dry_run=dry_run))


# --- what the commands share


def _load(path: Path) -> PublisherConfig:
    return configuration.load(path, PublisherConfig)


def _given(label: str | None, programme: str | None, precedence: Precedence | None, legal_basis: str | None) -> Profile:
    """What the caller says instead of the configuration."""
    return Profile(label=label, programme=programme, precedence=precedence, legal_basis=legal_basis)


@asynccontextmanager
async def open_bus(config: PublisherConfig) -> AsyncIterator[Bus]:
    """The publisher. It brings Kafka and cryptography, so it is imported when something is published."""
    from agencybus.publisher import Publisher  # noqa: PLC0415 - a dry run needs none of it

    with _quiet_logs():
        async with Publisher.open(config) as bus:
            yield bus


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Warnings to standard error, if nobody configured logs: by default they go where the report goes."""
    if structlog.is_configured():
        yield
        return
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.reset_defaults()


def _publish_forms(desk: runs.Source, forms: list[Path] | None, plan_one: form.Plans, options: runs.Options) -> None:
    if not forms:
        raise ConfigError("usage", "no form was named", hint="Name files, or print one to start from with --sample.")
    common = runs.stamp(desk, options)
    pages = [(str(path), _read(path)) for path in forms]

    def planner(known: Mapping[str, Entry]) -> tuple[Plan, Report]:
        plan, errors = form.plan(pages, known, common, plan_one)
        refused = [Refusal.of_error(error) for error in errors]
        return plan, Report(desk.name, read=len(pages), unchanged=plan.unchanged, refused=refused)

    with _Meters() as meters:
        found = runs.perform(desk, options, planner, confirm=_confirm, meter=meters.meter, open_bus=open_bus)
    _finish(*found)


def _pages(paths: Iterable[Path], meters: _Meters) -> Iterator[tuple[str, bytes]]:
    """Name and content of every page file; of a folder, all that end with .json."""
    files: list[Path] = []
    for path in paths:
        files += sorted(path.rglob("*.json")) if path.is_dir() else [path]
    advance = meters.meter("reading", len(files))
    for file in files:
        yield str(file), _read(file)
        advance(1)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError("source-unreadable", error.strerror or "can't be read", where=str(path)) from None


def _print_sample(name: str) -> None:
    typer.echo(
        resources.files("agencybus_producers.forms").joinpath("samples", name).read_text(encoding="utf-8"), nl=False
    )


def _confirm(question: str) -> bool:
    """Ask a person; where there is none, the answer is no."""
    if not sys.stdin.isatty() or output.as_json():
        return False
    return typer.confirm(f"{question} Publish?", err=True)


def _finish(report: Report, failure: BusError | None) -> None:
    """Print the report and end with the exit code that it means.

    Raises:
        BusError: what kept messages from being published, after the report.
        typer.Exit: 9 if something was refused or left standing; if nothing else happened, the code of the refusal.
    """
    output.emit(plain(report), lambda: render(report))
    if failure is not None:
        raise failure
    if report.refused:
        codes = {refusal.code for refusal in report.refused}
        done = report.messages or report.unchanged or report.left_out
        # All for one reason: the code of that reason tells more, such as 6 for a right that is missing.
        raise typer.Exit(Exit.FINDINGS if done else min(exit_code(BusError(code, "")) for code in codes))
    if report.remarks and not report.dry_run:
        raise typer.Exit(Exit.FINDINGS)


class _Meters:
    """Progress bars on standard error, if that is a terminal."""

    def __init__(self) -> None:
        console = output.console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def meter(self, what: str, total: int) -> Callable[[int], object]:
        """Begin a bar; the result is told how many more are done."""
        if not total:
            return lambda _: None
        self._progress.start()  # not before: a question or a passphrase may be asked for first
        task = self._progress.add_task(what, total=total)
        return lambda more: self._progress.advance(task, more)
