"""`agencybus inspect`: what every check says of one record, without being able to read it."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agencybus.cli import configs, inspect_show, output
from agencybus.cli.exits import Exit
from agencybus.errors import ConfigError

if TYPE_CHECKING:
    from agencybus.audit.inspect import Inspection, Opening
    from agencybus.audit.ranges import Target
    from agencybus.config import EndpointConfig, InspectConfig

CONFIG: Final = Path("subscriber.toml")
BACK: Final = 1000  # offsets in front of a record in which the one before it in its lineage is looked for


def inspect(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RECORD", help="TOPIC@OFFSET or TOPIC/PARTITION@OFFSET; or a file that holds a record's bytes."
        ),
    ],
    *,
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", metavar="FILE", help="A subscriber.toml; its [directory] and [kafka] alone will do."
        ),
    ] = CONFIG,
    topic: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help="Of a file: where the record was found, TOPIC or TOPIC/PARTITION."),
    ] = None,
    previous: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="Of a file: the record before it. Repeatable, in order."
        ),
    ] = None,
    back: Annotated[
        int, typer.Option("--back", min=0, metavar="N", help="Look for the record before it among so many offsets.")
    ] = BACK,
    opening: Annotated[
        bool, typer.Option("--open", help="Also decrypt it, with this endpoint's keys, if it is cleared.")
    ] = False,
) -> None:
    """Look at one record: its header, who may read it, and what every check says that needs no decryption key.

    Needs no clearance, and without --open no keys. Steps 1 to 8: who says this, here and now; may they; does it follow
    the record before it; to whom it goes. A file needs no broker, only the directory, also as it was last seen here.
    What the header says is a claim until steps 1 to 5 have passed.

    Exit code 0 if no step refuses it, 7 if one does, 5 if the directory that it names is not known here (yet).
    """
    from agencybus.audit.ranges import Target
    from agencybus.cli import logs
    from agencybus.cli.daemon import run_loop
    from agencybus.keyring import harden_process

    (logs.log_json if output.as_json() else logs.log_for_people)("error")
    harden_process()
    file = Path(what)
    if file.exists():
        if topic is None:
            raise ConfigError("usage", f"where was the record in {what} found?", hint="Say --topic TOPIC/PARTITION.")
        target = Target.parse(topic)
    else:
        target = Target.parse(what)
        if target.offset is None:
            hint = f"Say which record: {target.topic}@OFFSET. A file of that name is not there."
            raise ConfigError("usage", f"{what} is a whole topic", hint=hint)
    files = [file, *(previous or ())] if file.exists() else []
    found = run_loop(_inspect(configs.of_inspection(config), target, files, back=back, opening=opening))
    where = what if files else f"{target.topic}/{target.partition or 0}@{target.offset}"
    output.emit(inspect_show.plain(found, where), lambda: inspect_show.page(found, where, wide=output.console().width))
    if (refused := found.refused) is not None:
        raise typer.Exit(Exit.AGAIN if refused.code == "directory-unknown" else Exit.RECORD)


async def _inspect(
    config: InspectConfig | EndpointConfig, target: Target, files: list[Path], *, back: int, opening: bool
) -> Inspection:
    import asyncio

    from agencybus.audit import fetching
    from agencybus.audit.inspect import inspect as look
    from agencybus.node import follow
    from agencybus.seal.opener import Place

    partition = target.partition or 0
    arrived_at = 0
    if files:
        raw, *before = [_bytes(path) for path in files]
    else:
        if config.kafka is None:
            raise ConfigError("config-invalid", "no brokers are named", where="kafka")
        assert target.offset is not None
        around = await fetching.fetch(config.kafka.settings(), target.topic, partition, target.offset, back=back)
        raw, before, arrived_at = around.raw.value or b"", list(around.before), around.raw.timestamp_us
    client = await asyncio.to_thread(follow, config.directory)
    async with AsyncExitStack() as stack:
        key = await _opening(config, target, stack) if opening else None
        place = Place(client.realm, target.topic, partition)
        now = time.time_ns() // 1000
        return await asyncio.to_thread(
            look, raw, place, client.history, now=now, arrived_at=arrived_at, before=before, opening=key
        )


async def _opening(config: InspectConfig | EndpointConfig, target: Target, stack: AsyncExitStack) -> Opening:
    """The keys of this endpoint and those that were granted to it by the topic's agency."""
    from agencybus.audit.inspect import Opening
    from agencybus.audit.keys import gather
    from agencybus.config import EndpointConfig
    from agencybus.kafka import topics
    from agencybus.node import Node
    from agencybus.state.reader import ReaderState

    if not isinstance(config, EndpointConfig):
        hint = "Name the subscriber.toml of an endpoint that is cleared."
        raise ConfigError("usage", "--open needs the keys of an endpoint", hint=hint)
    node = await Node.open(config)
    stack.push_async_callback(node.close)
    state = ReaderState.memory(
        endpoint=node.endpoint, realm=node.realm, route="inspect", storage_key=node.keyring.storage_key
    )
    stack.enter_context(closing(state))
    if isinstance(topics.place(target.topic), topics.Channel):
        await gather(node, topics.place(target.topic).agency, state)
    return Opening(node.keyring, state.keys.get, node.codec)


def _bytes(path: Path) -> bytes:
    from agencybus.wire.limits import RECORD_BYTES

    try:
        with path.open("rb") as file:
            return file.read(RECORD_BYTES + 1)  # one more is refused at step 1
    except OSError as error:
        raise ConfigError("source-unreadable", error.strerror or "can't be read", where=str(path)) from None
