"""The little world of the test vectors: two countries, five endpoints, fixed keys, fixed times.

Everything is made from names, so that the vectors can be made anew. The keys are public: never use them elsewhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from agencybus.directory.model import (
    Agency,
    Country,
    CountryRules,
    Directory,
    Endpoint,
    EquivalenceRow,
    EquivalenceTable,
    KemKey,
    Programme,
    Receive,
    Release,
    SignerKey,
    Withdrawal,
    encode_file,
    parse_directory,
)
from agencybus.seal import suite
from agencybus.seal.grant import AudienceKey
from agencybus.wire import ids

SECOND: Final = 1_000_000
DAY: Final = 24 * 3600 * SECOND
NOW: Final = 1_780_315_200 * SECOND  # 2026-06-01T12:00:00Z
REALM: Final = hashlib.sha384(b"the realm of the vectors").digest()[:16]

FBI: Final = "us.fbi/wanted"
CBP: Final = "us.cbp/ntc-cargo"
FGR: Final = "mx.fgr/watch-floor"
INM: Final = "mx.inm/fronteras"
GONE: Final = "us.fbi/withdrawn"
CHANNEL: Final = "us.fbi.fugitives.routine"
SUPERSEDED_AT: Final = NOW - 3 * DAY  # when the current directory took the old one's place
WITHDRAWN_AT: Final = SUPERSEDED_AT - DAY // 2  # from when on the current directory withdraws an endpoint


def seed(name: str, size: int) -> bytes:
    """Bytes made from a name; the first bit is 0, so that 48 of them are a P-384 scalar."""
    data = hashlib.shake_256(f"agencybus test vectors: {name}".encode()).digest(size)
    return bytes([data[0] & 0x7F]) + data[1:]


def signing_key(name: str) -> suite.SigningKey:
    return suite.SigningKey.from_seeds(seed(f"{name} mldsa", 32), seed(f"{name} p384", 48))


def kem_key(name: str) -> suite.KemPrivateKey:
    return suite.KemPrivateKey.from_seeds(seed(f"{name} mlkem", 64), seed(f"{name} kem p384", 48))


SIGNERS: Final = {
    name: signing_key(name) for name in (FBI, CBP, FGR, INM, GONE, "expired", "future", "stranger", "revoked")
}
KEMS: Final = {name: kem_key(name) for name in (FBI, CBP, FGR, INM, GONE, "past")}


def _signer(name: str, start: int = NOW - 100 * DAY, end: int = NOW + 265 * DAY) -> SignerKey:
    public = SIGNERS[name].public
    return SignerKey(mldsa=public.mldsa87, p384=public.p384, not_before=start, not_after=end)


def _kem(name: str, start: int = NOW - 20 * DAY) -> KemKey:
    public = KEMS[name].public
    return KemKey(mlkem=public.mlkem1024, p384=public.p384, not_before=start, not_after=start + 35 * DAY)


def _programme(name: str, *types: str, **changes: object) -> Programme:
    fields: dict[str, object] = {
        "name": name,
        "parties": ("us.fbi", "us.cbp", "mx.fgr"),
        "types": types,
        "directions": (("us", "mx"), ("mx", "us")),
        "ceilings_text": {"US": "USA SECRET//LES/ORCON", "MX": "MEX RESERVADA"},
        "not_before": NOW - 300 * DAY,
        "not_after": NOW + 300 * DAY,
    }
    return Programme(**{**fields, **changes})  # type: ignore[arg-type]


PROGRAMMES: Final = (
    _programme("fugitives", "alert", "fugitive_sighting"),
    _programme("ended", "alert", not_after=NOW - DAY),
    _programme("without-fbi", "alert", parties=("us.cbp", "mx.fgr")),
    _programme("holds", "cargo_hold"),
    _programme("national", "alert", directions=(), parties=("us.fbi", "mx.fgr")),
)
_ALERTS: Final = dict.fromkeys(("fugitives", "ended", "without-fbi", "national"), ("alert",))


def _endpoint(name: str, clearance: str, *extra: SignerKey, **changes: object) -> Endpoint:
    fields: dict[str, object] = {
        "name": name,
        "clearance_text": clearance,
        "signers": (_signer(name), *extra),
        "kems": (_kem(name),),
        "reads": ("fugitives",),
    }
    return Endpoint(**{**fields, **changes})  # type: ignore[arg-type]


_FBI: Final = _endpoint(
    FBI,
    "USA SECRET//LES",
    _signer("expired", NOW - 400 * DAY, NOW - 35 * DAY),
    _signer("future", NOW + 35 * DAY, NOW + 400 * DAY),
    publishes=_ALERTS | {"holds": ("cargo_hold",)},
)
_GONE: Final = _endpoint(GONE, "USA SECRET//LES", publishes=_ALERTS)
# What the older directory had: more rights, a signing key more, a reader more, and the withdrawn endpoint.
_FBI_BEFORE: Final = replace(
    _FBI,
    publishes={**_FBI.publishes, "fugitives": ("alert", "fugitive_sighting")},
    signers=(*_FBI.signers, _signer("revoked")),
)
_CBP: Final = _endpoint(CBP, "USA SECRET//LES", publishes={"holds": ("cargo_hold",)}, reads=("holds",))
_CBP_BEFORE: Final = replace(_CBP, reads=("fugitives", "holds"))
_FGR: Final = _endpoint(
    FGR, "MEX RESERVADA", publishes={"fugitives": ("alert",)}, kems=(_kem("past", NOW - 50 * DAY), _kem(FGR))
)
_INM: Final = _endpoint(INM, "MEX RESERVADA")


def _way(kind: type, key: str, other: str) -> tuple[object, ...]:
    return tuple(kind(programme=p.name, types=p.types, **{key: (other,)}) for p in PROGRAMMES)


def _files(*, before: bool = False) -> tuple[dict[str, bytes], dict[str, dict[str, bytes]]]:
    table = EquivalenceTable(
        version=1,
        note="an example",
        levels=(
            EquivalenceRow(policy="US", word="UNCLASSIFIED", as_policy="MX", as_word="CONFIDENCIAL"),
            EquivalenceRow(policy="US", word="SECRET", as_policy="MX", as_word="RESERVADA"),
        ),
        categories=(),
    )
    countries = (
        Country(code="mx", trigraph="MEX", policy="MX"),
        Country(code="us", trigraph="USA", policy="US"),
    )
    joint = {
        "countries.json": encode_file(countries),
        "programmes.json": encode_file(PROGRAMMES),
        "equivalence.json": encode_file(table),
        "roots/mx.json": b"{}",
        "roots/us.json": b"{}",
    }
    us = {
        "agencies/us.fbi.json": encode_file(Agency(name="us.fbi", endpoints=(_FBI_BEFORE if before else _FBI, _GONE))),
        "agencies/us.cbp.json": encode_file(Agency(name="us.cbp", endpoints=(_CBP_BEFORE if before else _CBP,))),
        "rules.json": encode_file(
            CountryRules(releases=_way(Release, "to", "mx"), receives=_way(Receive, "from_", "mx"))  # type: ignore[arg-type]
        ),
        "withdrawals.json": encode_file(() if before else (Withdrawal(endpoint=GONE, at=WITHDRAWN_AT),)),
    }
    mx = {
        "agencies/mx.fgr.json": encode_file(Agency(name="mx.fgr", endpoints=(_FGR,))),
        "agencies/mx.inm.json": encode_file(Agency(name="mx.inm", endpoints=(_INM,))),
        "rules.json": encode_file(
            CountryRules(releases=_way(Release, "to", "us"), receives=_way(Receive, "from_", "us"))  # type: ignore[arg-type]
        ),
        "withdrawals.json": encode_file(()),
    }
    return joint, {"mx": mx, "us": us}


def _directory(name: str) -> Directory:
    digest = ids.tagged("directory", name.encode())
    joint, countries = _files(before=name == "old")
    return parse_directory(digest=digest, realm=REALM, joint=joint, countries=countries, expires_at=NOW + 30 * DAY)


CURRENT: Final = _directory("current")
OLD: Final = _directory("old")


@dataclass(frozen=True)
class FixedView:
    """The directories that the reader of the vectors knows."""

    known: dict[bytes, Directory] = field(default_factory=lambda: {CURRENT.digest: CURRENT, OLD.digest: OLD})

    def get(self, digest: bytes) -> Directory | None:
        return self.known.get(digest)

    def superseded_at(self, digest: bytes) -> int | None:
        return SUPERSEDED_AT if digest == OLD.digest else None

    def in_force(self, at: int) -> Directory | None:
        return OLD if at < SUPERSEDED_AT else CURRENT


AUDIENCE: Final = ids.audience_digest((name, KEMS[name].public.id) for name in (FBI, FGR))
AUDIENCE_BEFORE: Final = ids.audience_digest((name, KEMS[name].public.id) for name in (CBP, FBI, FGR, GONE))
HOLDS_AUDIENCE: Final = ids.audience_digest((name, KEMS[name].public.id) for name in (CBP, FBI))


def audience_key(name: str = "fugitives", **changes: object) -> AudienceKey:
    key = seed(f"audience key {name}", 32)
    fields: dict[str, object] = {
        "key": key,
        "id": ids.audience_key_id(key),
        "endpoint": FBI,
        "audience": AUDIENCE,
        "epoch_start": NOW - 3600 * SECOND,
        "epoch_end": NOW + 3600 * SECOND,
    }
    return AudienceKey(**{**fields, **changes})  # type: ignore[arg-type]
