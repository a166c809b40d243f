"""One run of a producer: plan, ask if it is much, publish, report. The only room of the producers that has a clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from agencybus.codec import Profile
from agencybus.config import PublisherConfig
from agencybus.errors import BusError, ConfigError
from agencybus.label import Label
from agencybus_producers.changes import Change, Entry, Plan
from agencybus_producers.cursor import Cursor
from agencybus_producers.delivery import Bus, Outcome, deliver
from agencybus_producers.report import Refusal, Report
from agencybus_producers.stamp import Stamp
from agencybus_schemas.events import Permission, SourceGrading

ASK_ABOVE: Final = 500  # messages that a run publishes unasked; more is a first run, or something went wrong
CANCELS_UNASKED: Final = 10  # cancellations that need no question ...
CANCELS_PART: Final = 10  # ... nor do those of less than one in so many that stand

NOTHING_GIVEN: Final = Profile()

Planner = Callable[[Mapping[str, Entry]], tuple[Plan, Report]]
OpenBus = Callable[[PublisherConfig], AbstractAsyncContextManager[Bus]]
Meter = Callable[[str, int], Callable[[int], object]]  # what is done and how many; then told how many more are done


# What a source's events say of themselves unless it, or the configuration, says otherwise.
USUAL: Final = Profile(
    retain_days=365,
    personal_data=True,
    onward_release=Permission.WITH_CONSENT,
    court_use=Permission.WITH_CONSENT,
    source_grading=SourceGrading.B,
    information_grading=2,
)


@dataclass(frozen=True, slots=True)
class Source:
    """What is fixed about a producer.

    Attributes:
        name: of the source; its cursor's.
        profile: what its events say unless the caller or the configuration says otherwise; no label, no legal basis.
    """

    name: str
    profile: Profile


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller says.

    Attributes:
        config: the publisher's configuration.
        state: folder of the cursor; beside the publisher's state if left out.
        given: profile values that go before those of the configuration.
        dry_run: publish nothing, write nothing, ask no network.
        yes: don't ask.
        ask_above: ask before more messages than this.
    """

    config: PublisherConfig
    state: Path | None = None
    given: Profile = NOTHING_GIVEN
    dry_run: bool = False
    yes: bool = False
    ask_above: int = ASK_ABOVE

    def folder(self, source: Source) -> Path:
        """The folder of the cursor."""
        return self.state or self.config.state.with_name(f"{self.config.state.name}-sources") / source.name


def stamp(source: Source, options: Options) -> Stamp:
    """What all events of the run carry, as of now.

    Raises:
        ConfigError: `config-invalid`, if nobody says under which label or on which legal basis.
        LabelError: `label-invalid`.
    """
    told = options.given.over(options.config.profile)
    for name, value in (("label", told.label), ("legal-basis", told.legal_basis)):
        if value is None:
            hint = f"Write it under [profile] in the configuration, or give --{name}: no program can choose it."
            raise ConfigError("config-invalid", f"no {name} for the events", where=f"profile.{name}", hint=hint)
    assert told.label is not None
    profile = replace(told, label=str(Label.parse(told.label))).over(source.profile).over(USUAL)
    return Stamp(options.config.endpoint, profile, time.time_ns() // 1000)


def perform(
    source: Source,
    options: Options,
    planner: Planner,
    *,
    confirm: Callable[[str], bool],
    meter: Meter,
    open_bus: OpenBus,
) -> tuple[Report, BusError | None]:
    """Do one run.

    Args:
        source: the producer.
        options: what the caller says.
        planner: plans what must be published, given what was, and reports on the input.
        confirm: asks a question; used unless the caller said yes.
        meter: shows progress.
        open_bus: opens a publisher; not called if there is nothing to publish.

    Returns:
        What was done, and why the rest waits in the cursor, None if nothing does.

    Raises:
        BusError: nothing was published: the cursor, the configuration or the publisher can't be used, or the caller
            did not confirm.
    """
    folder, endpoint = options.folder(source), options.config.endpoint
    opening = Cursor.look if options.dry_run else Cursor.open
    with opening(folder, endpoint=endpoint, source=source.name) as cursor:
        waiting = cursor.waiting()
        known = cursor.entries() | {message.entry.key: message.entry for message in waiting}
        plan, report = planner(known)
        question = _much(plan, known, options.ask_above)
        if options.dry_run:
            report.dry_run = True
            report.waiting = len(waiting)
            report.remarks += [f"It would ask first: {question}"] if question else []
            report.add(plan.messages)
            return report, None
        if question and not options.yes and not confirm(question):
            raise ConfigError("not-confirmed", question)
        if not waiting and not plan.messages:
            return report, None
        return asyncio.run(_publish(options.config, cursor, planner, meter, open_bus))


def _much(plan: Plan, known: Mapping[str, Entry], ask_above: int) -> str:
    """What should be looked at before it is published, empty if nothing."""
    if len(plan.messages) > ask_above:
        return f"{len(plan.messages):,} messages would be published, more than {ask_above:,}."
    standing = sum(entry.stands for entry in known.values())
    cancels = plan.count(Change.CANCELLED)
    if cancels > CANCELS_UNASKED and cancels * CANCELS_PART > standing:
        return f"{cancels:,} of {standing:,} would be cancelled."
    return ""


async def _publish(
    config: PublisherConfig, cursor: Cursor, planner: Planner, meter: Meter, open_bus: OpenBus
) -> tuple[Report, BusError | None]:
    """Publish what waits from the last run, then what is new since."""
    async with open_bus(config) as bus:
        waiting = cursor.waiting()
        before = await deliver(bus, cursor, waiting, done=meter("publishing what waited", len(waiting)))
        plan, report = planner(cursor.entries())
        now = Outcome()
        if before.failure is None:
            now = await deliver(bus, cursor, plan.messages, done=meter("publishing", len(plan.messages)))
    for outcome in (before, now):
        report.add(outcome.accepted)
        report.refused += [Refusal.of_error(error, message.where) for message, error in outcome.refused]
    report.waiting = len(cursor.waiting())
    return report, before.failure or now.failure
