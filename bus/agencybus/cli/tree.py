"""The command tree: names and one-line helps here, everything else in the module that has the command.

`agencybus --help` must not import Kafka, cryptography or a directory to print twenty lines. So the root holds
light stand-ins that know a name, a help line and a module; the module is imported when its command is parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from agencybus.cli import output
from agencybus.cli.exits import Exit, exit_code
from agencybus.errors import BusError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Groups of entry points (name = module:app) by which packages add commands, ours and an agency's own; their panel.
PLUGINS: Final = {"agencybus.producers": "Publish", "agencybus.commands": "More"}
# Their help stands in modules that `--help` does not load. So: one line here for ours, the package's name for others.
_ABOUT: Final = {
    "fbi": "Alerts on wanted persons from the FBI's list; only what changed since the last run.",
    "hold": "A cargo hold from a form: set, changed, released.",
    "sighting": "A sighting of a wanted person from a form.",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One command of the root.

    Attributes:
        name: what people type.
        module: imported when the command runs. Its `app`, a `typer.Typer`, holds a command of this name, or is it.
        panel: the heading under which `--help` lists it.
        help: one line.
        attribute: the name of the `typer.Typer` in the module.
    """

    name: str
    module: str
    panel: str
    help: str
    attribute: str = "app"


_TRY, _PUBLISH, _CONSUME, _AUDIT, _EVERYONE = "Try", "Publish", "Consume", "Audit", "Everyone"
_CLI: Final = "agencybus.cli"
COMMANDS: Final = (
    Entry("demo", f"{_CLI}.demo", _TRY, "Two countries, a real Kafka, three attacks: one story in 90 seconds."),
    Entry("dev", f"{_CLI}.dev", _TRY, "A broker and a sample federation on this machine: up, status, down."),
    Entry("event", f"{_CLI}.publish", _PUBLISH, "Write a new event from a template, or check a file of events."),
    Entry(
        "explain", f"{_CLI}.publish", _PUBLISH, "Who would read these events, who not, by which rule; sends nothing."
    ),
    Entry("publish", f"{_CLI}.publish", _PUBLISH, "Seal and send a file of events."),
    Entry("consume", f"{_CLI}.consume", _CONSUME, "Print verified events as they come."),
    Entry("daemon", f"{_CLI}.consume", _CONSUME, "Feed local tools for months: check, run, status."),
    Entry("quarantine", f"{_CLI}.consume", _CONSUME, "Records that failed a check: list, show, release, discard."),
    Entry("replay", f"{_CLI}.audit", _AUDIT, "Read a topic again from a time on, as an endpoint cleared for it."),
    Entry("inspect", f"{_CLI}.audit", _AUDIT, "Check records of a topic without being able to read the events."),
    Entry("help", f"{_CLI}.help", _EVERYONE, "What an error code means and what to do about it."),
)


def root() -> TyperGroup:
    """The whole command tree."""
    app = typer.Typer(name="agencybus", cls=_Root, rich_markup_mode="rich")
    app.callback(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})(_globals)
    group = cast("TyperGroup", get_command(app))  # with the options that install shell completion
    json_option = next(option for option in group.params if option.name == "json")
    for entry in (*_plugins(), *COMMANDS):  # ours last: no package takes the place of a command of the bus
        group.add_command(_Deferred(entry, json_option))
    ours = [entry.name for entry in COMMANDS]
    group.commands = {name: group.commands[name] for name in (*ours, *group.commands)}
    return group


def _globals(
    context: typer.Context,
    *,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            expose_value=False,
            callback=lambda value: output.choose_json(asked=True) if value else None,
            help="Print one JSON document instead of words; works after every command too.",
        ),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=lambda value: _say_version(asked=value))
    ] = False,
) -> None:
    """Share security events between agencies of two countries, with nobody in the middle trusted."""
    del json, version  # their callbacks did the work
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(Exit.USAGE)


def _say_version(*, asked: bool) -> None:
    if asked:
        typer.echo(f"agencybus {version('agencybus')}")
        raise typer.Exit


def _plugins() -> Iterator[Entry]:
    """Commands that installed packages bring by entry points."""
    installed = entry_points()
    for group, panel in PLUGINS.items():
        for point in sorted(installed.select(group=group)):
            brought_by = f"Brought by {point.dist.name if point.dist else 'a package'}."
            about = _ABOUT.get(point.name, brought_by)
            yield Entry(point.name, point.module, panel, about, point.attr or "app")


class _Root(TyperGroup):
    """The root, where documented errors end."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            typer.get_text_stream("stdout").flush()  # a closed pipe shows here, not at exit
        except BusError as error:
            output.complain(error)
            raise typer.Exit(exit_code(error)) from error
        except BaseExceptionGroup as group:  # from an asyncio.TaskGroup
            documented, other = group.split(BusError)
            if documented is None or other is not None:
                raise
            leaves = list(_leaves(documented))
            for leaf in leaves:
                output.complain(leaf)
            raise typer.Exit(max(exit_code(leaf) for leaf in leaves)) from group
        except BrokenPipeError as gone:
            output.silence_pipe()
            raise typer.Exit(Exit.PIPE_CLOSED) from gone
        return result


def _leaves(group: BaseExceptionGroup[BusError]) -> Iterator[BusError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


class _Deferred(TyperCommand):
    """Stands for a command until somebody types it."""

    def __init__(self, entry: Entry, json_option: Any) -> None:
        super().__init__(entry.name, help=entry.help, rich_help_panel=entry.panel)
        self._entry = entry
        self._json_option = json_option

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        # The context belongs to the real command: from here on typer deals with that one only.
        return self._real().make_context(info_name, args, parent, **extra)

    def _real(self) -> Any:
        group = get_group(load(self._entry))
        only = next(iter(group.commands.values())) if len(group.commands) == 1 else group
        command: Any = group.commands.get(self._entry.name, only)
        command.name = self._entry.name
        _adapt(command, self._json_option)
        return command


def load(entry: Entry) -> typer.Typer:
    """Import the module that has the command.

    Raises:
        ConfigError: `extra-missing` if it, or a package it needs, is not installed.
    """
    try:
        found = getattr(import_module(entry.module), entry.attribute)
    except ModuleNotFoundError as missing:
        raise ConfigError(
            "extra-missing", f"`agencybus {entry.name}` needs the Python package {missing.name}"
        ) from missing
    if not isinstance(found, typer.Typer):
        raise ConfigError("extra-missing", f"{entry.module}:{entry.attribute} is not a typer application")
    return found


def _adapt(command: Any, option: Any) -> None:
    """Give a command and all below it the option ``--json``, wherever people type it, and helps that fit the screen."""
    for known in (command, *command.params):
        if getattr(known, "help", None):
            known.help = _flowing(known.help)
    if all(option.name != known.name for known in command.params):
        command.params.append(option)
    for child in getattr(command, "commands", {}).values():
        _adapt(child, option)


def _flowing(text: str) -> str:
    """A docstring's paragraphs as lines that the screen breaks; its square brackets are no markup."""
    paragraphs = text.split("\n\n")
    flowed = (each if re.search(r"^\s", each, re.MULTILINE) else " ".join(each.split()) for each in paragraphs)
    return re.sub(r"(?<!\\)\[", r"\[", "\n\n".join(flowed))
