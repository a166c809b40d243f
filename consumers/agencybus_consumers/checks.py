"""`daemon check`: everything that can be looked at before a daemon runs, or beside it. One line each, with the fix.

Nothing is written, nothing is delivered. A look that needs what an earlier one did not find is left out, and said so.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from enum import IntEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec

from agencybus.errors import BusError, ConfigError, TransportError
from agencybus.grants import grants_topic
from agencybus.kafka.connection import probe
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import Place, Position
from agencybus.label import POLICIES, Clearance
from agencybus.node import Node
from agencybus.state import folder as folders
from agencybus.subscribing import places
from agencybus.wire.limits import MIB
from agencybus_consumers import daemon, sinks
from agencybus_consumers.config import DaemonConfig, RouteConfig

SOON_DAYS: Final = 7.0  # what ends within, is a warning
SPACE_BYTES: Final = 1024 * MIB  # free space under the state, below which it is a warning
LITTLE_BYTES: Final = 64 * MIB  # ... and below which it is a failure
FETCH_SECONDS: Final = 5.0  # for the newest record of every topic
CLOCK_SECONDS: Final = 5.0  # that this clock may be behind the brokers'
FRESH_SECONDS: Final = 300.0  # a newest record that is older says nothing about clocks
_SECOND: Final = 1_000_000  # µs
_DAY: Final = 86_400 * _SECOND


class Level(IntEnum):
    """How a look ended."""

    OK = 0
    WARN = 1
    FAIL = 2


class Finding(msgspec.Struct, frozen=True):
    """One line.

    Attributes:
        level: how it ended.
        name: what was looked at.
        text: what was found.
        fix: what to do; empty if nothing.
        error: the documented error of a failure.
    """

    level: Level
    name: str
    text: str
    fix: str = ""
    error: BusError | None = None


def failed(name: str, error: BusError) -> Finding:
    """The line for a documented error."""
    where = f" ({error.where})" if error.where else ""
    return Finding(Level.FAIL, name, f"{error.code}: {error.what}{where}", error.hint, error)


async def look(config: DaemonConfig, path: Path) -> AsyncIterator[Finding]:
    """Look at everything; findings come as they are made.

    Args:
        config: what `path` says.
        path: the configuration file.
    """
    yield await _tried("state", lambda: asyncio.to_thread(_state, config))
    yield _metrics(config)
    yield await _tried("tls", lambda: _tls(config))
    node = None
    try:
        node = await Node.open(config)
    except BusError as error:
        yield failed("keys and directory", error)
        yield Finding(Level.WARN, "clock, rights, routes", "not looked at: they need keys and directory")
        return
    try:
        yield _directory(node)
        for finding in _keys(node):
            yield finding
        for finding in await _topics(config, node):
            yield finding
        for route in config.routes:
            yield await _tried(f"route {route.name}", lambda route=route: _route(config, route, node, path))  # type: ignore[misc]
    finally:
        await node.close()


async def _tried(name: str, attempt: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await attempt()
    except BusError as error:
        return failed(name, error)


# --- this machine


def _state(config: DaemonConfig) -> Finding:
    """Folder, space, and whether a daemon runs."""
    there = next(folder for folder in (config.state, *config.state.absolute().parents) if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        error = ConfigError("config-invalid", f"{there} is not writable", where="state", hint="Mend its owner or mode.")
        return failed("state", error)
    free = shutil.disk_usage(there).free
    text = f"{config.state}, {free // MIB} MiB free"
    if free < SPACE_BYTES:
        level = Level.FAIL if free < LITTLE_BYTES else Level.WARN
        return Finding(level, "state", text, "Free space: a full disk halts every route.")
    if running := _running(config):
        text += f"; {running} uses it"
    return Finding(Level.OK, "state", text)


def _running(config: DaemonConfig) -> str:
    """Who holds the state folder, in words; empty if nobody does."""
    if not (config.state / "lock").exists():
        return ""
    try:
        with folders.coded_files(config.state):
            os.close(folders.lock(config.state))
    except BusError as error:
        return error.what.removesuffix(" uses this state")
    return ""


def _metrics(config: DaemonConfig) -> Finding:
    """Who can ask the daemon how it is."""
    host, _ = config.metrics.address()
    try:
        near = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        near = False
    if near:
        return Finding(Level.OK, "metrics", f"{config.metrics.listen}, this machine only")
    fix = "Listen on 127.0.0.1, or behind what asks for a password: names of feeds and volumes are told to anybody."
    return Finding(Level.WARN, "metrics", f"{config.metrics.listen} can be reached from other machines", fix)


async def _tls(config: DaemonConfig) -> Finding:
    """Does a broker answer, over TLS; how long is the certificate good for."""
    settings = config.kafka.settings()
    await probe(settings)
    expires_at = settings.certificate_expires_at()
    if expires_at is None:
        fix = "Use mutual TLS but for benchmarks: labels, volumes and names are readable on the way."
        return Finding(Level.WARN, "tls", f"{settings.bootstrap} answers, without TLS", fix)
    level, text = _left(expires_at, Node.now())
    fix = "" if level is Level.OK else "Have a new certificate made for kafka.cert."
    return Finding(level, "tls", f"{settings.bootstrap} answers; the certificate {text}", fix)


def _left(expires_at: int, now: int) -> tuple[Level, str]:
    """How long something is good for: level and words."""
    days = (expires_at - now) / _DAY
    if days <= 0:
        return Level.FAIL, f"ended {-days:.1f} days ago"
    return (Level.WARN if days < SOON_DAYS else Level.OK), f"is good for {days:.0f} days"


# --- directory and keys


def _directory(node: Node) -> Finding:
    health = node.directory_health()
    text = f"{node.directory.digest.hex()[:16]}, {health.age_us / _SECOND:.0f} s old"
    if problems := [f"{name}: {error.what}" for name, error in health.problems.items()]:
        text += "; " + "; ".join(problems)
    if health.expired:
        return Finding(Level.WARN, "directory", f"{text}; past its date", "Ask the authorities for a new timestamp.")
    level, left = _left(health.expires_at, node.now())
    if problems:
        level = Level.WARN
    fix = "" if level is Level.OK else "Check directory.url; the last good copy stays in use."
    return Finding(level, "directory", f"{text}; {left}", fix)


def _keys(node: Node) -> list[Finding]:
    """Are the keys in the directory, and for how long. `Node.open` has judged the signing key already."""
    endpoint, ring = node.directory.endpoints[node.endpoint], node.keyring
    found = []
    for name, key in (
        ("signing key", endpoint.signer(ring.signer.public.id)),
        ("decapsulation key", endpoint.kem(ring.kem.public.id)),
    ):
        if key is None:
            fix = "Have the directory carry the key of this key file: nothing new can be read."
            found.append(Finding(Level.FAIL, name, "the directory does not name it", fix))
            continue
        level, text = _left(key.not_after, node.now())
        fix = "" if level is Level.OK else "Rotate it, and have the directory carry the new one."
        found.append(Finding(level, name, f"{key.id.hex()[:16]} {text}", fix))
    return found


# --- topics


async def _topics(config: DaemonConfig, node: Node) -> list[Finding]:
    """May all topics be read; the time of the newest record, against this machine's clock."""
    wanted: set[Place] = set()
    try:
        for route in config.routes:
            lanes = places.places(node.directory, node.endpoint, route.channels, route.programmes)
            wanted |= {place for found in lanes.values() for place in found}
            wanted |= {(grants_topic(agency), 0) for agency in places.granting_agencies(lanes)}
    except BusError as error:
        return [failed("rights", error)]
    topics = sorted({topic for topic, _ in wanted})
    try:
        newest = await _newest(node, wanted)
    except TransportError as error:
        if error.code == "broker-unreachable":
            return [failed("rights", error)]
        return await _one_by_one(node, wanted, topics)
    return [Finding(Level.OK, "rights", f"{len(topics)} topics can be read"), _clock(newest, node.now())]


async def _one_by_one(node: Node, wanted: Iterable[Place], topics: Iterable[str]) -> list[Finding]:
    """Which topics can't be read."""
    found = []
    for topic in topics:
        try:
            await _newest(node, [place for place in wanted if place[0] == topic])
        except TransportError as error:
            found.append(failed(f"rights {topic}", error))
    return found


async def _newest(node: Node, wanted: Iterable[Place]) -> int:
    """Time of the newest record that the brokers have of these places, µs since the epoch; 0 if there is none.

    Raises:
        TransportError: they can't be read.
    """
    reader = RecordReader(node.kafka)
    try:
        begin: dict[Place, Position] = dict.fromkeys(wanted, "latest")
        await reader.start(begin)
        first = await reader.beginning_offsets()
        waiting = set()
        for place, end in reader.positions().items():
            if end > first[place]:
                reader.seek(*place, end - 1)
                waiting.add(place)
        newest, clock = 0, asyncio.get_running_loop().time
        until = clock() + FETCH_SECONDS
        while waiting and clock() < until:
            for record in await reader.fetch(0.5):
                newest = max(newest, record.timestamp_us)
                waiting.discard((record.topic, record.partition))
        return newest
    finally:
        await reader.close()


def _clock(newest: int, now: int) -> Finding:
    """Only a clock that is behind shows for certain: no record comes from the future. One ahead looks like silence."""
    behind = (newest - now) / _SECOND
    if behind > CLOCK_SECONDS:
        text = f"this clock is at least {behind:.0f} s behind the brokers'"
        return Finding(Level.FAIL, "clock", text, "Synchronise this machine's clock (chrony, systemd-timesyncd).")
    if newest == 0 or -behind > FRESH_SECONDS:
        text = "no record is new enough to compare with: all feeds are silent, or this clock is ahead"
        return Finding(Level.WARN, "clock", text, "Compare it by hand; it must be within 5 s.")
    return Finding(Level.OK, "clock", f"the newest record came {max(0.0, -behind):.0f} s ago by this clock")


# --- routes


async def _route(config: DaemonConfig, route: RouteConfig, node: Node, path: Path) -> Finding:
    """Ceiling, types, and whether the sink could take events."""
    name = f"route {route.name}"
    daemon.check(config, route, node)
    sink = sinks.make(route.sink, lambda _code, _what: None, path=path, route=route.name)
    try:
        text = f"{route.ceiling}; {await sink.check()}"
    finally:
        await sink.close()
    if over := _needless(route.clearance(), node.directory.endpoints[node.endpoint].clearance):
        fix = "Lower the ceiling: the tool is trusted with more than ever arrives here."
        return Finding(Level.WARN, name, f"{text}; above the endpoint's own clearance by {over}", fix)
    return Finding(Level.OK, name, text)


def _needless(ceiling: Clearance, own: Clearance) -> str:
    """What a ceiling has beyond the endpoint's own clearance, in words."""
    beyond = sorted(ceiling.restrictive - own.restrictive)
    with suppress(ValueError):
        levels = POLICIES[own.policy].levels
        if levels.index(ceiling.classification) > levels.index(own.classification):
            beyond.insert(0, ceiling.classification)
    return ", ".join(beyond)
