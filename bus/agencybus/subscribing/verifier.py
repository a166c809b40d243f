"""From raw records to events: runs the opener's steps with what this reader knows, waits for what it lacks.

CPU work (signatures, decryption, decoding) leaves the loop. What a record does to its lineage happens on the loop, in
the order of the partition; the state follows when the record's events are done.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import ChainMap, Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from agencybus import lineage
from agencybus.errors import RecordError, Step
from agencybus.kafka.records import RawRecord
from agencybus.lineage import Finding, Head, Known, LineageId, Outcome
from agencybus.node import Node
from agencybus.seal import opener
from agencybus.seal.grant import AudienceKey
from agencybus.seal.opener import Authentic
from agencybus.state.reader import ReaderState
from agencybus.state.writer import REFERENCE_BYTES
from agencybus.subscribing.patience import NAMELESS, Patience
from agencybus.wire import envelope, ids
from agencybus.wire.headers import CheckpointHeader, FrameHeader, LineageHeader
from agencybus_schemas.events import Event

DEATHS: Final = 2  # processes that a record may kill before it is put away undecoded
SOON_SECONDS: Final = 1.0  # between two looks for what a record waits for
LATE_US: Final = (
    24 * 3600 * 1_000_000
)  # between sealing and the broker, until it is said: a day without a broker is rare
LINEAGES: Final = 4096  # of one endpoint in one partition: each is kept for ever, and looked at every second
AWAITED: Final = frozenset({"directory-unknown", "grant-missing"})  # codes of what may come yet

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record goes to quarantine.

    Attributes:
        step: the opener's step; 0 before the first.
        code: a key of `errors.CODES`.
        reason: a sentence.
        endpoint: who signed; empty unless both signatures were verified.
        waits_for: what it waits for: the digest of a directory, or the id of an audience key and who must grant it.
    """

    step: int
    code: str
    reason: str
    endpoint: str = ""
    waits_for: bytes = b""


@dataclass(slots=True)
class Verified:
    """What the steps made of a record.

    Attributes:
        raw: the record.
        header: its header, once step 6 has passed.
        outcome: what it did to its lineage, once step 7 has passed.
        encoded: its events as they were signed; empty for all but frames that this reader may read.
        events: the same, decoded.
        keys: what is remembered of the reference of each, 16 bytes.
        signer: who signed it; empty unless both signatures were verified.
        refusal: why it is refused, or None.
        skipped: a frame for others.
    """

    raw: RawRecord
    header: LineageHeader | None = None
    outcome: Outcome | None = None
    encoded: list[bytes] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    signer: str = NAMELESS
    refusal: Refusal | None = None
    skipped: bool = False

    @property
    def duplicate(self) -> bool:
        """Whether it was seen before."""
        return self.outcome is not None and self.outcome.duplicate


class Verifier:
    """Verifies the records of one reader.

    Args:
        node: this endpoint.
        state: what it knows.
        started_at: when this reader began, µs since the epoch.
        patience: seconds that a record may wait for its directory or grant.
    """

    def __init__(self, node: Node, state: ReaderState, *, started_at: int, patience: float) -> None:
        self.heads: dict[LineageId, Head] = state.heads()
        self._node = node
        self._state = state
        self._started_at = started_at
        self._patience = Patience(patience, time.monotonic)
        self._keys: dict[tuple[bytes, str], AudienceKey] = {}
        self._news = asyncio.Condition()
        self._ahead: defaultdict[LineageId, dict[int, Known]] = defaultdict(dict)  # of records not committed yet
        self._lineages = Counter((name.endpoint, name.channel, name.partition) for name in self.heads)

    async def tell_key(self, key: AudienceKey) -> None:
        """A key was granted: whoever waits looks again."""
        self._keys[key.id, key.endpoint] = key
        async with self._news:
            self._news.notify_all()

    def knows(self, waits_for: bytes) -> bool:
        """Whether what a quarantined record waits for has come."""
        name, endpoint = waits_for[: ids.DIGEST_BYTES], waits_for[ids.DIGEST_BYTES :].decode()
        return (self._key(name, endpoint) if endpoint else self._node.history.get(name)) is not None

    async def verify(self, raw: RawRecord, *, patient: bool = True, accepted: bool = False) -> Verified:
        """Run the steps.

        Args:
            raw: the record.
            patient: wait for its directory or grant, as long as its signer may let others wait.
            accepted: step 7 passed at an earlier time: leave its lineage alone.
        """
        result = Verified(raw)
        try:
            if raw.damage is not None:
                result.refusal = Refusal(0, raw.damage, f"{raw.span} offsets could not be read")
                return result
            authentic = await self._patiently(lambda: self._authenticate(raw), result, patient=patient)
            header = authentic.record.header
            assert isinstance(header, LineageHeader)
            result.header, result.signer = header, header.endpoint
            if not accepted:
                result.outcome = self._advance(header, authentic.record.digest, raw.timestamp_us)
            if isinstance(header, CheckpointHeader) or result.duplicate:
                return result
            await self._open(authentic, result, patient=patient)
        except RecordError as error:
            result.refusal = _refusal(error, result)
        return result

    def forget(self, outcome: Outcome) -> None:
        """The state has what a record did to its lineage."""
        ahead = self._ahead[outcome.lineage]
        for sequence in outcome.learned:
            ahead.pop(sequence, None)
        if not ahead:
            del self._ahead[outcome.lineage]

    # --- the steps

    async def _authenticate(self, raw: RawRecord) -> Authentic:
        return await asyncio.to_thread(
            opener.authenticate,
            raw.value or b"",
            self._place(raw),
            self._node.history,
            now=self._node.now(),
            arrived_at=raw.timestamp_us,
        )

    async def _attest(self, raw: RawRecord) -> str:
        """Who signed a record whose own directory is not known, as far as today's can tell."""
        node = self._node
        return await asyncio.to_thread(
            opener.attest, raw.value or b"", self._place(raw), node.directory, now=node.now()
        )

    def _place(self, raw: RawRecord) -> opener.Place:
        return opener.Place(self._node.realm, raw.topic, raw.partition)

    def _advance(self, header: LineageHeader, digest: bytes, arrived_at: int) -> Outcome:
        name = lineage.lineage_of(header)
        place = (name.endpoint, name.channel, name.partition)
        if name not in self.heads and self._lineages[place] >= LINEAGES:
            what = f"{name.endpoint} has written under {LINEAGES} names here"
            raise RecordError(Step.LINEAGE, "lineages-too-many", what)
        window = ChainMap(self._ahead.get(name, {}), self._state.window(name))  # type: ignore[arg-type]  # only read
        outcome = lineage.advance(self.heads.get(name), window, header, digest, started_at=self._started_at)
        self._lineages[place] += name not in self.heads
        self.heads[name] = outcome.head
        self._ahead[name].update(outcome.learned)
        late = arrived_at - header.sealed_at
        if late > LATE_US and not outcome.duplicate:
            what = f"reached the broker {late // 3_600_000_000} h after the time at which it says that it was sealed"
            outcome = replace(outcome, findings=(*outcome.findings, Finding("sealed-long-ago", what)))
        return outcome

    async def _open(self, authentic: Authentic, result: Verified, *, patient: bool) -> None:
        header = authentic.record.header
        assert isinstance(header, FrameHeader)
        audience = opener.entitle(authentic)
        if self._node.endpoint not in audience.endpoints:
            result.skipped = True
            return
        codec = self._node.codec

        def work() -> tuple[list[bytes], list[Event], list[bytes]]:
            key = self._key(header.audience_key_id, header.endpoint)
            encoded = opener.unseal(authentic, audience, key, codec)
            events = [opener.decode(header, event, codec) for event in encoded]
            return encoded, events, [reference_key(event.reference) for event in events]

        found = await self._patiently(lambda: asyncio.to_thread(work), result, patient=patient)
        result.encoded, result.events, result.keys = found

    def _key(self, key_id: bytes, endpoint: str) -> AudienceKey | None:
        key = self._keys.get((key_id, endpoint))
        if key is None and (key := self._state.keys.get(key_id, endpoint)) is not None:
            self._keys[key_id, endpoint] = key
        return key

    async def _patiently(self, work: Callable[[], Awaitable[_T]], result: Verified, *, patient: bool) -> _T:
        """Try again while the record waits for a directory or a grant and its signer has budget for it."""
        place = (result.raw.topic, result.raw.partition)
        began, until = time.monotonic(), None
        try:
            while True:
                try:
                    return await work()
                except RecordError as error:
                    if error.code not in AWAITED:
                        raise
                    if error.code == "directory-unknown":
                        self._node.refresh_soon()
                    if until is None:
                        result.signer = result.signer or await self._attest(result.raw)
                        until = began + (self._patience.left(result.signer, place) if patient else 0.0)
                    left = until - time.monotonic()
                    if left <= 0:
                        raise
                await self._news_within(min(left, SOON_SECONDS))
        finally:
            if until is not None and patient:
                self._patience.spend(result.signer, place, time.monotonic() - began)

    async def _news_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait()
        except TimeoutError:
            pass


def reference_key(reference: str) -> bytes:
    """What a reader remembers of a reference, 16 bytes."""
    return hashlib.sha256(reference.encode()).digest()[:REFERENCE_BYTES]


def _refusal(error: RecordError, result: Verified) -> Refusal:
    waits_for = b""
    if error.code == "grant-missing":
        assert isinstance(result.header, FrameHeader)
        waits_for = result.header.audience_key_id + result.header.endpoint.encode()
    elif error.code == "directory-unknown":
        waits_for = envelope.split(result.raw.value or b"", envelope.CHANNEL_KINDS).header.directory
    return Refusal(int(error.step), error.code, error.what, result.signer, waits_for)
