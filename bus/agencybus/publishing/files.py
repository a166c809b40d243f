"""Events in files: JSON objects one after another, with the line where each begins. No file is ever held whole.

An event ends where its brackets balance, or in front of a line that begins with `{`. So one event a line (JSON Lines)
and events over many lines (a template, filled in) both work, and one that is cut off does not swallow those behind it.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from agencybus.codec.codec import JSON_BYTES
from agencybus.errors import ConfigError
from agencybus.wire.limits import KIB, MIB

STDIN: Final = Path("-")
BLOCK_BYTES: Final = 64 * KIB  # read at once
BATCH_PIECES: Final = 4096  # handed on at once: a full frame
BATCH_BYTES: Final = 8 * MIB  # the same, of big events
LOOK_SECONDS: Final = 0.2  # between two looks whether to stop, while a pipe gives nothing

_BOM: Final = b"\xef\xbb\xbf"
# A text, also one that the line's end cuts off: the brackets in it don't count.
_TEXT: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Piece:
    """What should be one event.

    Attributes:
        source: name of the file.
        line: number of the line where it begins.
        data: its bytes; of one that is too large, the beginning and one byte more than is allowed.
    """

    source: str
    line: int
    data: bytes


class Splitter:
    """Cuts what is read from one file into pieces.

    Args:
        source: name of the file.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._tail = b""  # of a line whose end has not come
        self._number = 0
        self._held: list[bytes] = []
        self._size = 0
        self._depth = 0
        self._began = 0

    def feed(self, block: bytes) -> Iterator[Piece]:
        """Take what was read next, in pieces of any size."""
        if len(self._tail) > JSON_BYTES:  # the rest of such a line is not kept
            end = block.find(b"\n")
            if end < 0:
                return
            block = block[end:]
        *lines, self._tail = (self._tail + block).split(b"\n")
        for line in lines:
            yield from self._line(line + b"\n")

    def end(self) -> Iterator[Piece]:
        """The file has ended."""
        tail, self._tail = self._tail, b""
        if tail:
            yield from self._line(tail)
        yield from self._piece()

    def _line(self, line: bytes) -> Iterator[Piece]:
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(_BOM)
        if self._held and line.startswith(b"{"):
            yield from self._piece()
        if not self._held:
            if not line.strip():
                return
            self._began = self._number
        if self._size <= JSON_BYTES:
            self._held.append(line)
            self._size += len(line)
        self._depth += _depth(line)
        if self._depth <= 0 or len(line) > JSON_BYTES:
            yield from self._piece()

    def _piece(self) -> Iterator[Piece]:
        if self._held:
            yield Piece(self._source, self._began, b"".join(self._held)[: JSON_BYTES + 1].rstrip(b"\r\n"))
        self._held, self._size, self._depth = [], 0, 0


def _depth(line: bytes) -> int:
    """Brackets that a line opens and does not close."""
    with contextlib.suppress(msgspec.DecodeError, RecursionError):  # one event a line: ten times as fast
        msgspec.json.decode(line, type=msgspec.Raw)
        return 0
    bare = _TEXT.sub(b"", line)
    return bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")


@dataclass(frozen=True, slots=True)
class Batch:
    """Pieces that are handed on together.

    Attributes:
        pieces: in order.
        read: bytes of all files that were read so far.
    """

    pieces: list[Piece]
    read: int


def size(paths: Iterable[Path]) -> int | None:
    """Bytes of all files, None if one of them is a pipe."""
    try:
        found = [os.fstat(0) if path == STDIN else path.stat() for path in paths]
    except OSError:
        return None
    return sum(each.st_size for each in found) if all(stat.S_ISREG(each.st_mode) for each in found) else None


def batches(paths: Iterable[Path], stop: threading.Event | None = None) -> Iterator[Batch]:
    """Read files, one after the other; what a pipe has given so far is handed on when it pauses.

    Args:
        paths: files; `-` is standard input.
        stop: set to end early, between two pieces.

    Raises:
        ConfigError: `source-unreadable`.
    """
    stop = stop or threading.Event()
    pieces: list[Piece] = []
    read = held = 0
    for path in paths:
        name = "stdin" if path == STDIN else str(path)
        splitter = Splitter(name)
        with _opened(path, name) as handle:
            while not stop.is_set():
                if not select.select([handle], [], [], 0.0 if pieces else LOOK_SECONDS)[0]:
                    if pieces:
                        yield Batch(pieces, read)
                        pieces, held = [], 0
                    continue
                block = os.read(handle, BLOCK_BYTES)
                read += len(block)
                held += len(block)
                pieces += splitter.feed(block) if block else splitter.end()
                if len(pieces) >= BATCH_PIECES or held >= BATCH_BYTES:
                    yield Batch(pieces, read)
                    pieces, held = [], 0
                if not block:
                    break
        if stop.is_set():
            return
    if pieces:
        yield Batch(pieces, read)


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[int]:
    try:
        handle = os.dup(sys.stdin.fileno()) if path == STDIN else os.open(path, os.O_RDONLY)
        try:
            yield handle
        finally:
            os.close(handle)
    except OSError as error:
        raise ConfigError("source-unreadable", error.strerror or "can't be read", where=name) from None
