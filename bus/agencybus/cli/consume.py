"""`agencybus consume`: print verified events. The groups `daemon` and `quarantine` hang here too: all of readers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agencybus.cli import daemon, output, quarantine, short
from agencybus.cli.exits import Exit
from agencybus.cli.stopping import stopping

if TYPE_CHECKING:
    from agencybus.config import SubscriberConfig
    from agencybus.subscriber import Subscriber
    from agencybus.subscribing.delivery import Delivery

app = typer.Typer()
app.add_typer(daemon.app, name="daemon")
app.add_typer(quarantine.app, name="quarantine")

LOOK_SECONDS: Final = 0.3  # between two looks whether all is read


@app.command()
def consume(
    *,
    config: Annotated[Path, typer.Option(metavar="FILE", help="The endpoint's subscriber.toml.")] = Path(
        "subscriber.toml"
    ),
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="Another state folder than the file names.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only events of this type. Repeatable.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    follow: Annotated[bool, typer.Option(help="Wait for more; without, end when all that is there was read.")] = True,
) -> None:
    """Print verified events as they come, and acknowledge them.

    One line an event; with --json the lines that sinks get. What was printed does not come again, except for the rest
    of a frame in which --count ended: that comes whole. Ctrl-C ends behind what was printed.
    Exit code 9 if a record went to quarantine meanwhile.
    """
    import msgspec

    from agencybus import config as configuration
    from agencybus.cli import logs
    from agencybus.config import SubscriberConfig
    from agencybus.keyring import harden_process

    (logs.log_json if output.as_json() else logs.log_for_people)("warning")
    loaded = configuration.load(config, SubscriberConfig)
    harden_process()
    changes = {"state": state, "types": tuple(types) if types else None}
    loaded = msgspec.structs.replace(loaded, **{key: value for key, value in changes.items() if value is not None})
    code, refused = daemon.run_loop(_consume(loaded, count=count, follow=follow))
    if refused:
        typer.echo(f"{refused} records went to quarantine: agencybus quarantine list --config {config}", err=True)
    if code:
        raise typer.Exit(code)


async def _consume(config: SubscriberConfig, *, count: int | None, follow: bool) -> tuple[Exit, int]:
    """Print; the exit code, and how many records went to quarantine."""
    from agencybus.subscriber import Subscriber

    shown = 0
    async with Subscriber.open(config) as bus, contextlib.AsyncExitStack() as stack:
        stopped = stack.enter_context(stopping(bus.end))
        if not follow:
            watcher = asyncio.create_task(_end_when_read(bus))
            stack.callback(watcher.cancel)
        async for delivery in bus:
            _show(delivery)
            await delivery.done()
            shown += 1
            if shown == count:
                bus.end()
                break
        await bus.settled()
        refused = sum(bus.stats.quarantined.values())
    if stopped:
        return (Exit.INTERRUPTED if stopped[0] == signal.SIGINT else Exit.DONE), refused
    return (Exit.FINDINGS if refused else Exit.DONE), refused


async def _end_when_read(bus: Subscriber) -> None:
    from agencybus.errors import TransportError

    while True:
        await asyncio.sleep(LOOK_SECONDS)
        with contextlib.suppress(TransportError):
            if bus.connected and not any((await bus.lag()).values()):
                bus.end()
                return


def _show(delivery: Delivery) -> None:
    """Print an event; it is out when this returns."""
    if output.as_json():
        from agencybus_consumers import lines

        typer.echo(lines.encode(delivery, redelivered=delivery.redelivered), nl=False)
    else:
        output.console().print(short.line(delivery.header, delivery.event, again=delivery.redelivered))
