"""The directory as frozen values, and the one function that makes it of verified files.

Three TUF repositories carry it: `joint` (countries with their pinned roots, programmes, equivalence; signed by all)
and one per country (agencies with endpoints and keys, what it releases, receives and denies, withdrawals; signed by
that country alone). Nothing here knows of TUF: `parse_directory` gets bytes that somebody else has verified.

One rule runs through it: a repository must be consistent *in itself*. What one authority names and another does not
(or no longer) carry is not an error but a no, decided in policy.py. Otherwise a country that takes an agency out
of its own file would make the joint file wrong, and narrowing would not need only one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Final, TypeVar

import msgspec

from agencybus.directory.keys import KemKey, Micros, SignerKey
from agencybus.errors import DirectoryError, LabelError
from agencybus.label import POLICIES, Clearance, Equivalence
from agencybus.wire.limits import RECIPIENTS

__all__ = [
    "Agency",
    "Country",
    "CountryRules",
    "Deny",
    "Directory",
    "Endpoint",
    "KemKey",
    "Programme",
    "Receive",
    "Release",
    "SignerKey",
    "Withdrawal",
    "decode_file",
    "encode_file",
    "parse_directory",
]

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


def _rows(rows: Sequence[EquivalenceRow]) -> dict[tuple[str, str], tuple[str, str]]:
    _distinct("word", [f"{row.policy} {row.word}" for row in rows])
    return {(row.policy, row.word): (row.as_policy, row.as_word) for row in rows}


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """The combined view: everything that the rules ask, and nothing else.

    Attributes:
        digest: its name in every record, 48 bytes.
        realm: the deployment, 16 bytes.
        countries: by code.
        programmes: by name.
        agencies: by name.
        endpoints: by name, of all agencies.
        rules: by country code.
        equivalence: the label table.
        expires_at: first moment at which one of its statements is past its date, microseconds.
    """

    digest: bytes
    realm: bytes
    countries: Mapping[str, Country]
    programmes: Mapping[str, Programme]
    agencies: Mapping[str, Agency]
    endpoints: Mapping[str, Endpoint]
    rules: Mapping[str, CountryRules]
    equivalence: Equivalence
    expires_at: int

    def __repr__(self) -> str:
        return f"<Directory {self.digest.hex()[:16]}, {len(self.endpoints)} endpoints>"


# --- files ---

_T = TypeVar("_T")
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


def encode_file(content: Any) -> bytes:
    """Write the content of a target file in its one canonical form."""
    return msgspec.json.format(_ENCODER.encode(content), indent=1) + b"\n"


def decode_file(data: bytes, kind: type[_T], *, where: str) -> _T:
    """Read a target file.

    Args:
        data: verified bytes.
        kind: type of its content.
        where: repository and name, for errors.

    Returns:
        The content.

    Raises:
        DirectoryError: `directory-invalid`, naming file and field; also if it is not in canonical form, so that no
            second reader can see something else in it (a field twice, another base64 spelling).
    """
    try:
        content = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(where, str(error)) from error
    if encode_file(content) != data:
        raise _invalid(where, "not in canonical form")
    return content


def _invalid(where: str, what: str) -> DirectoryError:
    return DirectoryError("directory-invalid", what, where=where)


def _distinct(what: str, values: Sequence[object]) -> None:
    """Refuse a value that comes twice."""
    seen: set[object] = set()
    for value in values:
        if value in seen:
            shown = "" if isinstance(value, bytes) else f": {value}"
            raise ValueError(f"{what} twice{shown}")
        seen.add(value)


# --- the combined view ---


def parse_directory(
    *,
    digest: bytes,
    realm: bytes,
    joint: Mapping[str, bytes],
    countries: Mapping[str, Mapping[str, bytes]],
    expires_at: int,
) -> Directory:
    """Make the combined view of the verified target files of all repositories.

    Args:
        digest: of the view (wire.ids.directory_digest), 48 bytes.
        realm: of the deployment, 16 bytes.
        joint: path → bytes of the joint repository's targets.
        countries: country code → path → bytes.
        expires_at: first moment at which one of the signed statements is past its date, microseconds.

    Returns:
        The directory.

    Raises:
        DirectoryError: `directory-invalid`, naming file and field.
    """
    members = _read_countries(joint)
    programmes = _read_programmes(joint, members)
    table = _read(joint, "joint", "equivalence.json", EquivalenceTable)
    try:
        equivalence = table.equivalence()
    except (ValueError, LabelError) as error:
        raise _invalid("joint:equivalence.json", str(error)) from error
    if countries.keys() != members.keys():
        raise _invalid("joint:countries.json", "the countries' repositories at hand are not those of the file")
    agencies: dict[str, Agency] = {}
    rules: dict[str, CountryRules] = {}
    for code, files in sorted(countries.items()):
        own, rules[code] = _read_country(members[code], files)
        agencies |= own
    endpoints = {endpoint.name: endpoint for agency in agencies.values() for endpoint in agency.endpoints}
    _check_keys(endpoints)
    return Directory(
        digest=digest,
        realm=realm,
        countries=members,
        programmes=programmes,
        agencies=agencies,
        endpoints=endpoints,
        rules=rules,
        equivalence=equivalence,
        expires_at=expires_at,
    )


def _read(files: Mapping[str, bytes], repository: str, path: str, kind: type[_T]) -> _T:
    where = f"{repository}:{path}"
    if path not in files:
        raise _invalid(where, "the file is missing")
    return decode_file(files[path], kind, where=where)


def _read_countries(joint: Mapping[str, bytes]) -> dict[str, Country]:
    listed = _read(joint, "joint", "countries.json", tuple[Country, ...])
    try:
        _distinct("country", [country.code for country in listed])
        _distinct("trigraph", [country.trigraph for country in listed])
    except ValueError as error:
        raise _invalid("joint:countries.json", str(error)) from error
    expected = {"countries.json", "programmes.json", "equivalence.json"}
    expected |= {f"roots/{country.code}.json" for country in listed}
    if odd := joint.keys() ^ expected:
        raise _invalid(f"joint:{min(odd)}", "the file is missing, or does not belong here")
    return {country.code: country for country in listed}


def _read_programmes(joint: Mapping[str, bytes], members: Mapping[str, Country]) -> dict[str, Programme]:
    listed = _read(joint, "joint", "programmes.json", tuple[Programme, ...])
    for number, programme in enumerate(listed):
        where = f"joint:programmes.json: $[{number}]"
        named = {party[:2] for party in programme.parties} | {code for pair in programme.directions for code in pair}
        if strange := named - members.keys():
            raise _invalid(where, f"no country {min(strange)} in countries.json")
        try:
            _distinct("party", programme.parties)
            _distinct("type", programme.types)
        except ValueError as error:
            raise _invalid(where, str(error)) from error
    try:
        _distinct("programme", [programme.name for programme in listed])
    except ValueError as error:
        raise _invalid("joint:programmes.json", str(error)) from error
    return {programme.name: programme for programme in listed}


def _read_country(country: Country, files: Mapping[str, bytes]) -> tuple[dict[str, Agency], CountryRules]:
    """Read a country's repository: its agencies, with withdrawals applied, and its rules."""
    repository = country.code
    rules = _read(files, repository, "rules.json", CountryRules)
    withdrawn: dict[str, int] = {}
    for entry in _read(files, repository, "withdrawals.json", tuple[Withdrawal, ...]):
        if entry.endpoint[:2] != repository:
            raise _invalid(f"{repository}:withdrawals.json", f"{entry.endpoint} is another country's")
        withdrawn[entry.endpoint] = min(entry.at, withdrawn.get(entry.endpoint, entry.at))
    agencies: dict[str, Agency] = {}
    for path in sorted(files.keys() - {"rules.json", "withdrawals.json"}):
        agency = _read(files, repository, path, Agency)
        where = f"{repository}:{path}"
        if path != f"agencies/{agency.name}.json" or agency.country != repository:
            raise _invalid(where, f"the file of {agency.name} does not belong here")
        for number, endpoint in enumerate(agency.endpoints):
            _check_endpoint(endpoint, agency, country, where=f"{where}: $.endpoints[{number}]")
        try:
            _distinct("endpoint", [endpoint.name for endpoint in agency.endpoints])
        except ValueError as error:
            raise _invalid(where, str(error)) from error
        endpoints = tuple(
            msgspec.structs.replace(endpoint, withdrawn_at=withdrawn.get(endpoint.name))
            for endpoint in agency.endpoints
        )
        agencies[agency.name] = msgspec.structs.replace(agency, endpoints=endpoints)
    return agencies, rules


def _check_endpoint(endpoint: Endpoint, agency: Agency, country: Country, *, where: str) -> None:
    if endpoint.agency != agency.name:
        raise _invalid(where, f"{endpoint.name} does not belong to {agency.name}")
    clearance = endpoint.clearance
    if (clearance.country, clearance.policy) != (country.trigraph, country.policy):
        raise _invalid(f"{where}.clearance", f"not in the words of {country.code}")
    if endpoint.withdrawn_at is not None:
        raise _invalid(f"{where}.withdrawn_at", "withdrawals have a file of their own")


def _check_keys(endpoints: Mapping[str, Endpoint]) -> None:
    """Refuse a key value that comes twice, in whatever pair or use: a signature must name one endpoint only."""
    owners: dict[bytes, str] = {}
    for name, endpoint in sorted(endpoints.items()):
        values = [value for key in endpoint.signers for value in (key.mldsa, key.p384)]
        values += [value for key in endpoint.kems for value in (key.mlkem, key.p384)]
        for value in values:
            if (other := owners.setdefault(value, name)) != name or values.count(value) > 1:
                where = f"{endpoint.country}:agencies/{endpoint.agency}.json: {name}"
                raise _invalid(where, f"a key value comes twice; the other is of {other}")
