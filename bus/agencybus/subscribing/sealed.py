"""Who vouches for an event, as the lines of sinks and exports say it."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import msgspec

from agencybus.codec.profile import instant
from agencybus.wire.headers import FrameHeader


class Sealed(msgspec.Struct, frozen=True):
    """Who vouches for an event, by the verified header of its frame.

    Attributes:
        by: the endpoint that sealed it.
        writer: which of its processes.
        sequence: number of the frame in its lineage.
        at: when it was sealed.
        directory: digest of the directory whose rules it obeyed, hex.
    """

    by: str
    writer: str
    sequence: int
    at: datetime
    directory: str

    @classmethod
    def of(cls, header: FrameHeader) -> Self:
        """What a verified header says."""
        return cls(header.endpoint, header.writer, header.sequence, instant(header.sealed_at), header.directory.hex())
