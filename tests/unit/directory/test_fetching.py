from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, SlowRetrievalError

from agencybus.directory.fetching import Fetcher
from repositories import World


class Handler(SimpleHTTPRequestHandler):
    """Serves files; `/drip` never ends, a byte at a time, and `/cut` breaks off."""

    def do_GET(self) -> None:
        if self.path not in {"/drip", "/cut"}:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        try:
            for _ in range(1 if self.path == "/cut" else 1000):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.02)
        except OSError:  # the client went away, as it should
            pass

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path, authority: trustme.CA) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def handler(*args: Any) -> Handler:
        return Handler(*args, directory=str(folder))

    server = ThreadingHTTPServer(("localhost", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A certificate authority that the system trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("no_proxy", "*")
    return authority


def test_a_directory_is_followed_over_https(tmp_path: Path, authority: trustme.CA) -> None:
    world = World.made_in(tmp_path)
    with serving(world.folder, authority) as url:
        client = world.client(tmp_path / "home", url=url)
        first = client.refresh()
        world.withdraw("us.cbp/ntc-cargo")
        second = client.refresh()
    assert client.health().problems == {}
    assert first.endpoints["us.cbp/ntc-cargo"].withdrawn_at is None
    assert second.endpoints["us.cbp/ntc-cargo"].withdrawn_at is not None


@pytest.mark.usefixtures("authority")
def test_a_server_that_nobody_vouches_for_is_not_asked(tmp_path: Path) -> None:
    world = World.made_in(tmp_path)
    client = world.client(tmp_path / "home")
    directory = client.refresh()
    with serving(world.folder, trustme.CA()) as url:
        client._url = url
        assert client.refresh() == directory
    assert {problem.code for problem in client.health().problems.values()} == {"directory-unreachable"}


def test_a_server_that_drips_is_given_up(tmp_path: Path, authority: trustme.CA) -> None:
    with serving(tmp_path, authority) as url:
        begun = time.monotonic()
        with pytest.raises(SlowRetrievalError):
            Fetcher(file_seconds=0.3).download_bytes(f"{url}/drip", 1000)
        assert time.monotonic() - begun < 5


def test_a_transfer_that_breaks_off_is_an_error(tmp_path: Path, authority: trustme.CA) -> None:
    with serving(tmp_path, authority) as url, pytest.raises(DownloadError):
        Fetcher().download_bytes(f"{url}/cut", 1000)


def test_what_is_longer_than_allowed_is_not_read_to_its_end(tmp_path: Path, authority: trustme.CA) -> None:
    (tmp_path / "large").write_bytes(bytes(10_000))
    with serving(tmp_path, authority) as url:
        for source in (url, tmp_path.as_uri()):
            with pytest.raises(DownloadLengthMismatchError):
                Fetcher().download_bytes(f"{source}/large", 9_999)
            assert Fetcher().download_bytes(f"{source}/large", 10_000) == bytes(10_000)


def test_what_is_not_there_is_told_as_404(tmp_path: Path, authority: trustme.CA) -> None:
    with serving(tmp_path, authority) as url:
        for source in (url, tmp_path.as_uri()):
            with pytest.raises(DownloadHTTPError) as caught:
                Fetcher().download_bytes(f"{source}/nothing.json", 10)
            assert caught.value.status_code == 404


@pytest.mark.parametrize("url", ["http://localhost/x", "ftp://localhost/x", "x", "", "data:,x"])
def test_nothing_is_fetched_another_way(url: str) -> None:
    with pytest.raises(DownloadError):
        Fetcher().download_bytes(url, 10)


def test_a_path_with_blanks_and_accents_is_a_file_like_any_other(tmp_path: Path) -> None:
    folder = tmp_path / "señal y %20"
    folder.mkdir()
    (folder / "a.json").write_bytes(b"{}")
    assert Fetcher().download_bytes(f"{folder.as_uri()}/a.json", 10) == b"{}"
