"""`agencybus publish` and `agencybus explain`: files of events to the bus, and who would read them."""

from __future__ import annotations

import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agencybus.cli import event, inputs, output
from agencybus.cli.exits import Exit, exit_code
from agencybus.errors import BusError, EventError, PolicyError

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from agencybus.config import PublisherConfig
    from agencybus.directory.model import Directory
    from agencybus.directory.policy import Ruling
    from agencybus.publishing.bulk import Rules, Tally
    from agencybus_schemas.events import Event

app = typer.Typer()
app.add_typer(event.app, name="event")

CONTENTS: Final = 20  # labels and programmes that `explain` tells apart
WIDE: Final = 90  # columns that a table of rulings needs to be readable


@app.command()
def publish(
    files: inputs.Files,
    *,
    type_name: inputs.Type,
    config: inputs.Config = inputs.PUBLISHER,
    errors: inputs.Shown = inputs.SHOWN,
) -> None:
    """Publish files of events: seal them for those who may read, send them, wait until a quorum of brokers has them.

    What an event leaves out, [profile] of the configuration says; its reference and its own facts are never made up.
    An event that is refused is told with file, line, field, rule and hint, and does not stop the others. The same file
    again publishes nothing twice: an event is known by its reference. Ctrl-C ends behind what is on its way.

    Exit code 0: a quorum has all events. 9: some were refused. 3 or 6: all were, by their form or by the directory's
    rules. 5: not all were acknowledged in time; the same command again goes on. 130 after Ctrl-C.
    """
    from agencybus import config as configuration
    from agencybus.cli import logs
    from agencybus.cli.daemon import run_loop
    from agencybus.config import PublisherConfig
    from agencybus.keyring import harden_process
    from agencybus.publishing.bulk import Tally

    (logs.log_json if output.as_json() else logs.log_for_people)("warning")
    harden_process()
    rules = inputs.rules(type_name, config)
    console = output.console(stderr=True)
    told = inputs.Refusals(None if output.as_json() else console, errors)
    tally = Tally()
    by, seconds = run_loop(_publish(configuration.load(config, PublisherConfig), files, rules, tally, told))
    output.emit(_plain(tally, told, seconds, by), lambda: _summary(tally, told, seconds, by))
    _finish(tally, by)


async def _publish(
    config: PublisherConfig, paths: list[Path], rules: Rules, tally: Tally, told: inputs.Refusals
) -> tuple[int | None, float]:
    """Publish all files; the signal that ended it early, or None, and the seconds that publishing took."""
    import threading

    from agencybus.cli.stopping import stopping
    from agencybus.publisher import Publisher
    from agencybus.publishing import bulk
    from agencybus.publishing import files as event_files

    console, stop = output.console(stderr=True), threading.Event()

    def end() -> None:
        stop.set()
        if not output.as_json():
            console.print("ending behind what is on its way; the signal again ends at once")

    async with Publisher.open(config) as bus:
        began = time.monotonic()
        with (
            stopping(end) as heard,
            inputs.meter(console, "publishing", event_files.size(paths)) as advance,
        ):
            await bulk.publish(
                bus,
                bulk.reading(paths, rules, stop),
                tally,
                stop=stop,
                refused=told.add,
                progress=lambda done: advance(done, tally.read),
            )
        seconds = time.monotonic() - began
    return heard[0] if heard else None, seconds


def _plain(tally: Tally, told: inputs.Refusals, seconds: float, by: int | None) -> dict[str, object]:
    return {
        "read": tally.read,
        "accepted": tally.accepted,
        "repeated": tally.repeated,
        "refused": dict(tally.refused),
        "not_accepted": tally.open,
        "seconds": round(seconds, 3),
        "interrupted": by is not None,
        "up_to": {"file": tally.last.source, "line": tally.last.line} if tally.last else None,
        "places": [
            {"channel": channel, "partition": partition, "events": run.events, "first": run.first, "last": run.last}
            for (channel, partition), run in sorted(tally.places.items())
        ],
        "errors": told.plain,
        "errors_not_told": told.untold,
        "failure": output.describe(tally.failure) if tally.failure else None,
    }


def _summary(tally: Tally, told: inputs.Refusals, seconds: float, by: int | None) -> Group:
    from rich.console import Group

    places = ", ".join(
        f"{channel}/{partition} offset {run.first}" + (f" to {run.last}" if run.last != run.first else "")
        for (channel, partition), run in sorted(tally.places.items())
    )
    rows = [("accepted", f"{tally.accepted:,}", places)]
    if tally.repeated:
        rows.append(("repeated", f"{tally.repeated:,}", "published before under their references: not sent again"))
    if told.count:
        more = f"; {told.untold:,} of them not shown" if told.untold else ""
        rows.append(("refused", f"{told.count:,}", told.codes() + more))
    if tally.open:
        rows.append(("not accepted", f"{tally.open:,}", "not acknowledged: they may still arrive, and never twice"))
    rate = f", {tally.accepted / seconds:,.0f}/s" if tally.accepted > 1 else ""
    rows.append(("read", f"{tally.read:,}", f"in {seconds:.1f} s{rate}"))
    if by is not None or tally.failure is not None:
        last = f"behind {tally.last.source}:{tally.last.line}" if tally.last else "before the first event"
        rows.append(("ended", "", f"{last}; the same command again goes on, nothing is published twice"))
    return Group(inputs.pairs(rows))


def _finish(tally: Tally, by: int | None) -> None:
    """End with the exit code that the run means.

    Raises:
        BusError: why it ended early.
        typer.Exit: if not all of it was done.
    """
    if by is not None:
        raise typer.Exit(Exit.INTERRUPTED if by == signal.SIGINT else Exit.AGAIN)
    if tally.failure is not None:
        raise tally.failure
    if tally.refused:
        done = tally.accepted or tally.repeated
        # All for one reason: the code of that reason tells more, such as 6 for a right that is missing.
        raise typer.Exit(Exit.FINDINGS if done else min(exit_code(BusError(code, "")) for code in tally.refused))


@app.command()
def explain(
    files: inputs.Files,
    *,
    type_name: inputs.Type,
    config: inputs.Config = inputs.PUBLISHER,
    readers: Annotated[bool, typer.Option("--readers", help="Show only those who may read.")] = False,
) -> None:
    """Say who would read these events, who not, and which rule says so, by the newest directory. Sends nothing.

    One table for each label and programme in the files. Needs no keys and no brokers.

    Exit code 0 if somebody would read all of it; 6 if the rules refuse a part, or nobody but the publisher may read it;
    3 if an event is invalid.
    """
    from agencybus import config as configuration
    from agencybus.cli import logs
    from agencybus.config import PublisherConfig
    from agencybus.node import follow
    from agencybus.publishing import bulk

    logs.log_for_people("error")
    rules = inputs.rules(type_name, config)
    told = inputs.Refusals(None if output.as_json() else output.console(stderr=True), inputs.SHOWN)
    contents: dict[tuple[str, str], _Content] = {}
    more = 0
    for batch in bulk.reading(files, rules):
        for piece, found in batch.found:
            if isinstance(found, EventError):
                told.add(piece, found)
                continue
            key = (found.label, found.programme)
            if key in contents or len(contents) < CONTENTS:
                contents.setdefault(key, _Content(found)).lanes[found.precedence.lane] += 1
            else:
                more += 1
    loaded = configuration.load(config, PublisherConfig)
    client = follow(loaded.directory)
    answers = [_Answer(client.current, loaded.endpoint, content, rules.now()) for content in contents.values()]
    health = client.health()
    value = {
        "publisher": loaded.endpoint,
        "type": type_name,
        "directory": client.current.digest.hex(),
        "directory_expired": health.expired,
        "contents": [answer.plain(readers=readers) for answer in answers],
        "events_not_explained": more,
        "refused": dict(told.by_code),
        "errors": told.plain,
    }
    output.emit(value, lambda: _explained(answers, more, readers=readers, expired=health.expired))
    if not all(answer.readers for answer in answers):
        raise typer.Exit(Exit.DIRECTORY)
    if told.count:
        raise typer.Exit(Exit.REFUSED)


@dataclass
class _Content:
    """Events of one label and programme: one of them, and how many there are by lane."""

    event: Event
    lanes: Counter[str] = field(default_factory=Counter)


class _Answer:
    """Who may read events of one label and programme."""

    def __init__(self, directory: Directory, publisher: str, content: _Content, at: int) -> None:
        from agencybus.directory import policy
        from agencybus.label import Label

        event = self.event = content.event
        self.count = content.lanes.total()
        agency = publisher.partition("/")[0]
        self.channels = [f"{agency}.{event.programme}.{lane}" for lane in sorted(content.lanes)]
        label = Label.parse(event.label)
        asked = (directory, publisher, event.type_name, label, event.programme, at)
        self.rulings: list[Ruling] = policy.explain(*asked)
        self.refusal: PolicyError | None = None
        try:
            policy.audience(*asked)
        except PolicyError as error:
            self.refusal = error
        self.readers = [ruling.endpoint for ruling in self.rulings if ruling.allowed and ruling.endpoint != publisher]

    def plain(self, *, readers: bool) -> dict[str, Any]:
        return {
            "label": self.event.label,
            "programme": self.event.programme,
            "channels": self.channels,
            "events": self.count,
            "readers": self.readers,
            "refused": output.describe(self.refusal) if self.refusal else None,
            "rulings": [
                {"endpoint": each.endpoint, "allowed": each.allowed, "rule": each.rule, "text": each.text}
                for each in self.rulings
                if each.allowed or not readers
            ],
        }

    def render(self, *, readers: bool, wide: bool) -> RenderableType:
        """For people: a table, or on a narrow screen one paragraph for each endpoint."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        event, count = self.event, f"{self.count:,} event" + ("s" if self.count != 1 else "")
        title = f"{event.type_name}  {event.label}  {event.programme}  ({count})"
        if self.refusal is not None:
            verdict = Text(f"refused: {self.refusal.what} ({self.refusal.code})", "red")
        else:
            verdict = Text(f"{len(self.readers)} would read it, in {' and '.join(self.channels)}")
        rulings = sorted(self.rulings, key=lambda ruling: not ruling.allowed)
        rows = [
            (each.endpoint, Text("yes", "green") if each.allowed else Text("no", "red"), each.rule, each.text)
            for each in rulings
            if each.allowed or not readers
        ]
        if not wide:
            lines = [Text.assemble(f"{name} ", yes, f" {rule}: {text}") for name, yes, rule, text in rows]
            return Group(Text(title, "bold"), *lines, verdict)
        table = Table("endpoint", "reads", "rule", "because")
        for name, yes, rule, text in rows:
            table.add_row(name, yes, rule, Text(text))
        return Group(Text(title, "bold"), table, verdict)


def _explained(answers: list[_Answer], more: int, *, readers: bool, expired: bool) -> Group:
    from rich.console import Group

    parts: list[RenderableType] = []
    for answer in answers:
        parts += [answer.render(readers=readers, wide=output.console().width >= WIDE), ""]
    if not answers:
        parts.append("no valid event was found")
    if more:
        parts.append(f"{more:,} events of other labels or programmes are not shown")
    if expired:
        parts.append("The directory is past its date: this is how it was last seen.")
    return Group(*parts)
