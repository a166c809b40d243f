"""Inspect: what every step says of one record, for people who may not read it, and what its header says to all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from agencybus import lineage
from agencybus.codec import Codec
from agencybus.directory import policy
from agencybus.directory.policy import Ruling
from agencybus.directory.views import DirectoryView
from agencybus.errors import RecordError, Step
from agencybus.keyring import Keyring
from agencybus.seal import grant, opener
from agencybus.seal.grant import AudienceKey
from agencybus.seal.opener import Authentic, Place
from agencybus.wire import envelope
from agencybus.wire.headers import FrameHeader, GrantHeader, Header, LineageHeader
from agencybus_schemas.events import Event

PASSED: Final = "passed"
REFUSED: Final = "refused"
NOT_REACHED: Final = "not reached"  # a step before it refused the record
NOT_APPLICABLE: Final = "not applicable"  # to this kind of record
NOT_DECIDED: Final = "not decided"  # what it takes is not at hand
NEEDS_KEY: Final = "needs a key"
VERDICTS: Final = (PASSED, REFUSED, NOT_REACHED, NOT_APPLICABLE, NOT_DECIDED, NEEDS_KEY)

_KEYED: Final = (Step.AUDIENCE_KEY, Step.DECRYPT, Step.UNPACK, Step.COMMITMENT, Step.DECODE)


class Line(msgspec.Struct, frozen=True):
    """What one step says.

    Attributes:
        step: its number.
        name: its name.
        verdict: one of `VERDICTS`.
        code: of a refusal, a key of `errors.CODES`; else empty.
        text: a sentence.
    """

    step: int
    name: str
    verdict: str
    code: str = ""
    text: str = ""


class Inspection(msgspec.Struct, frozen=True):
    """A record, looked at.

    Attributes:
        size: its bytes.
        kind: frame, checkpoint or grant; empty if the envelope does not open.
        digest: its identity, hex.
        header: field → value, as the record says.
        verified: whether steps 1 to 5 passed: the header is what its endpoint signed.
        steps: what each step says.
        audience: the endpoints that may read a frame, if steps 1 to 8 passed.
        rulings: of a frame that passed steps 1 to 6, every endpoint with yes or no and the rule.
        events: the events, if they were opened.
    """

    size: int
    kind: str
    digest: str
    header: dict[str, Any]
    verified: bool
    steps: tuple[Line, ...]
    audience: tuple[str, ...] = ()
    rulings: tuple[Ruling, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def refused(self) -> Line | None:
        """The step that refuses it."""
        return next((line for line in self.steps if line.verdict == REFUSED), None)


@dataclass(frozen=True, slots=True)
class Opening:
    """What it takes to run the steps behind the eighth.

    Attributes:
        keyring: of the endpoint that reads.
        key: the audience key of an id that an endpoint granted, None if there is none.
        codec: the event types.
    """

    keyring: Keyring
    key: Callable[[bytes, str], AudienceKey | None]
    codec: Codec


def inspect(
    raw: bytes,
    place: Place,
    view: DirectoryView,
    *,
    now: int,
    arrived_at: int = 0,
    before: Sequence[bytes] = (),
    opening: Opening | None = None,
) -> Inspection:
    """Run the steps: those that need no decryption key, and with one the others as well.

    Args:
        raw: the record.
        place: where it was found.
        view: the known directories.
        now: µs since the epoch.
        arrived_at: when the broker took it, µs since the epoch, as the broker says; 0 if nobody knows.
        before: earlier records of the same partition, oldest first: what the lineage is judged by.
        opening: the key; None to stop behind step 8.
    """
    look = _Look(raw, place, view, now, arrived_at)
    try:
        look.run(before, opening)
    except RecordError as error:
        look.say(error.step, REFUSED, error.what, error.code)
    return look.said()


@dataclass(slots=True)
class _Look:
    """One record, step by step."""

    raw: bytes
    place: Place
    view: DirectoryView
    now: int
    arrived_at: int
    lines: dict[Step, Line] = field(default_factory=dict)
    audience: tuple[str, ...] = ()
    rulings: tuple[Ruling, ...] = ()
    events: tuple[Event, ...] = ()

    def say(self, step: Step, verdict: str, text: str = "", code: str = "") -> None:
        """What a step says; that it says anything means that all before it passed."""
        for earlier in Step:
            if earlier < step:
                self.lines.setdefault(earlier, _line(earlier, PASSED))
        self.lines[step] = _line(step, verdict, text, code)

    def run(self, before: Sequence[bytes], opening: Opening | None) -> None:
        authentic = opener.authenticate(self.raw, self.place, self.view, now=self.now, arrived_at=self.arrived_at)
        self.say(Step.AUTHORITY, PASSED)
        match authentic.record.header:
            case FrameHeader() as header:
                self._follow(authentic, header, before)
                self._frame(authentic, header, opening)
            case LineageHeader() as header:
                self._follow(authentic, header, before)
                self._not_for_this_kind(Step.ENTITLEMENT, *_KEYED)
            case _:
                self._not_for_this_kind(Step.LINEAGE, Step.ENTITLEMENT, *_KEYED[1:])
                self._grant(authentic, opening)

    def _not_for_this_kind(self, *steps: Step) -> None:
        for step in steps:
            self.lines[step] = _line(step, NOT_APPLICABLE)

    def _follow(self, authentic: Authentic, header: LineageHeader, before: Sequence[bytes]) -> None:
        """Step 7, by the records before. Without the one in front of it only the first record can be judged."""
        name, head, window = lineage.lineage_of(header), None, dict[int, lineage.Known]()
        for earlier in before:
            try:
                if not _of_lineage(earlier, self.place, name):
                    continue
                record = opener.authenticate(earlier, self.place, self.view, now=self.now).record
                assert isinstance(record.header, LineageHeader)
                outcome = lineage.advance(head, window, record.header, record.digest, started_at=self.now)
            except RecordError:
                continue
            head = outcome.head
            window |= outcome.learned
        outcome = lineage.advance(head, window, header, authentic.record.digest, started_at=self.now)
        number = f"record {header.sequence} of {header.endpoint} {header.writer}"
        if head is None and header.sequence:
            self.say(Step.LINEAGE, NOT_DECIDED, f"{number}; the records before it are not at hand")
        elif outcome.duplicate:
            self.say(Step.LINEAGE, PASSED, f"{number}; the same record lies before it: readers drop this one")
        else:
            said = "; ".join(f"{finding.code}: {finding.text}" for finding in outcome.findings)
            follows = "the first" if head is None else f"follows record {head.sequence}"
            self.say(Step.LINEAGE, PASSED, f"{number}; {said or follows}")

    def _frame(self, authentic: Authentic, header: FrameHeader, opening: Opening | None) -> None:
        self.rulings = _rulings(authentic, header)
        audience = opener.entitle(authentic)
        self.audience = audience.endpoints
        self.say(Step.ENTITLEMENT, PASSED, f"{len(audience.endpoints)} endpoints may read it")
        if opening is None or opening.keyring.endpoint not in audience.endpoints:
            for step in _KEYED:
                self.lines[step] = _line(step, NEEDS_KEY, "" if opening is None else "this endpoint is not cleared")
            return
        key = opening.key(header.audience_key_id, header.endpoint)
        encoded = opener.unseal(authentic, audience, key, opening.codec)
        self.say(Step.COMMITMENT, PASSED)
        self.events = tuple(opener.decode(header, event, opening.codec) for event in encoded)
        self.say(Step.DECODE, PASSED, f"{len(encoded)} events")

    def _grant(self, authentic: Authentic, opening: Opening | None) -> None:
        if opening is None:
            self.lines[Step.AUDIENCE_KEY] = _line(Step.AUDIENCE_KEY, NEEDS_KEY)
            return
        keyring = opening.keyring
        key = grant.open_grant(authentic.record, keyring.endpoint, keyring.kems)
        if key is None:
            said = _line(Step.AUDIENCE_KEY, NEEDS_KEY, f"it names no key that {keyring.endpoint} has")
        else:
            said = _line(Step.AUDIENCE_KEY, PASSED, "the wrapped key opens, and is the one that the header names")
        self.lines[Step.AUDIENCE_KEY] = said

    def said(self) -> Inspection:
        kind, digest, header = _shown(self.raw, self.place)
        steps = tuple(self.lines.get(step) or _line(step, NOT_REACHED) for step in Step)
        verified = all(line.verdict == PASSED for line in steps[: Step.CANONICAL])
        found = (self.audience, self.rulings, self.events)
        return Inspection(len(self.raw), kind, digest, header, verified, steps, *found)


def _rulings(authentic: Authentic, header: FrameHeader) -> tuple[Ruling, ...]:
    """By the directory that the writer obeyed; what a later one took away by then is taken away."""
    label = authentic.label
    assert label is not None
    asked = (header.endpoint, header.type, label, header.programme, header.sealed_at)
    rulings = policy.explain(authentic.directory, *asked)
    later = authentic.successor
    if later is not None:
        rulings = [policy.may_read(later, each.endpoint, *asked) if each.allowed else each for each in rulings]
    return tuple(rulings)


def _line(step: Step, verdict: str, text: str = "", code: str = "") -> Line:
    return Line(int(step), step.name.lower().replace("_", " "), verdict, code, text)


def _of_lineage(raw: bytes, place: Place, name: lineage.LineageId) -> bool:
    """Whether a record claims to be of a lineage: not verified, to be spared of verifying the others."""
    header = envelope.split(raw, place.kinds).header
    return isinstance(header, LineageHeader) and lineage.lineage_of(header) == name


def _shown(raw: bytes, place: Place) -> tuple[str, str, dict[str, Any]]:
    try:
        record = envelope.split(raw, place.kinds)
    except RecordError:
        return "", "", {}
    return record.header.kind_name, record.digest.hex(), _plain(record.header)


def _plain(header: Header) -> dict[str, Any]:
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    if isinstance(header, GrantHeader):
        plain["recipients"] = [
            {"endpoint": line.endpoint, "kem_key_id": line.kem_key_id.hex()} for line in header.recipients
        ]
    return plain
