"""`agencybus daemon check`: each fault of the surroundings is one line, with its fix."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agencybus.kafka.local import LocalCluster
from agencybus.sandbox import Sandbox
from agencybus_consumers import checks, config
from agencybus_consumers.checks import Finding, Level
from daemons import Daemon, jsonl, program
from integration.bus import alert, publishing


async def look(path: Path) -> dict[str, Finding]:
    return {finding.name: finding async for finding in checks.look(config.load(path), path)}


def changed(daemon: Daemon, old: str, new: str) -> Path:
    text = daemon.path.read_text()
    assert old in text
    path = daemon.path.with_name("changed.toml")
    path.write_text(text.replace(old, new))
    return path


@pytest.fixture
def daemon(federation: Sandbox, tmp_path: Path) -> Daemon:
    """One that is not started."""
    return Daemon(federation, tmp_path, jsonl("file", tmp_path / "out.jsonl"), program("tool", "/bin/cat"))


async def test_a_sound_daemon_has_nothing_but_ok(federation: Sandbox, tmp_path: Path, daemon: Daemon) -> None:
    async with publishing(federation, tmp_path) as bus:
        await bus.publish(alert("a-fresh-record"))
    found = await look(daemon.path)
    assert {name: finding.text for name, finding in found.items() if finding.level is not Level.OK} == {}
    assert set(found) == {
        "state",
        "metrics",
        "tls",
        "directory",
        "signing key",
        "decapsulation key",
        "rights",
        "clock",
        "route file",
        "route tool",
    }
    assert not daemon.config.state.exists(), "it writes nothing"
    assert not (tmp_path / "out.jsonl").exists()


async def test_what_a_route_has_wrong_is_told_in_its_line(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("not ours\n")
    path = changed(daemon, "out.jsonl", "diary")
    path.write_text(path.read_text().replace('"/bin/cat"', '"/nowhere/cat"'))
    path.write_text(path.read_text() + program("far", "/bin/cat", ceiling="USA SECRET"))
    path.write_text(path.read_text() + program("high", "/bin/cat", ceiling="MEX SECRETA//INTELIGENCIA"))
    path.write_text(path.read_text() + program("strange", "/bin/cat").replace("ceiling", 'types = ["gossip"]\nceiling'))
    found = await look(path)
    assert "sink-foreign" in found["route file"].text
    assert "not there" in found["route tool"].text
    assert "the ceiling is USA's" in found["route far"].text
    assert found["route high"].level is Level.WARN
    assert "SECRETA, INTELIGENCIA" in found["route high"].text
    assert "no event type 'gossip'" in found["route strange"].text
    failed = {name for name, finding in found.items() if finding.level is Level.FAIL}
    assert failed == {"route file", "route tool", "route far", "route strange"}
    assert all(finding.fix for finding in found.values() if finding.level is not Level.OK)


async def test_a_certificate_without_rights_is_told_by_topic(daemon: Daemon, cluster: LocalCluster) -> None:
    own = daemon.config.kafka
    files = cluster.client_files("mx.fgr/nobody")
    path = changed(daemon, f'cert = "{own.cert}"\nkey = "{own.key}"', f'cert = "{files.cert}"\nkey = "{files.key}"')
    found = await look(path)
    rights = [finding for name, finding in found.items() if name.startswith("rights ")]
    assert rights
    assert all(finding.level is Level.FAIL for finding in rights)
    assert {finding.error.code for finding in rights if finding.error} <= {"broker-refused", "topic-missing"}


async def test_no_broker_no_keys_and_no_directory_are_told(daemon: Daemon, tmp_path: Path) -> None:
    found = await look(changed(daemon, daemon.config.kafka.bootstrap, "127.0.0.1:1"))
    assert "broker-unreachable" in found["tls"].text
    assert found["rights"].error is not None
    found = await look(changed(daemon, str(daemon.config.keyring.file), str(tmp_path / "no-keys.json")))
    assert "keyring-missing" in found["keys and directory"].text
    path = changed(daemon, str(daemon.config.directory.cache), str(tmp_path / "no-cache"))
    path.write_text(path.read_text().replace(daemon.config.directory.url, "file:///nowhere"))
    assert "directory-unreachable" in (await look(path))["keys and directory"].text


async def test_a_daemon_that_tells_anybody_how_it_is_is_told(daemon: Daemon) -> None:
    for listen, level in (("0.0.0.0:9464", Level.WARN), ("[::1]:9464", Level.OK), ("localhost:9464", Level.OK)):
        path = changed(daemon, "127.0.0.1:0", listen)
        assert checks._metrics(config.load(path)).level is level


def test_a_clock_that_is_behind_fails_and_one_that_hears_nothing_warns() -> None:
    now = time.time_ns() // 1000
    assert checks._clock(now - 30_000_000, now).level is Level.OK
    assert checks._clock(now + 60_000_000, now).level is Level.FAIL
    assert checks._clock(now - 3600_000_000, now).level is Level.WARN
    assert checks._clock(0, now).level is Level.WARN


@pytest.mark.parametrize(("days", "level"), [(-1, Level.FAIL), (3, Level.WARN), (30, Level.OK)])
def test_what_ends_soon_warns_and_what_has_ended_fails(days: int, level: Level) -> None:
    now = time.time_ns() // 1000
    assert checks._left(now + days * 86_400_000_000, now)[0] is level
