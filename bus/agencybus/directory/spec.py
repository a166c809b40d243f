"""What a federation's authorities agree on, as a person writes it (TOML), and the target files that follow from it.

The specification holds no keys: endpoints bring theirs (public halves only), authorities sign with theirs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, Final, NamedTuple

import msgspec

from agencybus.directory.keys import DAY_US, KEM_LIFE_US
from agencybus.directory.model import (
    Agency,
    Country,
    CountryRules,
    EquivalenceTable,
    KemKey,
    Programme,
    SignerKey,
    Withdrawal,
    encode_file,
)
from agencybus.errors import ConfigError
from agencybus.seal.suite import KemPublicKey, VerifyKey

SIGNER_LIFE_US: Final = 365 * DAY_US  # microseconds; a signer key is rotated within a year
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class EndpointKeys(NamedTuple):
    """The public keys of one endpoint."""

    signers: tuple[SignerKey, ...]
    kems: tuple[KemKey, ...]

    @classmethod
    def of(cls, signer: VerifyKey, kem: KemPublicKey, *, not_before: int) -> EndpointKeys:
        """Give the public halves of one pair each the longest permitted life from `not_before` (microseconds) on."""
        return cls(
            (
                SignerKey(
                    mldsa=signer.mldsa87,
                    p384=signer.p384,
                    not_before=not_before,
                    not_after=not_before + SIGNER_LIFE_US,
                ),
            ),
            (KemKey(mlkem=kem.mlkem1024, p384=kem.p384, not_before=not_before, not_after=not_before + KEM_LIFE_US),),
        )


class CountrySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one country alone decides; its endpoints without keys."""

    agencies: tuple[Agency, ...]
    rules: CountryRules = CountryRules()
    withdrawals: tuple[Withdrawal, ...] = ()


class FederationSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a federation's authorities sign, but for keys.

    Attributes:
        countries: its members.
        programmes: what they agreed on.
        equivalence: the label table.
        national: country code → what that country alone decides.
    """

    countries: tuple[Country, ...]
    programmes: tuple[Programme, ...]
    equivalence: EquivalenceTable
    national: Mapping[str, CountrySpec]

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Names of all endpoints, sorted."""
        agencies = (agency for country in self.national.values() for agency in country.agencies)
        return tuple(sorted(endpoint.name for agency in agencies for endpoint in agency.endpoints))


def micros(moment: datetime) -> int:
    """Microseconds since the Unix epoch of an aware moment, exact (no float in between)."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def load_spec(text: str, *, where: str) -> FederationSpec:
    """Read a specification.

    Args:
        text: TOML; times are TOML times with an offset.
        where: file name, for errors.

    Returns:
        The specification.

    Raises:
        ConfigError: `config-invalid`, naming the field.
    """
    try:
        return msgspec.convert(_plain(tomllib.loads(text)), FederationSpec)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise ConfigError("config-invalid", str(error), where=where) from error


def sample_spec() -> FederationSpec:
    """Return the sample federation: US and MX, six agencies, eight endpoints, two programmes."""
    source = resources.files("agencybus.directory") / "sample.toml"
    return load_spec(source.read_text("utf-8"), where="sample.toml")


def _plain(value: Any) -> Any:
    """Turn TOML's times into microseconds, all through."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no offset; write {value}Z")
        return micros(value)
    return value


def joint_files(spec: FederationSpec, roots: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the joint repository's target files.

    Args:
        spec: what was agreed.
        roots: country code → the first root of its repository, which the joint repository pins.
    """
    files = {
        "countries.json": encode_file(spec.countries),
        "programmes.json": encode_file(spec.programmes),
        "equivalence.json": encode_file(spec.equivalence),
    }
    return files | {f"roots/{country.code}.json": roots[country.code] for country in spec.countries}


def country_files(spec: FederationSpec, code: str, keys: Mapping[str, EndpointKeys]) -> dict[str, bytes]:
    """Return one country's target files.

    Args:
        spec: what was agreed.
        code: the country's.
        keys: endpoint name → public keys; an endpoint without can neither publish nor read.
    """
    own = spec.national[code]
    files = {"rules.json": encode_file(own.rules), "withdrawals.json": encode_file(own.withdrawals)}
    nothing = EndpointKeys((), ())
    for agency in own.agencies:
        endpoints = tuple(
            msgspec.structs.replace(endpoint, **keys.get(endpoint.name, nothing)._asdict())
            for endpoint in agency.endpoints
        )
        files[f"agencies/{agency.name}.json"] = encode_file(msgspec.structs.replace(agency, endpoints=endpoints))
    return files
