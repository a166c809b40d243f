"""Read a test vector as a reader of the bus does: the thirteen steps, in memory."""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from agencybus import lineage
from agencybus.errors import RecordError
from agencybus.seal import grant, opener
from agencybus.seal.grant import AudienceKey
from agencybus.wire.headers import FrameHeader, LineageHeader
from vectors import world
from vectors.events import CODEC

FOLDER = Path(__file__).parent / "v1"


@dataclass
class Vector:
    """A record with what a reader must say of it.

    Attributes:
        name: file name without suffix.
        comment: a sentence.
        expect: `events`, `skipped`, `duplicate`, `checkpoint`, `grant`, or `refused`.
        step: the step that refuses; 0 otherwise.
        code: the code of the refusal, or of what is reported.
        place: topic/partition where the record is found.
        arrived: when the broker took it, as the broker says, µs since the epoch; 0 if nobody knows.
        reader: who reads.
        after: vectors that the reader took before.
        key: hex of the audience key that the reader was granted by `granted`; none if empty.
        record: the bytes.
    """

    name: str
    comment: str
    expect: str
    record: bytes
    step: int = 0
    code: str = ""
    place: str = f"{world.CHANNEL}/0"
    arrived: int = 0
    reader: str = world.FGR
    after: list[str] = field(default_factory=list)
    key: AudienceKey | None = field(default_factory=world.audience_key)

    def dump(self) -> str:
        """The file: header lines, an empty line, the record in base64."""
        key = self.key
        granted = (
            f"{key.key.hex()} {key.id.hex()} {key.endpoint} {key.audience.hex()} {key.epoch_start} {key.epoch_end}"
            if key
            else "none"
        )
        lines = {
            "comment": self.comment,
            "expect": self.expect,
            "step": str(self.step or ""),
            "code": self.code,
            "place": self.place,
            **({"arrived": str(self.arrived)} if self.arrived else {}),
            "reader": self.reader,
            "after": " ".join(self.after),
            "key": granted,
        }
        head = "".join(f"{name}: {value}".rstrip() + "\n" for name, value in lines.items())
        return f"{head}\n" + textwrap.fill(base64.b64encode(self.record).decode(), 120) + "\n"

    @classmethod
    def load(cls, path: Path) -> Vector:
        head, _, body = path.read_text().partition("\n\n")
        lines = dict(line.split(":", 1) for line in head.splitlines())
        fields = {name: value.strip() for name, value in lines.items()}
        return cls(
            name=path.stem,
            comment=fields["comment"],
            expect=fields["expect"],
            record=base64.b64decode(body),
            step=int(fields["step"] or 0),
            code=fields["code"],
            place=fields["place"],
            arrived=int(fields.get("arrived", "0")),
            reader=fields["reader"],
            after=fields["after"].split(),
            key=None if fields["key"] == "none" else _key(fields["key"]),
        )


def _key(text: str) -> AudienceKey:
    key, key_id, endpoint, audience, start, end = text.split()
    return AudienceKey(
        bytes.fromhex(key), bytes.fromhex(key_id), endpoint, bytes.fromhex(audience), int(start), int(end)
    )


class MemoryReader:
    """A reader's heads and windows, and nothing else."""

    def __init__(self) -> None:
        self.heads: dict[lineage.LineageId, lineage.Head] = {}
        self.windows: dict[lineage.LineageId, dict[int, lineage.Known]] = {}

    def take(self, vector: Vector) -> tuple[str, int, str]:
        """What the reader says: (expect, step, code)."""
        try:
            return self._take(vector)
        except RecordError as error:
            return "refused", int(error.step), error.code

    def _take(self, vector: Vector) -> tuple[str, int, str]:
        channel, _, partition = vector.place.rpartition("/")
        place = opener.Place(world.REALM, channel, int(partition))
        authentic = opener.authenticate(
            vector.record, place, world.FixedView(), now=world.NOW, arrived_at=vector.arrived
        )
        record, header = authentic.record, authentic.record.header
        if not isinstance(header, LineageHeader):
            opened = grant.open_grant(record, vector.reader, [world.KEMS[vector.reader]])
            return ("grant" if opened == vector.key else "skipped"), 0, ""
        lineage_id = lineage.lineage_of(header)
        window = self.windows.setdefault(lineage_id, {})
        outcome = lineage.advance(
            self.heads.get(lineage_id), window, header, record.digest, started_at=world.NOW - world.DAY
        )
        self.heads[lineage_id] = outcome.head
        window.update(outcome.learned)
        reported = " ".join(finding.code for finding in outcome.findings)
        if outcome.duplicate:
            return "duplicate", 0, ""
        if not isinstance(header, FrameHeader):
            return "checkpoint", 0, reported
        audience = opener.entitle(authentic)
        if vector.reader not in audience.endpoints:
            return "skipped", 0, reported
        for event in opener.unseal(authentic, audience, vector.key, CODEC):
            opener.decode(header, event, CODEC)
        return "events", 0, reported
