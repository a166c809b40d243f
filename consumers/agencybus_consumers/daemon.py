"""The daemon: an endpoint's keys and directory once, a route for each tool, and an orderly end.

It ends when it is told to (SIGTERM, SIGINT), or when no route is left that could do any work.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from agencybus.errors import BusError, ConfigError
from agencybus.keyring import harden_process
from agencybus.node import Node
from agencybus.state import folder as folders
from agencybus_consumers import http, sinks
from agencybus_consumers.board import Board
from agencybus_consumers.config import DaemonConfig, RouteConfig
from agencybus_consumers.routes import Route, Stage

CLOSE_SECONDS: Final = 15.0  # after the grace: readers, programs and files are closed, each bounded by itself

_log = structlog.get_logger(__name__)


class Running(msgspec.Struct, frozen=True):
    """What a running daemon leaves in its state folder: `daemon.json`.

    Attributes:
        pid: of the process.
        host: where it is asked how it is.
        port: the same.
    """

    pid: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a daemon ended.

    Attributes:
        by: the signal that ended it, or 0 if no route was left.
        left: routes that had failed, or were cut off in the middle.
        error: of the first route that failed, if no route was left.
    """

    by: int
    left: tuple[str, ...]
    error: BusError | None = None


async def run(config: DaemonConfig, path: Path) -> Ended:
    """Feed the tools until told to stop.

    Args:
        config: what `path` says.
        path: the configuration file.

    Raises:
        BusError: the daemon can't begin: configuration, keys, directory, state folder, address.
    """
    for weakness in harden_process():
        _log.warning("not-hardened", what=weakness)
    stop = _Stop()
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.listening())
        stack.enter_context(_alone(config.state))
        node = await Node.open(config)
        try:
            return await _run(config, node, [_route(config, one, node, path) for one in config.routes], stop)
        finally:
            await node.close()


async def _run(config: DaemonConfig, node: Node, routes: Sequence[Route], stop: _Stop) -> Ended:
    board = Board(node, routes, os.getpid())
    host, port = config.metrics.address()
    with http.serving(board, host, port) as port, _noted(config.state, Running(os.getpid(), host, port)):
        _log.info(
            "daemon-began", endpoint=node.endpoint, routes=[route.name for route in routes], listen=f"{host}:{port}"
        )
        looking = asyncio.create_task(board.keep_looking(), name="board")
        tasks = {route.name: route.begin() for route in routes}
        stopping = asyncio.create_task(stop.wait(), name="stop")
        everything = asyncio.create_task(_all(tasks.values()), name="routes")
        cut_off = set[str]()
        try:
            await asyncio.wait([stopping, everything], return_when=asyncio.FIRST_COMPLETED)
            if stop.by:
                cut_off = await _end(routes, tasks, config.stop_seconds)
            await asyncio.wait(tasks.values(), timeout=CLOSE_SECONDS)
        finally:
            for task in (stopping, everything, looking, *tasks.values()):
                task.cancel()
            await asyncio.wait([stopping, looking, *tasks.values()], timeout=CLOSE_SECONDS)
    left = tuple(route.name for route in routes if route.stage is Stage.FAILED or route.name in cut_off)
    error = None if stop.by else next((route.error for route in routes if route.error is not None), None)
    _log.info("daemon-ended", signal=stop.by, left=left)
    return Ended(stop.by, left, error)


async def _all(tasks: Collection[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


async def _end(routes: Sequence[Route], tasks: dict[str, asyncio.Task[None]], seconds: float) -> set[str]:
    """Let the tools finish what they have in hand; names of the routes that did not."""
    for route in routes:
        route.end()
    await asyncio.wait(tasks.values(), timeout=seconds)
    cut_off = {route.name for route in routes if route.stage not in {Stage.ENDED, Stage.FAILED}}
    for name in sorted(cut_off):
        _log.warning("route-cut-off", route=name, what=f"the tool was not done after {seconds:g} s; it comes again")
        tasks[name].cancel()
    return cut_off


def _route(config: DaemonConfig, route: RouteConfig, node: Node, path: Path) -> Route:
    """Make a route, and refuse at once what can't work in any run.

    Raises:
        ConfigError: `config-invalid`.
    """
    check(config, route, node)

    def make(owner: Route) -> sinks.Sink:
        return sinks.make(route.sink, owner.alarm, path=path, route=route.name)

    made = Route(route.name, route.clearance(), config.subscriber(route), node, make)
    make(made)  # a wrong table shows here
    return made


def check(config: DaemonConfig, route: RouteConfig, node: Node) -> None:
    """Refuse a route that contradicts the directory or the installed schemas.

    Raises:
        ConfigError: `config-invalid`.
    """
    where = f"route {route.name}"
    if unknown := sorted(set(route.types) - set(node.codec.types)):
        what = f"no event type {unknown[0]!r}; known are {', '.join(node.codec.types)}"
        raise ConfigError("config-invalid", what, where=f"{where}: types")
    endpoint = node.directory.endpoints.get(config.endpoint)
    ceiling = route.clearance()
    if endpoint is not None and endpoint.clearance.country != ceiling.country:
        what = f"the ceiling is {ceiling.country}'s, the endpoint {endpoint.clearance.country}'s"
        raise ConfigError("config-invalid", what, where=f"{where}: ceiling")


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Lock the daemon's folder; each route locks its own besides.

    Raises:
        StateError: state-locked, state-denied or state-full.
    """
    with folders.coded_files(state):
        folders.make_private(state)
        handle = folders.lock(state)
    try:
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _noted(state: Path, running: Running) -> Iterator[None]:
    """Leave a note where the daemon can be asked, for as long as it runs."""
    note = state / "daemon.json"
    with folders.coded_files(state):
        note.write_bytes(msgspec.json.encode(running))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink()


class _Stop:
    """The wish to end."""

    def __init__(self) -> None:
        self.by = 0
        self._event = asyncio.Event()

    async def wait(self) -> None:
        await self._event.wait()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hear SIGTERM and SIGINT. A second one ends nothing faster: the end is bounded."""
        loop: Any = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._wish, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _wish(self, number: int) -> None:
        if not self.by:
            self.by = number
            _log.info("daemon-ending", signal=number)
            self._event.set()
