"""An export has its name only when it is whole, and belongs to its owner."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agencybus.audit.export import Export
from agencybus.audit.replay import Replayed
from agencybus.errors import ConfigError
from agencybus.subscribing.delivery import Position
from agencybus.wire.envelope import CHANNEL_KINDS, split
from agencybus.wire.headers import FrameHeader
from vectors.events import CODEC
from vectors.reader import FOLDER, Vector


def replayed(number: int) -> Replayed:
    header = split(Vector.load(FOLDER / "frame.txt").record, CHANNEL_KINDS).header
    assert isinstance(header, FrameHeader)
    event = CODEC.from_json("alert", json.dumps(CODEC.template("alert")).encode())
    return Replayed(Position(header.channel, 0, 7, number), header, event, b"")


def test_a_file_that_is_not_finished_keeps_another_name(tmp_path: Path) -> None:
    export = Export(tmp_path / "events.jsonl")
    export.write(replayed(0))
    export.close()
    (left,) = tmp_path.iterdir()
    assert left.name == "events.jsonl.partial"
    assert len(left.read_bytes().splitlines()) == 1
    Export(tmp_path / "nothing.jsonl").close()
    assert list(tmp_path.iterdir()) == [left]


def test_a_finished_file_has_one_line_an_event_and_is_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    export = Export(file)
    for number in range(2000):
        export.write(replayed(0) if number else replayed(1))
    export.finish()
    export.close()
    lines = file.read_bytes().splitlines()
    assert (len(lines), file.stat().st_mode & 0o777) == (2000, 0o600)
    assert lines[1].startswith(b'{"position":["us.fbi.fugitives.routine",0,7,0],"type":"alert","label":"')


def test_nothing_is_overwritten_and_what_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("evidence", encoding="utf-8")
    for path in (tmp_path / "there", tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(ConfigError, match="export-unwritable"):
            Export(path)
    assert (tmp_path / "there").read_text(encoding="utf-8") == "evidence"


def test_a_full_disk_is_a_documented_error(tmp_path: Path) -> None:
    export = Export(tmp_path / "events.jsonl")
    export._handle = _full(export)
    export.write(replayed(0))
    with pytest.raises(ConfigError, match="No space left"):
        export.finish()
    export.close()


def _full(export: Export) -> int:
    """The file's handle, on a device without room."""
    os.close(export._handle)
    return os.open("/dev/full", os.O_WRONLY)
