"""Files of events cut into pieces: the same ones, however they are read, and damage ends with the event that has it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agencybus.codec.codec import JSON_BYTES
from agencybus.errors import ConfigError
from agencybus.publishing import files
from agencybus.publishing.files import Piece, Splitter, batches

PRETTY = b'{\n  "a": "x}{",\n  "b": [\n    {"c": 1}\n  ]\n}\n'


def cut(data: bytes, *, step: int = 1 << 20) -> list[tuple[int, bytes]]:
    """Line and content of each piece, read in blocks of so many bytes."""
    splitter = Splitter("f")
    found: list[Piece] = []
    for start in range(0, len(data), step):
        found += splitter.feed(data[start : start + step])
    found += splitter.end()
    assert {piece.source for piece in found} <= {"f"}
    return [(piece.line, piece.data) for piece in found]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b" \n\r\n\t\n", []),
        (b'{"a":1}', [(1, b'{"a":1}')]),
        (b'{"a":1}\n{"a":2}\r\n\n{"a":3}\n', [(1, b'{"a":1}'), (2, b'{"a":2}'), (4, b'{"a":3}')]),
        (b'\xef\xbb\xbf{"a":1}\n', [(1, b'{"a":1}')]),
        (PRETTY * 2, [(1, PRETTY.rstrip()), (7, PRETTY.rstrip())]),
        (b'{"a": "cut off\n{"a":2}\n', [(1, b'{"a": "cut off'), (2, b'{"a":2}')]),
        (b'{"a": [1,\n{"a":2}\n', [(1, b'{"a": [1,'), (2, b'{"a":2}')]),
        (b'{"a":1}\ngarbage\n{"a":2}\n', [(1, b'{"a":1}'), (2, b"garbage"), (3, b'{"a":2}')]),
        (b'{"a":1}}\n{"a":2}\n', [(1, b'{"a":1}}'), (2, b'{"a":2}')]),
        (b'[{"a":1},\n{"a":2}]\n', [(1, b'[{"a":1},'), (2, b'{"a":2}]')]),
        (b'{"a": "\\\\"}\n{"b": "\\"}"}\n', [(1, b'{"a": "\\\\"}'), (2, b'{"b": "\\"}"}')]),
    ],
)
def test_an_event_ends_where_its_brackets_do_or_where_a_line_begins_another(
    data: bytes, expected: list[tuple[int, bytes]]
) -> None:
    assert cut(data) == expected
    assert cut(data, step=1) == expected


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.lists(st.tuples(st.dictionaries(st.text(), _VALUES, max_size=4), st.sampled_from([None, 1, 3])), max_size=5),
    st.integers(1, 50),
)
def test_whatever_objects_a_file_holds_one_a_line_or_indented_each_comes_out_whole(
    written: list[tuple[dict[str, object], int | None]], step: int
) -> None:
    data = b"".join(json.dumps(value, indent=indent).encode() + b"\n" for value, indent in written)
    assert [json.loads(piece) for _, piece in cut(data, step=step)] == [value for value, _ in written]


@given(st.binary(), st.integers(1, 20))
def test_any_bytes_are_cut_the_same_however_they_are_read(data: bytes, step: int) -> None:
    assert cut(data, step=step) == cut(data)


def test_a_line_beyond_the_bound_is_cut_and_what_follows_it_is_whole() -> None:
    data = b'{"a":"' + b"x" * (3 * JSON_BYTES) + b'"}\n{"a":2}\n'
    for step in (1 << 16, 1 << 24):
        (_, large), after = cut(data, step=step)
        assert len(large) == JSON_BYTES + 1
        assert after == (2, b'{"a":2}')


def test_an_endless_object_over_many_lines_does_not_gather_in_memory() -> None:
    splitter = Splitter("f")
    for _ in range(200):
        assert not list(splitter.feed(b'"x",' * 4000 + b"\n" if splitter._held else b'{"a": [\n'))
        assert splitter._size < 2 * JSON_BYTES
    (piece,) = splitter.end()
    assert len(piece.data) == JSON_BYTES + 1


def test_files_are_read_one_after_the_other_in_batches_of_bounded_size(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(b'{"a":1}\n' * 5000)
    found = list(batches(paths))
    assert sum(len(batch.pieces) for batch in found) == 10_000
    assert max(len(batch.pieces) for batch in found) < files.BATCH_PIECES + files.BLOCK_BYTES // 8
    assert [batch.read for batch in found] == sorted(batch.read for batch in found)
    assert found[-1].read == files.size(paths) == 80_000
    assert {piece.source for piece in found[-1].pieces} == {str(paths[1])}


def test_what_a_pipe_gave_is_handed_on_while_it_is_silent_and_a_stop_ends_the_wait() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b'{"a":1}\n{"a":')
        stop = threading.Event()
        coming = batches([Path(f"/dev/fd/{reading}")], stop)
        assert [piece.data for piece in next(coming).pieces] == [b'{"a":1}']
        threading.Timer(0.05, stop.set).start()
        assert next(coming, None) is None
    finally:
        os.close(reading)
        os.close(writing)


def test_a_file_that_cannot_be_read_is_a_documented_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="source-unreadable"):
            list(batches([path]))
    assert files.size([tmp_path / "absent"]) is None
