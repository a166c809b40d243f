"""The broker's jars: what is not in the lock, byte for byte, is never on the class path."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from jgo.maven import _core

from agencybus.errors import ConfigError
from agencybus.kafka import jars

CONTENT = {"/org/a/one/1.0/one-1.0.jar": b"one", "/org/b/two/2.0/two-2.0.jar": b"two"}


class Registry:
    """A web server that plays the registry: serves `content` by path, counts what was asked for."""

    def __init__(self) -> None:
        self.content = dict(CONTENT)
        self.asked: Counter[str] = Counter()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry with two jars, a lock that names both, and an empty cache."""
    made = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made.content.get(self.path)
            made.asked[self.path] += 1
            self.send_response(404 if body is None else 200)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setitem(_core.DEFAULT_REMOTE_REPOS, "central", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lock = tmp_path / "lock"
    coordinates = ("org.a:one:1.0", "org.b:two:2.0")
    digests = (hashlib.sha256(body).hexdigest() for body in CONTENT.values())
    lock.write_text("# two\n" + "".join(f"{one}  {two}\n" for one, two in zip(digests, coordinates, strict=True)))
    monkeypatch.setattr(jars, "LOCK_FILE", str(lock))
    yield made
    server.shutdown()
    server.server_close()


def test_jars_are_fetched_once_and_reported_one_by_one(registry: Registry) -> None:
    seen: list[tuple[int, int]] = []
    first = jars.class_path(progress=lambda done, wanted: seen.append((done, wanted)))
    assert [path.read_bytes() for path in first] == [b"one", b"two"]
    assert jars.class_path(progress=lambda *_: pytest.fail("fetched again")) == first
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert {path: registry.asked[path] for path in CONTENT} == dict.fromkeys(CONTENT, 1)


def test_a_jar_that_differs_from_the_lock_is_refused_and_not_kept(registry: Registry) -> None:
    registry.content["/org/b/two/2.0/two-2.0.jar"] = b"evil"
    with pytest.raises(ConfigError, match=r"two-2\.0\.jar as fetched is not the locked one"):
        jars.class_path()
    registry.content = dict(CONTENT)
    assert [path.read_bytes() for path in jars.class_path()] == [b"one", b"two"]


def test_a_cached_jar_that_was_altered_is_replaced(registry: Registry) -> None:
    [one, two] = jars.class_path()
    one.write_bytes(b"evil")
    jars.class_path()
    assert (one.read_bytes(), two.read_bytes()) == (b"one", b"two")
    assert [registry.asked[path] for path in CONTENT] == [2, 1]


def test_two_at_the_same_time_fetch_each_jar_once(registry: Registry) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: jars.class_path(), range(2)))
    assert found[0] == found[1]
    assert [registry.asked[path] for path in CONTENT] == [1, 1]


@pytest.mark.usefixtures("registry")
def test_what_a_killed_download_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / "cache" / "agencybus" / "jars" / "fetch-left"
    left.mkdir(parents=True)
    (left / "half.jar").write_bytes(b"on")
    jars.class_path()
    assert sorted(path.name for path in left.parent.iterdir()) == [".lock", "one-1.0.jar", "two-2.0.jar"]


def test_a_jar_that_is_not_there_is_named_with_what_to_do(registry: Registry) -> None:
    del registry.content["/org/a/one/1.0/one-1.0.jar"]
    with pytest.raises(ConfigError, match=r"broker-setup: org\.a:one:1\.0 can't be fetched") as refused:
        jars.class_path()
    assert "--jars DIR" in refused.value.hint


@pytest.mark.usefixtures("registry")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # urllib3 leaves sockets open
def test_without_a_network_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_core.DEFAULT_REMOTE_REPOS, "central", "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"broker-setup: .* can't be fetched: ConnectionError") as refused:
        jars.class_path()
    assert "--jars DIR" in refused.value.hint


def test_jars_that_an_operator_brought_are_checked_and_nothing_is_fetched(registry: Registry, tmp_path: Path) -> None:
    for path, body in CONTENT.items():
        (tmp_path / Path(path).name).write_bytes(body)
    assert [path.name for path in jars.class_path(tmp_path)] == ["one-1.0.jar", "two-2.0.jar"]
    (tmp_path / "two-2.0.jar").write_bytes(b"evil")
    with pytest.raises(ConfigError, match=r"1 jars are missing or are not the locked ones, two-2\.0\.jar first"):
        jars.class_path(tmp_path)
    assert not registry.asked


@pytest.mark.usefixtures("registry")
def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(ConfigError, match=r"broker-setup: jgo\.maven is not installed") as refused:
        jars.class_path()
    assert refused.value.hint == "Install the extra: pip install 'agencybus[dev]'."


def test_the_packaged_lock_names_kafka_and_a_log_that_logs_each_once() -> None:
    named = [jar.coordinate for jar in jars.locked()]
    assert len(named) == len(set(named)) == 46
    assert len({jar.file_name for jar in jars.locked()}) == 46
    assert {"org.apache.kafka:kafka_2.13:4.3.1", "org.apache.kafka:kafka-clients:4.3.1"} <= set(named)
    assert {"org.slf4j:slf4j-api:2.0.17", "org.apache.logging.log4j:log4j-slf4j2-impl:2.25.2"} <= set(named)
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in jars.locked())
