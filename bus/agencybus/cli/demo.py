"""`agencybus demo`: the whole story, from nothing, in 90 seconds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from agencybus.cli import output
from agencybus.cli.exits import Exit

app = typer.Typer(name="demo")


@app.command()
def demo(
    *,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Do it in this empty folder, and leave the files there.")
    ] = None,
    flip: Annotated[
        int | None, typer.Option(metavar="N", help="The byte to flip in the first attack; asked for otherwise.")
    ] = None,
    jars: Annotated[
        Path | None, typer.Option(metavar="DIR", envvar="AGENCYBUS_JARS", help="Kafka's jars; fetched once otherwise.")
    ] = None,
    java: Annotated[Path | None, typer.Option(metavar="PATH", envvar="AGENCYBUS_JAVA", help="The Java to run.")] = None,
) -> None:
    """Two countries, a real Kafka, three attacks, two kills: one story from real processes, and what is not protected.

    It cleans up after itself, also after Ctrl-C.
    """
    from agencybus.demo.stage import Stage
    from agencybus.demo.story import Story

    home = keep or Path(tempfile.mkdtemp(prefix="agencybus-demo-"))
    stage = Stage(home, jars=jars, java=java)
    try:
        kept = Story(stage, output.console(), flip=flip).tell()
    finally:
        stage.close(keep=keep is not None)
    raise typer.Exit(Exit.DONE if kept else Exit.FINDINGS)
