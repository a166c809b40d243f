"""`agencybus quarantine`: records that failed a check: list, show, release, discard."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from agencybus.cli import output
from agencybus.errors import ConfigError, QuarantineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from agencybus.config import EndpointConfig
    from agencybus.quarantine import Entry

app = typer.Typer(
    name="quarantine", help="Records that failed a check: list, show, release, discard.", no_args_is_help=True
)

PAGE: Final = 1000  # entries read at once
MAIN: Final = "main"  # the route of a subscriber.toml

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="A daemon.toml or subscriber.toml.")]
CONFIG: Final = Path("daemon.toml")
RouteOption = Annotated[str | None, typer.Option("--route", metavar="NAME", help="Which route of a daemon.toml.")]
Ids = Annotated[list[int], typer.Argument(metavar="ID...", help="Numbers that `list` shows.", show_default=False)]
Who = Annotated[str | None, typer.Option("--who", metavar="NAME", help="Who decides; this user if left out.")]


class _Place(NamedTuple):
    """A quarantine: the route's name, its state folder."""

    route: str
    state: Path


@app.command("list")
def list_(
    *,
    config: Config = CONFIG,
    route: RouteOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was delivered or discarded since.")] = False,
) -> None:
    """List what is in quarantine, newest last. Works beside a running reader; needs no keys."""
    found: list[tuple[str, Entry]] = []
    counted: list[dict[str, object]] = []
    for place in _places(config, route):
        entries = _entries(place)
        found += [(place.route, entry) for entry in entries if everything or entry.verdict in {"held", "released"}]
        counted += _beyond_quota(place)
    value = {"entries": [_plain(name, entry) for name, entry in found], "beyond_quota": counted}
    output.emit(value, lambda: _table(found, counted))


@app.command()
def show(
    number: Annotated[int, typer.Argument(metavar="ID", show_default=False)],
    *,
    config: Config = CONFIG,
    route: RouteOption = None,
    raw: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the record's bytes there. They are hostile input.")
    ] = None,
) -> None:
    """Show one record: where it lies, what its header claims, which step refused it and why.

    Unlocks the keys: records are kept sealed.
    """
    from agencybus.keyring import harden_process
    from agencybus.quarantine import Quarantine

    loaded, places = _load(config)
    harden_process()
    place = _one(places, route)
    with Quarantine.open(place.state) as plain:
        entry = plain.show(number)
    record = None
    if entry.kept:
        with Quarantine.open(place.state, _storage_key(loaded)) as quarantine:
            record = quarantine.raw(number)
    claims = _claims(record) if record is not None else {}
    if raw is not None:
        if record is None:
            raise QuarantineError("quarantine-not-kept", f"the bytes of entry {number} are not here")
        _write(raw, record)
    value = _plain(place.route, entry) | {"claims": claims}
    output.emit(value, lambda: _page(value, verified=bool(entry.endpoint)))


@app.command()
def release(
    numbers: Ids, *, config: Config = CONFIG, route: RouteOption = None, who: Who = None, why: str = ""
) -> None:
    """Have the reader verify records again, all steps, with today's directory and keys. No check is left out.

    A running reader does it within seconds, else the next one. What is refused again stays, with the newer reason.
    """
    done = _decide("release", numbers, _one(_load(config)[1], route), who=who, why=why)
    output.emit(done, lambda: f"released {', '.join(map(str, numbers))}: the reader verifies them again")


@app.command()
def discard(
    numbers: Ids,
    *,
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason. It stays, with who, when and the digest.")],
    config: Config = CONFIG,
    route: RouteOption = None,
    who: Who = None,
) -> None:
    """Give records up: their bytes go, for ever; place, digest, reason, who, why and when stay."""
    if not why.strip():
        raise ConfigError("usage", "--why is empty", hint="Say why: it is all that will be left.")
    done = _decide("discard", numbers, _one(_load(config)[1], route), who=who, why=why)
    output.emit(done, lambda: f"discarded {', '.join(map(str, numbers))}: their bytes are gone")


def _decide(what: str, numbers: list[int], place: _Place, *, who: str | None, why: str) -> list[dict[str, Any]]:
    from agencybus.quarantine import Quarantine

    with Quarantine.open(place.state) as quarantine:
        for number in numbers:
            quarantine.show(number)  # all of them are there, or nothing is done
        act = quarantine.release if what == "release" else quarantine.discard
        at, person = time.time_ns() // 1000, who or getpass.getuser()
        return [_plain(place.route, act(number, who=person, why=why, at=at)) for number in numbers]


# --- which quarantine


def _load(path: Path) -> tuple[EndpointConfig, list[_Place]]:
    """The endpoint of a configuration, and its readers' states.

    Raises:
        ConfigError: `config-invalid`.
    """
    from agencybus import config as configuration
    from agencybus.config import SubscriberConfig
    from agencybus_consumers import config as consumers

    if configuration.has_table(path, "routes"):
        daemon = consumers.load(path)
        return daemon, [_Place(route.name, daemon.folder(route)) for route in daemon.routes]
    subscriber = configuration.load(path, SubscriberConfig)
    return subscriber, [_Place(MAIN, subscriber.state)]


def _places(path: Path, route: str | None) -> list[_Place]:
    places = _load(path)[1]
    return places if route is None else [_one(places, route)]


def _one(places: list[_Place], route: str | None) -> _Place:
    names = ", ".join(place.route for place in places)
    chosen = [place for place in places if route in (None, place.route)]
    if len(chosen) == 1:
        return chosen[0]
    what = f"there is no route {route}" if route else "there are several routes"
    raise ConfigError("usage", what, hint=f"Say --route, one of {names}.")


def _storage_key(config: EndpointConfig) -> bytes:
    from agencybus.keyring import Keyring, Passphrase

    file = config.keyring.passphrase_file
    passphrase = Passphrase.prompt() if file is None else Passphrase.from_file(file)
    return Keyring.load(config.keyring.file, passphrase, endpoint=config.endpoint).storage_key


def _entries(place: _Place) -> Iterator[Entry]:
    from agencybus.errors import StateError
    from agencybus.quarantine import Quarantine

    try:
        with Quarantine.open(place.state) as quarantine:
            after = 0
            while page := quarantine.list(after=after, limit=PAGE):
                yield from page
                after = page[-1].id
    except StateError as error:
        if error.code != "state-missing":  # a route that never ran has nothing in quarantine
            raise


def _beyond_quota(place: _Place) -> list[dict[str, object]]:
    from agencybus.errors import StateError
    from agencybus.quarantine import Quarantine

    try:
        with Quarantine.open(place.state) as quarantine:
            counts = quarantine.counts()
    except StateError as error:
        if error.code != "state-missing":
            raise
        return []
    return [
        {
            "route": place.route,
            "endpoint": count.endpoint,
            "topic": count.topic,
            "partition": count.partition,
            "step": count.step,
            "code": count.code,
            "records": count.records,
            "first": count.first,
            "last": count.last,
            "digest": count.digest.hex(),
        }
        for count in counts
    ]


# --- how it looks


def _plain(route: str, entry: Entry) -> dict[str, Any]:
    return {
        "route": route,
        "id": entry.id,
        "received_at": _time(entry.received_at),
        "topic": entry.topic,
        "partition": entry.partition,
        "offset": entry.offset,
        "step": entry.step,
        "code": entry.code,
        "reason": entry.reason,
        "endpoint": entry.endpoint,
        "waits_for": entry.waits_for.hex(),
        "size": entry.size,
        "digest": entry.digest.hex(),
        "kept": entry.kept,
        "verdict": entry.verdict,
        "who": entry.who,
        "why": entry.why,
        "decided_at": _time(entry.decided_at) if entry.decided_at else "",
    }


def _time(at: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at / 1_000_000, UTC).isoformat(timespec="milliseconds")


def _table(found: list[tuple[str, Entry]], counted: list[dict[str, object]]) -> Table | str:
    from rich.table import Table

    if not found and not counted:
        return "nothing is in quarantine"
    table = Table("id", "route", "received", "place", "step", "code", "signed by", "verdict", "reason")
    for route, entry in found:
        place = f"{entry.topic}/{entry.partition}@{entry.offset}"
        texts = (entry.code, entry.endpoint or "nobody known", entry.verdict, output.printable(entry.reason))
        table.add_row(str(entry.id), route, _time(entry.received_at)[:19], place, str(entry.step), *texts)
    for count in counted:
        place = f"{count['topic']}/{count['partition']}@{count['first']}..{count['last']}"
        told = f"{count['records']} records beyond the quota: counted only"
        table.add_row("", str(count["route"]), "", place, str(count["step"]), str(count["code"]), "", "", told)
    return table


def _claims(record: bytes) -> dict[str, object]:
    """What the header says, if it can be read at all."""
    import msgspec

    from agencybus.errors import RecordError
    from agencybus.wire import envelope

    try:
        header = envelope.split(record, envelope.CHANNEL_KINDS).header
    except RecordError as error:
        return {"unreadable": f"{error.code}: {error.what}"}
    values: dict[str, Any] = msgspec.structs.asdict(header)
    claims: dict[str, Any] = {key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()}
    for key in ("sealed_at", "previous_sealed_at"):
        claims[key] = _time(claims[key]) if 0 < claims[key] < 1 << 57 else claims[key]
    return {"kind": header.kind_name, **claims}


def _page(value: dict[str, Any], *, verified: bool) -> str:
    """For people: hostile text can't move the cursor."""
    claims = value.pop("claims")
    lines = [f"{key:<20}{output.printable(str(text))}" for key, text in value.items() if text not in ("", [])]
    if claims:
        head = "its header says" if verified else "its header claims (the signatures were not verified: anybody can)"
        lines += ["", head]
        lines += [f"  {key:<18}{output.printable(str(text))}" for key, text in claims.items()]
    lines += ["", f"agencybus help {value['code']}   says what it means and what to do"]
    return "\n".join(lines)


def _write(path: Path, record: bytes) -> None:
    try:
        path.touch(mode=0o600)
        path.write_bytes(record)
    except OSError as error:
        raise ConfigError("usage", f"can't be written: {error.strerror}", where=str(path)) from None
