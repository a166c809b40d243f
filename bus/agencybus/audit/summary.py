"""What a replay counted. Every record of the range is in exactly one of its counts: nothing is left out silently."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec

from agencybus.audit.ranges import Span
from agencybus.directory.policy import Ruling
from agencybus.lineage import Head, LineageId, Outcome
from agencybus.subscribing.verifier import Verified
from agencybus.wire.headers import CheckpointHeader, FrameHeader

LISTED: Final = 200  # refused records and findings that are listed one by one; all are counted
NORMAL: Final = frozenset({"joined-midway"})  # findings that a range which begins midway always has


class Refused(msgspec.Struct, frozen=True):
    """A record that failed a step.

    Attributes:
        partition: where it lies.
        offset: where it lies.
        step: the opener's step.
        code: of the error.
        reason: a sentence.
        endpoint: who signed it; empty unless both signatures were verified.
    """

    partition: int
    offset: int
    step: int
    code: str
    reason: str
    endpoint: str


class Found(msgspec.Struct, frozen=True):
    """Something to be told about a lineage.

    Attributes:
        partition: where it showed.
        offset: where it showed.
        code: of the finding.
        text: a sentence.
        endpoint: whose lineage.
        writer: which of its processes.
    """

    partition: int
    offset: int
    code: str
    text: str
    endpoint: str
    writer: str


class Lineage(msgspec.Struct):
    """What the range holds of a lineage.

    Attributes:
        endpoint: who wrote it.
        writer: which of its processes.
        partition: where.
        first: lowest number in the range.
        last: number of its newest record.
        state: of its newest record.
        digest: of its newest record, hex.
        sealed_at: of its newest record, µs since the epoch.
        records: accepted records.
    """

    endpoint: str
    writer: str
    partition: int
    first: int
    last: int = 0
    state: str = ""
    digest: str = ""
    sealed_at: int = 0
    records: int = 0


class Version(msgspec.Struct):
    """A version of the directory that records of the range obeyed.

    Attributes:
        records: how many did.
        first_at: sealing time of the earliest of them, µs since the epoch.
        last_at: sealing time of the latest of them.
        superseded_at: since when it has a successor; None if it is the newest.
    """

    records: int
    first_at: int
    last_at: int
    superseded_at: int | None


class Summary(msgspec.Struct):
    """The counts of a replay.

    Attributes:
        topic: what was read.
        endpoint: as whom.
        spans: the range, partition by partition.
        records: records that were read; each is in exactly one of the next six counts.
        checkpoints: signed records without events.
        read: frames whose events were read.
        not_for_us: frames for other audiences, by the rule that says no.
        duplicates: records that came again, the same.
        refused: records that failed a step, by step and code.
        grant_missing: frames that this endpoint may read and has no key for.
        events: events in the frames that were read.
        left_out: events of types that were not asked for, by type.
        not_for_us_events: events in frames for other audiences, as their signed headers say.
        refused_events: events in refused frames, as their signed headers say.
        damaged: batches that can't be had, by code.
        damaged_offsets: offsets in them.
        holes: offsets without a record.
        gone: offsets that were asked for and that the broker has no more.
        findings: by code.
        lineages: what the range holds of each.
        directories: versions by digest, hex.
        keys: audience keys that were granted to this endpoint.
        grants_refused: grants that failed a step, by code.
        listed: the first refused records.
        told: the first findings.
        ended: the range was read to its end.
    """

    topic: str
    endpoint: str
    spans: list[Span] = []
    records: int = 0
    checkpoints: int = 0
    read: int = 0
    not_for_us: Counter[str] = msgspec.field(default_factory=Counter)
    duplicates: int = 0
    refused: Counter[tuple[int, str]] = msgspec.field(default_factory=Counter)
    grant_missing: int = 0
    events: int = 0
    left_out: Counter[str] = msgspec.field(default_factory=Counter)
    not_for_us_events: int = 0
    refused_events: int = 0
    damaged: Counter[str] = msgspec.field(default_factory=Counter)
    damaged_offsets: int = 0
    holes: int = 0
    gone: int = 0
    findings: Counter[str] = msgspec.field(default_factory=Counter)
    lineages: dict[LineageId, Lineage] = {}
    directories: dict[str, Version] = {}
    keys: int = 0
    grants_refused: Counter[str] = msgspec.field(default_factory=Counter)
    listed: list[Refused] = []
    told: list[Found] = []
    ended: bool = False

    @property
    def clean(self) -> bool:
        """Whether nothing was refused, damaged, missing or found that is not normal."""
        bad = (self.refused, self.grant_missing, self.damaged, self.holes, self.gone, self.grants_refused)
        return not any(bad) and set(self.findings) <= NORMAL

    @property
    def counted(self) -> int:
        """Records by what became of them; always as many as were read."""
        parts = (self.not_for_us.total(), self.refused.total(), self.grant_missing)
        return self.checkpoints + self.read + self.duplicates + sum(parts)

    def take(self, verified: Verified, ruling: Ruling | None) -> None:
        """Count a record.

        Args:
            verified: what the steps made of it.
            ruling: why this endpoint may not read it, of a frame for others.
        """
        self.records += 1
        header, refusal = verified.header, verified.refusal
        events = header.count if isinstance(header, FrameHeader) else 0
        if verified.outcome is not None:
            self._follow(verified, verified.outcome)
        if refusal is not None:
            self.refused_events += events
            if refusal.code == "grant-missing":
                self.grant_missing += 1
            else:
                self.refused[refusal.step, refusal.code] += 1
            if len(self.listed) < LISTED:
                place = (verified.raw.partition, verified.raw.offset)
                self.listed.append(Refused(*place, refusal.step, refusal.code, refusal.reason, refusal.endpoint))
        elif verified.duplicate:
            self.duplicates += 1
        elif isinstance(header, CheckpointHeader):
            self.checkpoints += 1
        elif ruling is not None:
            self.not_for_us[ruling.rule] += 1
            self.not_for_us_events += events
        else:
            self.read += 1
            self.events += len(verified.events)

    def obeyed(self, verified: Verified, superseded_at: int | None) -> None:
        """Note which version of the directory a verified record obeyed."""
        header = verified.header
        if header is None:
            return
        name, at = header.directory.hex(), header.sealed_at
        version = self.directories.setdefault(name, Version(0, at, at, superseded_at))
        version.records += 1
        version.first_at, version.last_at = min(version.first_at, at), max(version.last_at, at)

    def _follow(self, verified: Verified, outcome: Outcome) -> None:
        header, name = verified.header, outcome.lineage
        assert header is not None
        found = self.lineages.get(name)
        if found is None:
            found = self.lineages[name] = Lineage(name.endpoint, name.writer, name.partition, header.sequence)
        if not outcome.duplicate:
            found.records += 1
            found.first = min(found.first, header.sequence)
        head: Head = outcome.head
        found.last, found.state = head.sequence, head.state
        found.digest, found.sealed_at = head.digest.hex(), head.sealed_at
        for finding in outcome.findings:
            self.findings[finding.code] += 1
            if len(self.told) < LISTED:
                place = (verified.raw.partition, verified.raw.offset)
                self.told.append(Found(*place, finding.code, finding.text, name.endpoint, name.writer))

    def plain(self) -> dict[str, Any]:
        """The counts for programs."""
        refused = sorted(self.refused.items())
        return {
            "topic": self.topic,
            "endpoint": self.endpoint,
            "range": [_fields(span) for span in self.spans],
            "complete": self.ended,
            "clean": self.clean,
            "records": self.records,
            "frames": self.read,
            "events": self.events,
            "checkpoints": self.checkpoints,
            "duplicates": self.duplicates,
            "not_in_audience": self.not_for_us.total(),
            "grant_missing": self.grant_missing,
            "refused": self.refused.total(),
            "damaged_batches": self.damaged.total(),
            "damaged_offsets": self.damaged_offsets,
            "offsets_without_record": self.holes,
            "offsets_gone": self.gone,
            "not_in_audience_by_rule": dict(sorted(self.not_for_us.items())),
            "not_in_audience_events": self.not_for_us_events,
            "refused_by_step": [{"step": step, "code": code, "records": count} for (step, code), count in refused],
            "refused_events": self.refused_events,
            "damaged_by_code": dict(sorted(self.damaged.items())),
            "left_out_by_type": dict(sorted(self.left_out.items())),
            "findings": dict(sorted(self.findings.items())),
            "lineages": [_fields(self.lineages[name]) for name in sorted(self.lineages)],
            "directories": [{"digest": name} | _fields(version) for name, version in self.directories.items()],
            "keys": self.keys,
            "grants_refused": dict(sorted(self.grants_refused.items())),
            "records_refused": [_fields(each) for each in self.listed],
            "found": [_fields(each) for each in self.told],
        }


def _fields(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(value)
    return found
