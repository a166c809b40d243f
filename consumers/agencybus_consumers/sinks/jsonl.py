"""Sink `jsonl`: a file with one event per line, each of them once.

    sink = { kind = "jsonl", path = "alerts.jsonl" }

How "once" comes about: one writer (the file is locked); each line carries its event's position; events are done when
the disk has their lines (one fdatasync for all that is at hand: a frame, mostly); and what comes again after a crash is
known by its position. At start the file is scanned, about 1.5 s per GB, for the last position of each partition, and
the torn line at its end, if there is one, is cut off: its event was never done, so it comes again.

The file may be renamed while the daemon runs (logrotate, `create` or not): the next event begins a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final, TypeVar

import structlog

from agencybus.config import Table
from agencybus.errors import SinkError
from agencybus.state.folder import sync_folder
from agencybus.subscribing.delivery import Delivery, Position
from agencybus.wire.limits import MIB
from agencybus_consumers import lines
from agencybus_consumers.sinks import Alarm

BATCH: Final = 4096  # events that share one wait for the disk: a full frame
CLOSE_SECONDS: Final = 5.0
CHUNK_BYTES: Final = MIB  # written at once
LINE_BYTES: Final = 4 * MIB  # no line of ours is longer: an event of 256 KiB, escaped
_HEAD: Final = b'{"position":["'
_POSITION: Final = re.compile(rb'\{"position":\["([^"\\]+)",(\d+),(\d+),(\d+)\],')
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Place = tuple[str, int]
At = tuple[int, int]  # offset, number in the frame: grows within a partition
_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


class JsonlConfig(Table, frozen=True):
    """The table of the sink.

    Attributes:
        path: the file; made with mode 0600 if it is not there.
    """

    path: Path


class JsonlSink:
    """Writes lines. The disk may take its time: all work on the file is done in a thread of the sink's own."""

    Config: ClassVar[type[Table]] = JsonlConfig
    keeps_position: ClassVar[bool] = True
    batch: ClassVar[int] = BATCH

    def __init__(self, config: JsonlConfig, alarm: Alarm) -> None:
        del alarm  # it has no trouble that it deals with itself
        self._path = config.path
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"jsonl {config.path.name}")
        self._file: LineFile | None = None

    async def start(self) -> None:
        """Lock and scan the file, cut a torn line.

        Raises:
            SinkError: sink-locked, sink-foreign, sink-full or sink-failed.
        """
        self._file = await self._work(lambda: LineFile(self._path))

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Write what the file does not have; return when the disk has it.

        Raises:
            SinkError: sink-full or sink-failed; the file is as before.
        """
        file = self._file
        assert file is not None
        await self._work(lambda: file.write(deliveries))

    async def close(self) -> None:
        """Free the file. A disk that hangs is not waited for for ever."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._work(file.close)
        self._worker.shutdown(wait=False)

    async def check(self) -> str:
        """Look whether the file could be written, without touching it."""
        return await self._work(lambda: inspect(self._path))

    async def _work(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)


def inspect(path: Path) -> str:
    """What a check says of a file.

    Raises:
        SinkError: it could not be written, or is not this sink's.
    """
    if not path.exists():
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise SinkError("sink-failed", "its folder is not there, or not writable", where=str(path))
        return f"{path} will be made"
    if not os.access(path, os.W_OK):
        raise SinkError("sink-failed", "it is not writable", where=str(path))
    with path.open("rb") as file:
        lines_ = sum(1 for _ in _positions(file.fileno(), path))
    return f"{path} holds {lines_} lines"


class LineFile:
    """An open file of lines, locked, with what is known of its content.

    Args:
        path: the file.

    Raises:
        SinkError: as `JsonlSink.start`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[Place, At] = {}  # the highest position of each partition, also of files renamed meanwhile
        self._behind: dict[Place, tuple[int, set[At]]] = {}  # from which offset on, all positions: see `_has`
        self._open()

    def close(self) -> None:
        """Free the file."""
        os.close(self._handle)

    def write(self, deliveries: Sequence[Delivery]) -> None:
        """Append the lines that are not there yet; on return the disk has them.

        Raises:
            SinkError: sink-full or sink-failed; the file is as before.
        """
        with _coded(self._path):
            self._follow_rename()
            new = [delivery for delivery in deliveries if not self._has(delivery.position)]
            if not new:
                return
            try:
                self._append(new)
            except OSError:
                os.ftruncate(self._handle, self._size)  # if this fails too, the next start cuts the torn line
                raise
        for delivery in new:
            self._note(_place(delivery.position), _at(delivery.position))

    # --- inside

    def _open(self) -> None:
        new = not self._path.exists()
        with _coded(self._path):
            flags = (
                os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            )  # no waiting for a pipe's reader
            self._handle = os.open(self._path, flags, 0o600)
        try:
            with _coded(self._path):
                self._take()
                if new:
                    sync_folder(self._path.parent)
        except BaseException:
            os.close(self._handle)
            raise

    def _take(self) -> None:
        """Lock the file, learn what it holds, cut what is torn."""
        status = os.fstat(self._handle)
        if not stat.S_ISREG(status.st_mode):
            raise SinkError("sink-foreign", "it is no regular file", where=str(self._path))
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SinkError("sink-locked", "somebody else writes this file", where=str(self._path)) from None
        self._size = 0
        for place, at, end in _positions(self._handle, self._path):
            self._last[place] = max(at, self._last.get(place, at))
            self._size = end
        torn = os.fstat(self._handle).st_size - self._size
        if torn:
            os.ftruncate(self._handle, self._size)
            os.fsync(self._handle)
            _log.warning("torn-line-cut", path=str(self._path), bytes=torn)

    def _follow_rename(self) -> None:
        """Begin a new file if the old one was moved away or deleted."""
        try:
            there: os.stat_result | None = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._handle)):
            _log.info("file-renamed", path=str(self._path))
            os.close(self._handle)
            self._open()

    def _append(self, deliveries: Sequence[Delivery]) -> None:
        size, chunk = self._size, bytearray()
        for delivery in deliveries:
            chunk += lines.encode(delivery, redelivered=False)
            if len(chunk) >= CHUNK_BYTES:
                size += _write_all(self._handle, chunk)
                chunk.clear()
        size += _write_all(self._handle, chunk)
        os.fdatasync(self._handle)
        self._size = size

    def _has(self, position: Position) -> bool:
        """Whether the file has an event.

        Within a partition, positions grow line by line, but for what comes out of quarantine later. Only such events,
        and those that come again because the state was set back, are behind the last one: then the file is asked.
        """
        place, at = _place(position), _at(position)
        last = self._last.get(place)
        if last is None or at > last:
            return False
        if at == last:
            return True
        floor, known = self._behind.get(place, (at[0] + 1, set[At]()))
        if at[0] < floor:
            found = _positions(self._handle, self._path)
            known = {other for where, other, _ in found if where == place and other[0] >= at[0]}
            self._behind[place] = (at[0], known)
        return at in known

    def _note(self, place: Place, at: At) -> None:
        self._last[place] = max(at, self._last.get(place, at))
        if place in self._behind:
            self._behind[place][1].add(at)


def _place(position: Position) -> Place:
    return position.topic, position.partition


def _at(position: Position) -> At:
    return position.offset, position.number


def _positions(handle: int, path: Path) -> Iterator[tuple[Place, At, int]]:
    """Place, position and end of every whole line. What follows the last one is torn.

    Raises:
        SinkError: sink-foreign: the file holds something else.
    """
    end = 0
    with open(handle, "rb", buffering=MIB, closefd=False) as file:
        file.seek(0)
        for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES), b""), 1):
            found = _POSITION.match(line)
            if found is None or not line.endswith(b"}\n"):
                if _torn(line) and not file.read(1):
                    return
                raise SinkError("sink-foreign", f"line {number} is none of this sink's", where=str(path))
            end += len(line)
            yield (found[1].decode(), int(found[2])), (int(found[3]), int(found[4])), end


def _torn(line: bytes) -> bool:
    """Whether it is the beginning of a line of ours; after a loss of power zeros may stand for what did not arrive."""
    written = line.rstrip(b"\x00")
    return not line.endswith(b"\n") and len(line) < LINE_BYTES and written[: len(_HEAD)] == _HEAD[: len(written)]


def _write_all(handle: int, data: bytearray) -> int:
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.write(handle, view[done:])
    view.release()
    return done


@contextlib.contextmanager
def _coded(path: Path) -> Iterator[None]:
    """Turn errors of the file system into SinkError."""
    try:
        yield
    except OSError as error:
        code = "sink-full" if error.errno in _FULL else "sink-failed"
        raise SinkError(code, error.strerror or "the file system refused", where=str(path)) from error
