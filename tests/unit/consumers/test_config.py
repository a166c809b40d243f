"""`daemon.toml`: what is wrong in it is told by file, key and reason, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from agencybus.cli import main
from agencybus.cli.exits import Exit
from agencybus.errors import ConfigError
from agencybus_consumers import config, sinks
from agencybus_consumers.sinks.exec import ExecSink
from agencybus_consumers.sinks.jsonl import JsonlSink

GOOD = """\
endpoint = "mx.fgr/watch-floor"
state = "daemon-state"
start = "earliest"

[keyring]
file = "keys.json"

[directory]
root = "root.json"
url = "https://directory.example/"
cache = "directory"

[kafka]
bootstrap = "kafka.example:9093"
ca = "ca.pem"
cert = "cert.pem"
key = "key.pem"

[metrics]
listen = "127.0.0.1:9464"

[[routes]]
name = "case-files"
ceiling = "MEX RESERVADA//SIGILO"
types = ["alert"]
programmes = ["fugitives"]
sink = { kind = "jsonl", path = "out/case-files.jsonl" }

[[routes]]
name = "screen"
ceiling = "MEX PUBLICA"
start = 2026-01-01T00:00:00Z
sink = { kind = "exec", command = ["/usr/local/bin/screen"], acknowledge = false, patience-seconds = 5 }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "daemon.toml"


def test_each_route_has_a_reader_of_its_own_under_the_daemons_state(path: Path) -> None:
    path.write_text(GOOD)
    loaded = config.load(path)
    first, second = (loaded.subscriber(route) for route in loaded.routes)
    assert first.state == path.parent / "daemon-state/routes/case-files"
    assert (first.types, first.programmes) == (("alert",), ("fugitives",))
    assert second.state == path.parent / "daemon-state/routes/screen"
    assert first.start is not None
    assert second.start is not None
    assert (first.start.position, second.start.position) == ("earliest", 1_767_225_600_000_000)


def test_a_sink_is_made_by_its_kind_and_its_paths_are_relative_to_the_file(path: Path) -> None:
    path.write_text(GOOD)
    routes = config.load(path).routes
    made = [sinks.make(route.sink, lambda _c, _w: None, path=path, route=route.name) for route in routes]
    assert isinstance(made[0], JsonlSink)
    assert made[0]._path == path.parent / "out/case-files.jsonl"
    assert isinstance(made[1], ExecSink)
    assert (made[1]._config.acknowledge, made[1]._config.patience_seconds) == (False, 5.0)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('start = "earliest"', 'strat = "earliest"', "strat"),
        ('types = ["alert"]', 'tpyes = ["alert"]', "tpyes"),
        ('listen = "127.0.0.1:9464"', 'listne = "127.0.0.1:9464"', "listne"),
        ('listen = "127.0.0.1:9464"', 'listen = "nowhere"', "host:port"),
        ('name = "screen"', 'name = "case-files"', "two routes are called case-files"),
        ('name = "screen"', 'name = "../up"', "name"),
        ('ceiling = "MEX PUBLICA"', 'ceiling = "PUBLICA"', "route screen: ceiling"),
        ('ceiling = "MEX PUBLICA"\n', "", "ceiling"),
        ('start = "earliest"', 'start = "yesterday"', "earliest, now, or a time"),
        ("[[routes]]", "[[rotues]]", "rotues"),
        ('endpoint = "mx.fgr/watch-floor"', "endpoint = ", ""),
    ],
)
def test_what_is_wrong_is_named(path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as wrong:
        config.load(path)
    assert wrong.value.code == "config-invalid"
    assert told in str(wrong.value)


def test_a_daemon_without_a_route_is_refused(path: Path) -> None:
    path.write_text(GOOD.partition("[[routes]]")[0])
    with pytest.raises(ConfigError, match="routes"):
        config.load(path)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"kind": "carrier-pigeon"}, "known are exec, jsonl"),
        ({"path": "x"}, "known are exec, jsonl"),
        ({"kind": ["exec"]}, "known are exec, jsonl"),
        ({"kind": "jsonl"}, "path"),
        ({"kind": "jsonl", "path": "x", "fsync": False}, "fsync"),
        ({"kind": "jsonl", "path": ""}, "path"),
        ({"kind": "exec", "command": []}, "command"),
        ({"kind": "exec", "command": "tool --stdin"}, "command"),
        ({"kind": "exec", "command": ["tool"], "acknowledge": "no"}, "acknowledge"),
        ({"kind": "exec", "command": ["tool"], "patience-seconds": 0}, "patience"),
    ],
)
def test_a_wrong_sink_is_named_with_its_route(path: Path, table: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        sinks.make(table, lambda _c, _w: None, path=path, route="screen")
    assert wrong.value.code == "config-invalid"
    assert told in wrong.value.what
    assert wrong.value.where == f"{path}: route screen: sink"


@pytest.mark.parametrize("words", ["daemon run", "daemon check", "daemon status", "quarantine list"])
def test_every_command_tells_an_unknown_key_with_the_code_for_setup(
    path: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(GOOD.replace('types = ["alert"]', 'tpyes = ["alert"]'))
    assert main([*words.split(), "--config", str(path)]) == Exit.SETUP
    told = capsys.readouterr()
    assert (told.out, "config-invalid" in told.err, "tpyes" in told.err) == ("", True, True)
    assert "Traceback" not in told.err


def test_a_file_that_is_not_there_is_told(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["daemon", "run"], ["quarantine", "list"], ["consume"]):
        assert main([*words, "--config", str(path)]) == Exit.SETUP
        assert str(path) in capsys.readouterr().err


def test_the_state_of_a_daemon_that_never_ran_is_no_error(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(GOOD)
    assert main(["daemon", "status", "--config", str(path)]) == Exit.FINDINGS
    assert "no daemon runs" in capsys.readouterr().out
    assert main(["quarantine", "list", "--config", str(path)]) == Exit.DONE
    assert "nothing is in quarantine" in capsys.readouterr().out


def test_a_quarantine_of_several_routes_asks_for_one(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(GOOD)
    assert main(["quarantine", "discard", "1", "--why", "no", "--config", str(path)]) == Exit.USAGE
    assert "--route" in capsys.readouterr().err
    wrong = ["quarantine", "discard", "1", "--why", "no", "--config", str(path), "--route", "nowhere"]
    assert main(wrong) == Exit.USAGE
    assert "case-files, screen" in capsys.readouterr().err
