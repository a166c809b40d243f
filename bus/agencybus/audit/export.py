"""Events of a replay in a file, one line of JSON each. Two exports of one range are the same, byte by byte.

    {"position":["us.fbi.fugitives.routine",0,17,0],"type":"alert","label":"…","sealed":{"by":"us.fbi/wanted",…},"event":{…}}

The file appears under its name when it is whole, and only its owner may read it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from agencybus.audit.replay import Replayed
from agencybus.errors import ConfigError
from agencybus.subscribing.delivery import Position
from agencybus.subscribing.sealed import Sealed
from agencybus.wire.limits import MIB
from agencybus_schemas.events import Event

BUFFER_BYTES: Final = MIB
_ENCODER: Final = msgspec.json.Encoder()


class Line(msgspec.Struct, frozen=True):
    """One line.

    Attributes:
        position: topic, partition, offset, number in the frame.
        type: event type.
        label: how it is marked.
        sealed: who vouches for it.
        event: its fields.
    """

    position: Position
    type: str
    label: str
    sealed: Sealed
    event: Event


class Export:
    """A file that is being written.

    Args:
        path: its name when it is whole.

    Raises:
        ConfigError: `export-unwritable`: it is there already, or can't be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unfinished = path.with_name(f"{path.name}.partial")
        self._lines: list[bytes] = []
        self._size = 0
        with _coded(path):
            if path.exists():
                raise FileExistsError(17, "there is such a file already")
            self._handle = os.open(self.unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def write(self, found: Replayed) -> None:
        """Add an event.

        Raises:
            ConfigError: `export-unwritable`, such as for a full disk.
        """
        header = found.header
        line = _ENCODER.encode(Line(found.position, header.type, header.label, Sealed.of(header), found.event)) + b"\n"
        self._lines.append(line)
        self._size += len(line)
        if self._size >= BUFFER_BYTES:
            self._flush()

    def finish(self) -> None:
        """Give the file its name, once all of it is on the disk.

        Raises:
            ConfigError: `export-unwritable`: what there is stays under the name of `unfinished`.
        """
        self._flush()
        with _coded(self.path):
            os.fsync(self._handle)
            self.unfinished.rename(self.path)

    def close(self) -> None:
        """Stop. If it is not finished, what there is stays under the name of `unfinished`."""
        with suppress(ConfigError):  # whoever ends early has a reason that counts more
            self._flush()
        empty = os.fstat(self._handle).st_size == 0
        os.close(self._handle)
        if empty:
            self.unfinished.unlink(missing_ok=True)

    def _flush(self) -> None:
        data, self._lines, self._size = b"".join(self._lines), [], 0
        with _coded(self.unfinished):
            while data:
                data = data[os.write(self._handle, data) :]


@contextmanager
def _coded(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError("export-unwritable", error.strerror or "can't be written", where=str(path)) from None
