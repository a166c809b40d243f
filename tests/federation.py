"""The sample federation in memory, with real keys; rules, records and readers are tested on it. No TUF, no disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import msgspec

from agencybus.directory.model import Directory, parse_directory
from agencybus.directory.spec import EndpointKeys, FederationSpec, country_files, joint_files, sample_spec
from agencybus.directory.views import MemoryHistory
from agencybus.seal.suite import KemPrivateKey, SigningKey
from agencybus.wire import ids

DAY: Final = 24 * 3600 * 1_000_000
AT: Final = 1_781_308_800_000_000  # 2026-06-13: when the tests' events are sealed, microseconds
REALM: Final = ids.realm_id(b"the joint root of the tests")


@dataclass(frozen=True)
class Federation:
    """A federation with every private key of its endpoints."""

    spec: FederationSpec
    signing: dict[str, SigningKey]
    kem: dict[str, KemPrivateKey]
    keys: dict[str, EndpointKeys]
    directory: Directory

    @property
    def history(self) -> MemoryHistory:
        return MemoryHistory((self.directory, AT - DAY))

    def changed(
        self,
        *,
        spec: Callable[[FederationSpec], FederationSpec] = lambda spec: spec,
        keys: Callable[[dict[str, EndpointKeys]], dict[str, EndpointKeys]] = lambda keys: keys,
    ) -> Federation:
        """The same endpoints and keys under another specification, or with other public keys in the directory."""
        new_spec, new_keys = spec(self.spec), keys(dict(self.keys))
        return Federation(new_spec, self.signing, self.kem, new_keys, directory_of(new_spec, new_keys))


def directory_of(spec: FederationSpec, keys: dict[str, EndpointKeys]) -> Directory:
    """The directory that a specification gives; its digest is over the files instead of TUF snapshots."""
    joint = joint_files(spec, {country.code: b"{}" for country in spec.countries})
    countries = {country.code: country_files(spec, country.code, keys) for country in spec.countries}
    snapshots = {code: ids.tagged("test-snapshot", *files.values()) for code, files in countries.items()}
    return parse_directory(
        digest=ids.directory_digest(ids.tagged("test-snapshot", *joint.values()), snapshots),
        realm=REALM,
        joint=joint,
        countries=countries,
        expires_at=2**62,
    )


def made_at(at: int) -> Federation:
    """The packaged sample with fresh keys that are valid at a moment (microseconds), such as now."""
    spec = sample_spec()
    signing = {name: SigningKey.generate() for name in spec.endpoints}
    kem = {name: KemPrivateKey.generate() for name in spec.endpoints}
    keys = {
        name: EndpointKeys.of(signing[name].public, kem[name].public, not_before=at - DAY) for name in spec.endpoints
    }
    return Federation(spec, signing, kem, keys, directory_of(spec, keys))


@cache
def sample() -> Federation:
    """The packaged sample at `AT`, with keys made once per run."""
    return made_at(AT)


def with_country(spec: FederationSpec, code: str, **changes: object) -> FederationSpec:
    """The specification with other `agencies`, `rules` or `withdrawals` of one country."""
    national = dict(spec.national) | {code: msgspec.structs.replace(spec.national[code], **changes)}
    return msgspec.structs.replace(spec, national=national)


def with_endpoint(spec: FederationSpec, name: str, **changes: object) -> FederationSpec:
    """The specification with other fields of one endpoint."""
    agencies = []
    for agency in spec.national[name[:2]].agencies:
        endpoints = tuple(
            msgspec.structs.replace(endpoint, **changes) if endpoint.name == name else endpoint
            for endpoint in agency.endpoints
        )
        agencies.append(msgspec.structs.replace(agency, endpoints=endpoints))
    return with_country(spec, name[:2], agencies=tuple(agencies))


def with_programme(spec: FederationSpec, name: str, **changes: object) -> FederationSpec:
    """The specification with other fields of one programme."""
    programmes = tuple(
        msgspec.structs.replace(programme, **changes) if programme.name == name else programme
        for programme in spec.programmes
    )
    return msgspec.structs.replace(spec, programmes=programmes)
