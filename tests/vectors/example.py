"""The worked example of the specification: the vector `frame`, every byte named."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import fastavro
import zstandard
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from agencybus.wire.envelope import HEADER_AT, MLDSA_BYTES, P384_BYTES, Record
from agencybus.wire.headers import FrameHeader
from vectors import world

HEAD = """# Records, version 1: a worked example

Made by `tests/vectors/make.py` from the vector `frame` (`tests/vectors/v1/frame.txt`): one alert of `us.fbi/wanted`,
the first record of a lineage. The keys are those of the vectors, made from names, and public. Offsets and sizes are
decimal, bytes are hexadecimal; `…` shortens.
"""


def _short(data: bytes) -> str:
    return f"`{data.hex()}`" if len(data) <= 24 else f"`{data[:12].hex()}…{data[-4:].hex()}`"


def _meaning(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return f"{value}" if isinstance(value, int) else f"“{value}”"


def _header_fields(record: Record) -> Iterator[tuple[str, bytes, Any]]:
    """Name, encoding and value of each field, in order: each is encoded alone by its own schema."""
    header = record.header
    for field in FrameHeader._avro["fields"]:
        value, out = getattr(header, field["name"]), io.BytesIO()
        kind = {"type": "fixed", "name": "one", "size": len(value)} if isinstance(value, bytes) else field["type"]
        fastavro.schemaless_writer(out, fastavro.parse_schema(kind), value)
        yield field["name"], out.getvalue(), value


def worked(record: Record) -> str:
    """The page."""
    raw, at, rows = record.encode(), 0, []

    def row(data: bytes, name: str, meaning: str) -> None:
        nonlocal at
        assert raw[at : at + len(data)] == data
        rows.append(f"| {at} | {len(data)} | {_short(data)} | {name} | {meaning} |")
        at += len(data)

    row(raw[:3], "magic", "“AGB”")
    row(raw[3:4], "version", "“1”")
    row(raw[4:5], "kind", "1, frame")
    row(raw[5:HEADER_AT], "header_len", str(len(record.header_bytes)))
    for name, data, value in _header_fields(record):
        row(data, f"header.{name}", _meaning(value))
    row(record.mldsa87, "mldsa87", f"over `signed`, {MLDSA_BYTES} bytes")
    row(record.p384, "p384", f"r ‖ s over `signed`, {P384_BYTES} bytes")
    row(record.body, "body", "ciphertext, then the 16 bytes of the tag")
    assert at == len(raw)
    table = "\n".join(["| offset | bytes | value | field | meaning |", "|---|---|---|---|---|", *rows])
    return "\n".join([HEAD, "## The record\n", table, "", *_derived(record)])


def _derived(record: Record) -> Iterator[str]:
    """Derivations and the opened body, by primitives alone: nothing of the sealer is used."""
    header, key = record.header_bytes, world.audience_key().key
    info = b"agencybus/v1/frame-key\0" + hashlib.sha384(header).digest()
    okm = HKDFExpand(hashes.SHA384(), 44, info).derive(key)
    plaintext = AESGCM(okm[:32]).decrypt(okm[32:], record.body, header)
    size = int.from_bytes(plaintext[1:5], "big")
    data = plaintext[5 : 5 + size]
    unpacked = zstandard.ZstdDecompressor().decompress(data)
    yield "## What is signed, and what identifies it\n"
    yield from _list(
        ("signed", record.signed, "“agencybus/v1/frame” ‖ 0x00 ‖ u32be(header_len) ‖ header ‖ SHA-384(body)"),
        ("digest", record.digest, "SHA-384(signed)"),
    )
    yield "\n## Opening the body\n"
    yield from _list(
        ("K", key, "the audience key, as granted"),
        (
            "audience_key_id",
            hashlib.sha384(b"agencybus/v1/audience-key\0" + key).digest(),
            "equals header.audience_key_id",
        ),
        ("frame key", okm[:32], "HKDF-Expand-SHA384(K, “agencybus/v1/frame-key” ‖ 0x00 ‖ SHA-384(header), 44)[0:32]"),
        ("iv", okm[32:], "the same, [32:44]"),
        ("codec", plaintext[:1], "1, zstd"),
        ("n", plaintext[1:5], f"{size}"),
        ("data", data, "one zstd frame with its content size"),
        ("zeros", plaintext[5 + size :], f"up to {len(plaintext)} bytes, a multiple of 1,024"),
    )
    length = int.from_bytes(unpacked[32:36], "big")
    event = unpacked[36:]
    salt = world_salt(unpacked[:32])
    leaf = hashlib.sha384(b"\0" + salt + event).digest()
    assert isinstance(record.header, FrameHeader)
    assert hashlib.sha384(b"\x01\0\0\0\x01" + leaf).digest() == record.header.commitment
    assert hashlib.sha384(b"agencybus/v1/audience-key\0" + key).digest() == record.header.audience_key_id
    yield "\n## Unpacked\n"
    yield from _list(
        ("frame_secret", unpacked[:32], "fresh for each seal"),
        ("length 0", unpacked[32:36], f"{length}"),
        ("event 0", event, "Avro, see events-v1.md"),
        ("salt 0", salt, "AES-256-CTR keystream under frame_secret, counter block 0"),
        ("leaf 0", leaf, "SHA-384(0x00 ‖ salt 0 ‖ event 0)"),
        (
            "commitment",
            hashlib.sha384(b"\x01\0\0\0\x01" + leaf).digest(),
            "SHA-384(0x01 ‖ u32be(1) ‖ leaf 0), equals header.commitment",
        ),
    )
    yield ""


def _list(*rows: tuple[str, bytes, str]) -> Iterator[str]:
    yield "| name | bytes | value | formula or meaning |"
    yield "|---|---|---|---|"
    for name, data, meaning in rows:
        yield f"| {name} | {len(data)} | {_short(data)} | {meaning} |"


def world_salt(frame_secret: bytes) -> bytes:
    """Salt 0, by the cipher itself."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415

    return Cipher(algorithms.AES(frame_secret), modes.CTR(bytes(16))).encryptor().update(bytes(32))
