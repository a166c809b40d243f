"""`agencybus dev`: a real Kafka on this machine, with mutual TLS and access rules, out of pip packages."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from platformdirs import user_data_path

from agencybus.cli import output
from agencybus.cli.exits import Exit
from agencybus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agencybus.kafka.connection import KafkaSettings
    from agencybus.kafka.local import LocalCluster
    from agencybus.sandbox import Sandbox

app = typer.Typer(name="dev", help="A real Kafka on this machine: up, status, down.", no_args_is_help=True)

FOREIGN_TIMEOUT_S: Final = 10.0  # seconds for a Kafka that is said to be up
HOME: Final = user_data_path("agencybus") / "dev"

Home = Annotated[Path, typer.Option("--home", metavar="DIR", help="Data, logs and certificates of the broker.")]


@app.command()
def up(
    *,
    home: Home = HOME,
    brokers: Annotated[int, typer.Option(help="1, or 3 to see one of them fail.")] = 1,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Make a certificate and give rights: us.cbp/ntc-cargo. Repeatable."),
    ] = None,
    federation: Annotated[
        bool, typer.Option(help="Make the sample federation: keys, directory, topics, rights, configuration.")
    ] = True,
    plaintext: Annotated[
        bool, typer.Option("--plaintext", help="Also listen without TLS and without rules, for benchmarks.")
    ] = False,
    jars: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="AGENCYBUS_JARS", help="Take Kafka's jars from here, fetch nothing."),
    ] = None,
    java: Annotated[
        Path | None, typer.Option(metavar="PATH", envvar="AGENCYBUS_JAVA", help="Run this Java, 17 or later.")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Start nothing: use this Kafka, and see that it answers.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="With --bootstrap: its authority, PEM.")] = None,
    cert: Annotated[Path | None, typer.Option(metavar="FILE", help="With --bootstrap: your certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="With --bootstrap: your private key, PEM.")] = None,
) -> None:
    """Start a broker that stays, with a federation to try things with. Again: show what runs."""
    from agencybus.kafka import admin
    from agencybus.kafka.certificates import client_host
    from agencybus.kafka.connection import KafkaSettings
    from agencybus.kafka.local import LocalCluster

    for name in endpoint or ():
        client_host(name)  # a typing error shows before anything is started
    if bootstrap is not None:
        foreign = KafkaSettings(bootstrap, ca=ca, cert=cert, key=key, plaintext=plaintext)
        admin.wait_until_ready(foreign, brokers=1, timeout_s=FOREIGN_TIMEOUT_S)
        for name in endpoint or ():
            admin.admit(foreign, name)
        output.emit({"bootstrap": bootstrap, "started": False}, lambda: f"Kafka answers at {bootstrap}")
        return
    if any((ca, cert, key)):
        raise ConfigError("usage", "--ca, --cert and --key belong to --bootstrap")
    began = time.monotonic()
    with _jar_progress() as progress:
        cluster = LocalCluster(
            home,
            brokers=brokers,
            plaintext=plaintext,
            jar_folder=jars,
            java=java,
            detached=True,
            progress=progress,
        )
        started = not cluster.alive()
        if started:
            cluster.start()
    for name in endpoint or ():
        admin.admit(cluster.settings(), name)
    clients = {name: cluster.settings(name) for name in ("admin", *(endpoint or ()))}
    made = _federation(home, cluster, copies=brokers) if federation else None
    value = _plain(cluster.bootstrap, cluster.alive(), home, clients) | {"federation": made and str(made.home)}
    head = f"started in {time.monotonic() - began:.1f} s" if started else "was up already"
    output.emit(value | {"started": started}, lambda: _page(head, value, clients, made))


@app.command()
def status(*, home: Home = HOME) -> None:
    """Say whether the broker runs and answers. Exit code 9 if not all of it does."""
    from agencybus.kafka import admin
    from agencybus.kafka.local import LocalCluster

    cluster = LocalCluster(home)
    alive = cluster.alive()
    if alive:
        admin.wait_until_ready(cluster.settings(), brokers=len(alive), timeout_s=FOREIGN_TIMEOUT_S)
    all_up = bool(alive) and len(alive) == len(cluster.bootstrap.split(","))
    value = _plain(cluster.bootstrap if alive else "", alive, home, {})
    head = "all brokers answer" if all_up else "brokers are missing" if alive else "no broker runs"
    output.emit(value, lambda: _page(head, value, {}))
    if not all_up:
        raise typer.Exit(Exit.FINDINGS)


@app.command()
def down(*, home: Home = HOME) -> None:
    """Stop the broker. Its data stays for the next `dev up`."""
    from agencybus.kafka.local import LocalCluster

    cluster = LocalCluster(home)
    stopped = cluster.alive()
    cluster.stop()
    words = f"stopped {len(stopped)}; the data stays in {home}" if stopped else "no broker ran"
    output.emit({"stopped": stopped, "home": str(home)}, lambda: words)


@contextmanager
def _jar_progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error that appears only if jars have to be fetched."""
    from rich.progress import Progress

    with Progress(console=output.console(stderr=True), transient=True, disable=output.as_json()) as bar:
        task = bar.add_task("Fetching Kafka's jars, once", total=None, visible=False)
        yield lambda done, all_: bar.update(task, completed=done, total=all_, visible=True)


def _federation(home: Path, cluster: LocalCluster, *, copies: int) -> Sandbox:
    """The federation of this home; made if there is none, with configuration for where the brokers are now."""
    from agencybus import sandbox

    found = sandbox.find(home / "sandbox")
    if found is None:
        with output.console(stderr=True).status("Keys, a directory signed by two countries, topics and rights"):
            return sandbox.make(home / "sandbox", cluster, copies=copies)
    sandbox.configure(found, cluster)
    return found


def _plain(bootstrap: str, alive: list[int], home: Path, clients: dict[str, KafkaSettings]) -> dict[str, object]:
    return {
        "bootstrap": bootstrap,
        "brokers": alive,
        "home": str(home),
        "logs": [str(home / f"broker-{number}" / "server.log") for number in alive],
        "clients": {
            name: {"ca": str(one.ca), "cert": str(one.cert), "key": str(one.key)} for name, one in clients.items()
        },
    }


def _page(head: str, value: dict[str, object], clients: dict[str, KafkaSettings], made: Sandbox | None = None) -> str:
    lines = [f"Kafka: {head}"]
    if value["bootstrap"]:
        lines += [f"  bootstrap   {value['bootstrap']}   (mutual TLS)", f"  data, logs  {value['home']}"]
    for name, one in clients.items():
        lines += [f"  {name}", f"    ca    {one.ca}", f"    cert  {one.cert}", f"    key   {one.key}"]
    if made is not None:
        publisher, reader = made.publisher("us.fbi/wanted"), made.subscriber("mx.fgr/watch-floor")
        lines += [
            f"  federation  {made.home}: {len(made.endpoints)} endpoints under endpoints/",
            "next",
            f"  agencybus consume --config {reader}",
            f"  agencybus event new alert --config {publisher} > alert.json",
            f"  agencybus explain --config {publisher} --type alert alert.json",
            f"  agencybus publish --config {publisher} --type alert alert.json",
            "  agencybus dev status   whether it runs",
            "  agencybus dev down     stop it, keep the data",
        ]
    elif value["bootstrap"]:
        lines += ["next", "  agencybus dev status   whether it runs", "  agencybus dev down     stop it, keep the data"]
    else:
        lines += ["next", "  agencybus dev up       start one"]
    return "\n".join(lines)
