"""Every identifier that is a hash: one function per formula of docs/spec/records-v1.md, section 4.

All are SHA-384 (FIPS 180-4) with a domain-separation tag, so that no two kinds of identifier can collide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

DIGEST_BYTES = 48


def tagged(tag: str, *parts: bytes) -> bytes:
    """SHA-384("agencybus/v1/" ‖ tag ‖ 0x00 ‖ parts), 48 bytes. Parts must be of fixed or self-delimiting length."""
    digest = hashlib.sha384(b"agencybus/v1/" + tag.encode("ascii") + b"\x00")
    for part in parts:
        digest.update(part)
    return digest.digest()


def _text(value: str) -> bytes:
    """Length-prefixed UTF-8: u32be ‖ bytes, so that a list of texts has one reading."""
    data = value.encode()
    return len(data).to_bytes(4, "big") + data


def signer_key_id(mldsa87_public: bytes, p384_public: bytes) -> bytes:
    """Id of a pair of verification keys (2,592 and 97 bytes): halves of two pairs can't be mixed."""
    return tagged("signer", mldsa87_public, p384_public)


def kem_key_id(mlkem1024_public: bytes, p384_public: bytes) -> bytes:
    """Id of a pair of encapsulation keys (1,568 and 97 bytes)."""
    return tagged("kem", mlkem1024_public, p384_public)


def audience_key_id(audience_key: bytes) -> bytes:
    """Id of an audience key (32 bytes); commits to the key, checked after unwrap and before decrypt."""
    return tagged("audience-key", audience_key)


def audience_digest(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Digest of a whole audience: each endpoint's name and kem_key_id (48 bytes), sorted.

    With the keys in it, an endpoint that changes its key makes another audience, and gets another audience key.
    """
    return tagged("audience", *(_text(name) + kem for name, kem in sorted(members)))


def first_previous(realm: bytes, endpoint: str, writer: str, channel: str, partition: int) -> bytes:
    """The `previous` of a lineage's record number 0."""
    place = _text(endpoint) + _text(writer) + _text(channel) + partition.to_bytes(4, "big")
    return tagged("lineage", realm, place)


def directory_digest(joint: bytes, countries: Mapping[str, bytes]) -> bytes:
    """Digest of a directory view: SHA-384 digests of the snapshots, joint first, countries by code."""
    return tagged("directory", joint, *(_text(code) + countries[code] for code in sorted(countries)))


def realm_id(first_joint_root: bytes) -> bytes:
    """Id of a deployment, 16 bytes: the head of SHA-384 over the first root of the joint repository."""
    return hashlib.sha384(first_joint_root).digest()[:16]


def schema_id(avsc: bytes) -> bytes:
    """Id of a schema: SHA-384 over its exact .avsc bytes (Avro's canonical form drops logical types)."""
    return hashlib.sha384(avsc).digest()
