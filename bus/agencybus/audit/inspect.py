"""Inspect: what every step says of one record, for people who may not read it, and what its header says to all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agencybus import lineage
from agencybus.directory import policy
from agencybus.directory.views import DirectoryView
from agencybus.errors import RecordError, Step
from agencybus.seal import opener
from agencybus.wire import envelope
from agencybus.wire.headers import FrameHeader, Header, LineageHeader

NEEDS_KEY: Final = frozenset({Step.AUDIENCE_KEY, Step.DECRYPT, Step.UNPACK, Step.COMMITMENT, Step.DECODE})


class Line(msgspec.Struct, frozen=True):
    """What one step says.

    Attributes:
        step: its number.
        name: its name.
        verdict: `passed`, `refused`, `not reached`, `not applicable` or `needs a key`.
        text: a sentence, or the code and reason of a refusal.
    """

    step: int
    name: str
    verdict: str
    text: str = ""


class Inspection(msgspec.Struct, frozen=True):
    """A record, looked at.

    Attributes:
        size: its bytes.
        kind: frame, checkpoint or grant; empty if the envelope does not open.
        digest: its identity, hex.
        header: field → value, as the record says; not verified unless steps 1 to 5 passed.
        steps: what each step says.
        audience: the endpoints that may read a frame, if steps 1 to 8 passed.
    """

    size: int
    kind: str
    digest: str
    header: dict[str, Any]
    steps: tuple[Line, ...]
    audience: tuple[str, ...] = ()

    @property
    def refused(self) -> Line | None:
        """The step that refuses it."""
        return next((line for line in self.steps if line.verdict == "refused"), None)


def inspect(
    raw: bytes, place: opener.Place, view: DirectoryView, *, now: int, before: Sequence[bytes] = ()
) -> Inspection:
    """Run the steps that need no decryption key.

    Args:
        raw: the record.
        place: where it was found.
        view: the known directories.
        now: µs since the epoch.
        before: earlier records of the same partition, oldest first: what the lineage is judged by.
    """
    lines: dict[Step, Line] = {}
    audience: tuple[str, ...] = ()
    try:
        authentic = opener.authenticate(raw, place, view, now=now)
        for step in range(Step.LAYOUT, Step.AUTHORITY + 1):
            lines[Step(step)] = _line(Step(step), "passed")
        header = authentic.record.header
        if isinstance(header, LineageHeader):
            lines[Step.LINEAGE] = _follow(authentic, place, view, before, now)
        if isinstance(header, FrameHeader):
            audience = opener.entitle(authentic).endpoints
            lines[Step.ENTITLEMENT] = _line(Step.ENTITLEMENT, "passed", f"{len(audience)} endpoints may read it")
        rest = "needs a key"
    except RecordError as error:
        for step in range(Step.LAYOUT, error.step):
            lines.setdefault(Step(step), _line(Step(step), "passed"))
        lines[error.step] = _line(error.step, "refused", f"{error.code}: {error.what}")
        rest = "not reached"
    steps = tuple(lines.get(step) or _rest(step, rest) for step in Step)
    kind, digest, fields = _shown(raw, place)
    return Inspection(len(raw), kind, digest, fields, steps, audience)


def rulings(raw: bytes, place: opener.Place, view: DirectoryView, *, now: int) -> list[policy.Ruling]:
    """For a frame that passes steps 1 to 6: every endpoint with yes or no and the rule.

    Raises:
        RecordError: a step refuses it.
    """
    authentic = opener.authenticate(raw, place, view, now=now)
    header = authentic.record.header
    if not isinstance(header, FrameHeader) or authentic.label is None:
        return []
    return policy.explain(
        authentic.directory, header.endpoint, header.type, authentic.label, header.programme, header.sealed_at
    )


def _line(step: Step, verdict: str, text: str = "") -> Line:
    return Line(int(step), step.name.lower().replace("_", " "), verdict, text)


def _rest(step: Step, rest: str) -> Line:
    if rest == "needs a key" and step not in NEEDS_KEY:
        return _line(step, "not applicable")
    return _line(step, rest)


def _follow(
    authentic: opener.Authentic, place: opener.Place, view: DirectoryView, before: Sequence[bytes], now: int
) -> Line:
    """Step 7, by the records before; alone, a record can only be said to join midway."""
    header = authentic.record.header
    assert isinstance(header, LineageHeader)
    name, head, window = lineage.lineage_of(header), None, dict[int, lineage.Known]()
    for earlier in before:
        try:
            record = opener.authenticate(earlier, place, view, now=now).record
            if not isinstance(record.header, LineageHeader) or lineage.lineage_of(record.header) != name:
                continue
            outcome = lineage.advance(head, window, record.header, record.digest, started_at=now)
        except RecordError:
            continue
        head = outcome.head
        window |= outcome.learned
    outcome = lineage.advance(head, window, header, authentic.record.digest, started_at=now)
    if outcome.duplicate:
        return _line(Step.LINEAGE, "passed", "a duplicate: the same record came before; readers drop it")
    if head is None:
        start = "the lineage's first record" if header.sequence == 0 else "the record before it was not looked at"
        return _line(Step.LINEAGE, "passed", f"record {header.sequence}: {start}")
    said = "; ".join(f"{finding.code}: {finding.text}" for finding in outcome.findings)
    return _line(Step.LINEAGE, "passed", said or f"record {header.sequence} follows record {head.sequence}")


def _shown(raw: bytes, place: opener.Place) -> tuple[str, str, dict[str, Any]]:
    try:
        record = envelope.split(raw, place.kinds)
    except RecordError:
        return "", "", {}
    return record.header.kind_name, record.digest.hex(), _plain(record.header)


def _plain(header: Header) -> dict[str, Any]:
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()} | (
        {"recipients": [{"endpoint": line.endpoint, "kem_key_id": line.kem_key_id.hex()} for line in lines]}
        if (lines := fields.get("recipients"))
        else {}
    )
