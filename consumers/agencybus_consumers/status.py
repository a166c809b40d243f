"""Asking a daemon how it is, from another process."""

from __future__ import annotations

import http.client
from contextlib import suppress
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import msgspec

from agencybus.errors import StateError
from agencybus.quarantine import Quarantine
from agencybus_consumers.board import DaemonStatus
from agencybus_consumers.config import DaemonConfig
from agencybus_consumers.daemon import Running

ANSWER_BYTES = 1 << 20  # of an answer; a route takes some hundred


def ask(config: DaemonConfig, *, seconds: float) -> DaemonStatus | None:
    """What the daemon on this state says; None if none answers.

    Args:
        config: the daemon's.
        seconds: for the answer.
    """
    with suppress(OSError, msgspec.DecodeError):
        running = msgspec.json.decode((config.state / "daemon.json").read_bytes(), type=Running)
        host = f"[{running.host}]" if ":" in running.host else running.host
        found = _get(f"http://{host}:{running.port}/ready", seconds)
        if found is not None and found.pid == running.pid:  # the note of a killed daemon may lead to somebody else
            return found
    return None


def _get(url: str, seconds: float) -> DaemonStatus | None:
    opener = build_opener(ProxyHandler({}))  # it is on this machine: no proxy of the environment
    with suppress(URLError, TimeoutError, http.client.HTTPException, msgspec.DecodeError):
        try:
            answer = opener.open(url, timeout=seconds)
        except HTTPError as not_ready:
            answer = not_ready
        with answer:
            return msgspec.json.decode(answer.read(ANSWER_BYTES), type=DaemonStatus)
    return None


def at_rest(config: DaemonConfig) -> dict[str, dict[str, int] | None]:
    """By route, the codes of what its quarantine holds; None if it has no state yet.

    Raises:
        StateError: a state can't be read.
    """
    found: dict[str, dict[str, int] | None] = {}
    for route in config.routes:
        try:
            with Quarantine.open(config.folder(route)) as quarantine:
                found[route.name] = quarantine.by_code()
        except StateError as error:
            if error.code != "state-missing":
                raise
            found[route.name] = None
    return found
