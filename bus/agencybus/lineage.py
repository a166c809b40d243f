"""The rules of lineages: numbers, chain, duplicates, forks, gaps. Pure; used by readers and auditors alike.

docs/spec/records-v1.md, section 8. A lineage is the numbered, hash-chained run of records that one writer makes into
one partition. It never restarts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from agencybus.errors import RecordError, Step
from agencybus.wire.headers import LineageHeader
from agencybus.wire.ids import first_previous

WINDOW: Final = 4096  # sequences remembered per lineage: replays within are told from forks; 100 KB on disk
SHORT: Final = 16  # bytes of a digest kept in the window; 128 bits: a second preimage is out of reach


class LineageId(NamedTuple):
    """Names a lineage within a realm."""

    endpoint: str
    writer: str
    channel: str
    partition: int


@dataclass(frozen=True, slots=True)
class Head:
    """The newest record of a lineage that a reader accepted.

    Attributes:
        sequence: its number.
        digest: its digest, 48 bytes.
        sealed_at: its time, µs since the epoch.
        state: its state; `close` means that silence is no alarm.
    """

    sequence: int
    digest: bytes
    sealed_at: int
    state: str


class Known(NamedTuple):
    """One line of the window.

    Attributes:
        digest: first 16 bytes of the digest of the record with this number.
        seen: False if only a successor named it.
    """

    digest: bytes
    seen: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to report about a record that is accepted all the same.

    Attributes:
        code: a key of `errors.CODES` with reaction ALARM.
        text: a sentence with numbers.
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a record does to its lineage.

    Attributes:
        lineage: which lineage.
        duplicate: the record was seen before: drop it.
        head: the head afterwards.
        learned: new lines of the window by sequence.
        findings: what to report.
    """

    lineage: LineageId
    duplicate: bool
    head: Head
    learned: Mapping[int, Known]
    findings: tuple[Finding, ...] = ()


def lineage_of(header: LineageHeader) -> LineageId:
    """The lineage that a header belongs to."""
    return LineageId(header.endpoint, header.writer, header.channel, header.partition)


def advance(
    head: Head | None, window: Mapping[int, Known], header: LineageHeader, digest: bytes, *, started_at: int
) -> Outcome:
    """Step 7 of the opener: accept a record into its lineage.

    Args:
        head: the lineage's head, None at first sight.
        window: what is known of the last `WINDOW` numbers.
        header: the record's verified header.
        digest: the record's digest, 48 bytes.
        started_at: when this reader first started, µs since the epoch.

    Raises:
        RecordError: step 7, `lineage-start-invalid`, `chain-broken`, `fork` or `sequence-too-old`.
    """
    # --- step 7: lineage
    lineage, n = lineage_of(header), header.sequence
    start = first_previous(header.realm, *lineage)
    if n == 0 and header.previous != start:
        raise _refuse("lineage-start-invalid", "record 0 does not name the lineage's start value")
    if head is not None and n <= head.sequence:
        return _behind(lineage, head, window, header, digest, started_at)
    findings = []
    learned = {n: Known(digest[:SHORT], seen=True)}
    if head is None:
        if n > 0:
            findings.append(_joined(header, started_at))
    elif n == head.sequence + 1:
        if (header.previous, header.previous_sealed_at) != (head.digest, head.sealed_at):
            raise _refuse("chain-broken", f"record {n} does not name digest and time of record {head.sequence}")
    else:
        first, last = head.sequence + 1, n - 1
        findings.append(Finding("gap", f"records {first} to {last} are missing ({last - first + 1})"))
        learned[last] = Known(header.previous[:SHORT], seen=False)
    if header.state == "recovered":
        findings.append(Finding("writer-recovered", f"the writer lost its state before record {n}"))
    return Outcome(lineage, duplicate=False, head=_head(header, digest), learned=learned, findings=tuple(findings))


def _behind(  # noqa: PLR0917 - the parts of one question
    lineage: LineageId,
    head: Head,
    window: Mapping[int, Known],
    header: LineageHeader,
    digest: bytes,
    started_at: int,
) -> Outcome:
    """A record at or below the head: seen before, late, forged or replayed from before the window."""
    n, line = header.sequence, Known(digest[:SHORT], seen=True)
    known, before = window.get(n), window.get(n - 1)
    if known is not None and known.digest != line.digest:
        raise _refuse("fork", f"another record {n} exists")
    if known is not None and known.seen:
        return Outcome(lineage, duplicate=True, head=head, learned={})
    # A reader that joined midway remembers nothing below its first record. The window is walked for late records only.
    if n <= head.sequence - WINDOW or (header.sealed_at < started_at and n < min(window, default=head.sequence)):
        raise _refuse("sequence-too-old", f"record {n} is below the window, head is {head.sequence}")
    if before is not None and before.digest != header.previous[:SHORT]:
        raise _refuse("fork", f"record {n} follows another record {n - 1}")
    late = Finding("late-record", f"record {n} arrived after record {head.sequence}")
    learned = {n: line}
    if n > 0 and before is None and n - 1 > head.sequence - WINDOW:
        learned[n - 1] = Known(header.previous[:SHORT], seen=False)
    return Outcome(lineage, duplicate=False, head=head, learned=learned, findings=(late,))


def _joined(header: LineageHeader, started_at: int) -> Finding:
    n = header.sequence
    if header.previous_sealed_at < started_at:
        return Finding("joined-midway", f"first seen at record {n}; earlier ones are from before this reader's start")
    return Finding("unseen-history", f"first seen at record {n}, but record {n - 1} is younger than this reader")


def _head(header: LineageHeader, digest: bytes) -> Head:
    return Head(header.sequence, digest, header.sealed_at, header.state)


def _refuse(code: str, what: str) -> RecordError:
    return RecordError(Step.LINEAGE, code, what)
