"""What the directory's target files hold, as frozen values that are valid in themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Final

import msgspec

from agencybus.directory.keys import KemKey, Micros, SignerKey
from agencybus.errors import LabelError
from agencybus.label import POLICIES, Clearance, Equivalence
from agencybus.wire.limits import RECIPIENTS

KEYS_PER_ENDPOINT: Final = 16  # of a kind: the current one, the next, and those that old frames still need
PARTITIONS: Final = 64  # of a channel; more is not order but load, and load is met with more programmes

# `\Z`, not `$`, which lets a newline through.
CountryCode = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2}\Z")]
AgencyName = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2}\.[a-z][a-z0-9-]{0,30}\Z")]
EndpointName = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2}\.[a-z][a-z0-9-]{0,30}/[a-z][a-z0-9-]{0,62}\Z")]
ProgrammeName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,62}\Z")]
EventType = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,62}\Z")]
Who = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2}(\.[a-z][a-z0-9-]{0,30}(/[a-z][a-z0-9-]{0,62})?)?\Z")]
Title = Annotated[str, msgspec.Meta(max_length=200)]


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a target file."""


def _clearance(text: str) -> Clearance:
    """Parse; a ValueError is what msgspec turns into an error that names the field."""
    try:
        return Clearance.parse(text)
    except LabelError as error:
        raise ValueError(error.what) from error


class Country(_Entry, frozen=True, kw_only=True):
    """A sovereign of the federation.

    Attributes:
        code: `us`; the first part of its agencies' names, and its repository's name.
        trigraph: ISO 3166-1 alpha-3, as in REL TO.
        policy: whose marking words its endpoints use.
        title: for people.
    """

    code: CountryCode
    trigraph: str
    policy: str
    title: Title = ""

    def __post_init__(self) -> None:
        if self.policy not in POLICIES or POLICIES[self.policy].trigraph != self.trigraph:
            raise ValueError("the policy is not known, or not this country's")


class Programme(_Entry, frozen=True, kw_only=True, dict=True, rename={"ceilings_text": "ceilings"}):
    """An agreement that both countries signed.

    Attributes:
        name: the second part of its channels' names.
        parties: agencies that take part.
        types: event types that it carries.
        directions: pairs (from country, to country) in which it crosses the border; within a country none is needed.
        ceilings_text: per policy, the highest label that it carries, in the text form of `Clearance`.
        not_before: start, microseconds.
        not_after: end (exclusive), microseconds.
        heartbeat_seconds: an idle lineage writes a checkpoint this often.
        partitions: of each of its channels; never changed later (order).
        title: for people.
    """

    name: ProgrammeName
    parties: tuple[AgencyName, ...]
    types: tuple[EventType, ...]
    directions: tuple[tuple[CountryCode, CountryCode], ...]
    ceilings_text: Mapping[str, str]
    not_before: Micros
    not_after: Micros
    heartbeat_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 30
    partitions: Annotated[int, msgspec.Meta(ge=1, le=PARTITIONS)] = 1
    title: Title = ""

    def __post_init__(self) -> None:
        if self.not_before >= self.not_after:
            raise ValueError("not_before must be below not_after")
        for policy, ceiling in self.ceilings.items():
            if ceiling.policy != policy:
                raise ValueError(f"the ceiling of {policy} is written in the words of {ceiling.policy}")

    @cached_property
    def ceilings(self) -> Mapping[str, Clearance]:
        """Per policy, the highest label that it carries."""
        return {policy: _clearance(text) for policy, text in self.ceilings_text.items()}

    def in_force(self, at: int) -> bool:
        """Whether it holds at this moment (microseconds)."""
        return self.not_before <= at < self.not_after


class Endpoint(_Entry, frozen=True, kw_only=True, dict=True, rename={"clearance_text": "clearance"}):
    """One system of an agency.

    Attributes:
        name: `us.cbp/ntc-cargo`.
        clearance_text: what it may read, in the words of its own country and the text form of `Clearance`.
        publishes: programme → event types that its country lets it publish.
        reads: programmes that its country lets it read.
        signers: its verification keys, past and present.
        kems: its encapsulation keys, past and present.
        withdrawn_at: from when on it counts no more, microseconds; set from the country's withdrawals.
        title: for people.
    """

    name: EndpointName
    clearance_text: str
    publishes: Mapping[ProgrammeName, tuple[EventType, ...]] = {}
    reads: tuple[ProgrammeName, ...] = ()
    signers: Annotated[tuple[SignerKey, ...], msgspec.Meta(max_length=KEYS_PER_ENDPOINT)] = ()
    kems: Annotated[tuple[KemKey, ...], msgspec.Meta(max_length=KEYS_PER_ENDPOINT)] = ()
    withdrawn_at: Micros | None = None
    title: Title = ""

    def __post_init__(self) -> None:
        _ = self.clearance

    @cached_property
    def clearance(self) -> Clearance:
        """What it may read."""
        return _clearance(self.clearance_text)

    @property
    def agency(self) -> str:
        """Name of its agency."""
        return self.name.partition("/")[0]

    @property
    def country(self) -> str:
        """Code of its country."""
        return self.name[:2]

    def withdrawn(self, at: int) -> bool:
        """Whether its country had withdrawn it by this moment (microseconds)."""
        return self.withdrawn_at is not None and at >= self.withdrawn_at

    def signer(self, key_id: bytes) -> SignerKey | None:
        """Its verification key of that id, whatever its time."""
        return next((key for key in self.signers if key.id == key_id), None)

    def kem(self, key_id: bytes) -> KemKey | None:
        """Its encapsulation key of that id, whatever its time."""
        return next((key for key in self.kems if key.id == key_id), None)

    def kem_at(self, at: int) -> KemKey | None:
        """The key to wrap to at this moment (microseconds): of the valid ones, that which began last."""
        valid = [key for key in self.kems if key.valid(at)]
        return max(valid, key=lambda key: (key.not_before, key.id), default=None)


class Agency(_Entry, frozen=True, kw_only=True):
    """An agency with its endpoints: one target file.

    Attributes:
        name: `us.cbp`.
        endpoints: its systems; bounded by what one grant can name.
        title: for people.
    """

    name: AgencyName
    endpoints: Annotated[tuple[Endpoint, ...], msgspec.Meta(max_length=RECIPIENTS)]
    title: Title = ""

    @property
    def country(self) -> str:
        """Code of its country."""
        return self.name[:2]


class Release(_Entry, frozen=True, kw_only=True):
    """A country lets its events of these types go to these countries."""

    programme: ProgrammeName
    types: tuple[EventType, ...]
    to: tuple[CountryCode, ...]


class Receive(_Entry, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A country takes events of these types from these countries."""

    programme: ProgrammeName
    types: tuple[EventType, ...]
    from_: tuple[CountryCode, ...]


class Deny(_Entry, frozen=True, kw_only=True):
    """A country stops what matches every part given; a part left out matches all.

    Attributes:
        programme: its name.
        type: event type.
        publisher: country, agency or endpoint.
        reader: country, agency or endpoint.
        reason: for people.
    """

    programme: ProgrammeName | None = None
    type: EventType | None = None
    publisher: Who | None = None
    reader: Who | None = None
    reason: Title = ""

    def matches(self, *, programme: str, event_type: str, publisher: str, reader: str) -> bool:
        """Whether the rule stops this event on its way between these two endpoints."""
        return (
            self.programme in (None, programme)
            and self.type in (None, event_type)
            and self.publisher in (None, publisher, publisher.partition("/")[0], publisher[:2])
            and self.reader in (None, reader, reader.partition("/")[0], reader[:2])
        )


class CountryRules(_Entry, frozen=True, kw_only=True):
    """What one country alone decides; `deny` wins."""

    releases: tuple[Release, ...] = ()
    receives: tuple[Receive, ...] = ()
    deny: tuple[Deny, ...] = ()


class Withdrawal(_Entry, frozen=True, kw_only=True):
    """A country's endpoint counts no more from `at` (microseconds) on."""

    endpoint: EndpointName
    at: Micros
    reason: Title = ""


class EquivalenceRow(_Entry, frozen=True, kw_only=True):
    """`word` of policy `policy` counts as `as_word` of policy `as_policy`."""

    policy: str
    word: str
    as_policy: str
    as_word: str


class EquivalenceTable(_Entry, frozen=True, kw_only=True):
    """The file form of `label.Equivalence`; `note` says whose table it is."""

    version: Annotated[int, msgspec.Meta(ge=1)]
    note: Title
    levels: tuple[EquivalenceRow, ...]
    categories: tuple[EquivalenceRow, ...]

    def equivalence(self) -> Equivalence:
        """Return the table as the labels' code wants it; ValueError if it breaks one of its rules."""
        return Equivalence(self.version, _rows(self.levels), _rows(self.categories))


def distinct(what: str, values: Sequence[object]) -> None:
    """Refuse a value that comes twice."""
    seen: set[object] = set()
    for value in values:
        if value in seen:
            shown = "" if isinstance(value, bytes) else f": {value}"
            raise ValueError(f"{what} twice{shown}")
        seen.add(value)


def _rows(rows: Sequence[EquivalenceRow]) -> dict[tuple[str, str], tuple[str, str]]:
    distinct("word", [f"{row.policy} {row.word}" for row in rows])
    return {(row.policy, row.word): (row.as_policy, row.as_word) for row in rows}
