"""The directory as a frozen value, and the one function that makes it of verified files.

Three TUF repositories carry it: `joint` (countries with their pinned roots, programmes, equivalence; signed by all)
and one per country (agencies with endpoints and keys, what it releases, receives and denies, withdrawals; signed by
that country alone). Nothing here knows of TUF: `parse_directory` gets bytes that somebody else has verified.

One rule runs through it: a repository must be consistent *in itself*. What one authority names and another does not
(or no longer) carry is not an error but a no, decided in policy.py. Otherwise a country that takes an agency out
of its own file would make the joint file wrong, and narrowing would not need only one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from agencybus.directory.entries import (
    Agency,
    Country,
    CountryRules,
    Deny,
    Endpoint,
    EquivalenceRow,
    EquivalenceTable,
    Programme,
    Receive,
    Release,
    Withdrawal,
    distinct,
)
from agencybus.directory.keys import KemKey, SignerKey
from agencybus.errors import DirectoryError, LabelError
from agencybus.label import Equivalence

__all__ = [
    "Agency",
    "Country",
    "CountryRules",
    "Deny",
    "Directory",
    "Endpoint",
    "EquivalenceRow",
    "EquivalenceTable",
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

_T = TypeVar("_T")
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


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
        distinct("country", [country.code for country in listed])
        distinct("trigraph", [country.trigraph for country in listed])
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
            distinct("party", programme.parties)
            distinct("type", programme.types)
        except ValueError as error:
            raise _invalid(where, str(error)) from error
    try:
        distinct("programme", [programme.name for programme in listed])
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
            distinct("endpoint", [endpoint.name for endpoint in agency.endpoints])
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
