"""`/live`, `/ready` and `/metrics` over HTTP, by the standard library's server and prometheus-client's application.

For a scraper and a supervisor on this machine: no TLS, no names, loopback unless the configuration says otherwise.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app

from agencybus.errors import ConfigError
from agencybus_consumers.board import Board

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

SLOW_SECONDS: Final = 10.0  # for a request to arrive; who is slower is cut off


class _Server(ThreadingMixIn, WSGIServer):
    """A thread per request. Who hangs up or is too slow is no news, and has no place in the log."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    """Bounded in time, and silent: a scrape is no news."""

    timeout = SLOW_SECONDS
    server_version = "agencybus"
    sys_version = ""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def application(board: Board) -> WSGIApplication:
    """What is served."""
    registry = CollectorRegistry()
    registry.register(board)
    ProcessCollector(registry=registry)
    metrics: WSGIApplication = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return metrics(environ, start_response)
        status, value = "404 Not Found", b'{"paths":["/live","/ready","/metrics"]}'
        if path == "/live":
            status, value = ("200 OK", b'{"live":true}') if board.alive else ("503 Stuck", b'{"live":false}')
        elif path == "/ready":
            found = board.status()
            status, value = "200 OK" if found.ready else "503 Not Ready", msgspec.json.encode(found)
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            status, value = "405 Method Not Allowed", b"{}"
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(value))),
            ("Cache-Control", "no-store"),
        ]
        start_response(status, headers)
        return [value]

    return answer


@contextlib.contextmanager
def serving(board: Board, host: str, port: int) -> Iterator[int]:
    """Serve from threads of their own; gives the port.

    Raises:
        ConfigError: `config-invalid`: the address can't be had.
    """
    kind = _Server6 if ":" in host else _Server
    try:
        server = make_server(host, port, application(board), kind, _Handler)
    except OSError as error:
        what = f"{host}:{port} can't be listened on: {error.strerror}"
        raise ConfigError("config-invalid", what, where="metrics.listen", hint="Choose another address.") from error
    thread = Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
