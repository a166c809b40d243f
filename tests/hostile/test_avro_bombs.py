"""Bytes and schemas made to kill a decoder or to mean two things (attacks A18 and A19).

Every bomb goes off in a process of its own with little memory: where a decoder dies, no `except` would help.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import fastavro
import pytest

import agencybus_schemas
from agencybus.codec import Codec
from agencybus.codec.binary import compile_reader, write_number
from agencybus.codec.gate import SCHEMA_BYTES
from sample_events import fugitive_sighting, schema

CODEC = Codec(agencybus_schemas.load())
MEMORY_BYTES = 512 << 20  # address space of a child: Python and the libraries take 100 MiB, a bomb takes gigabytes
SECONDS = 20  # of processor time of a child; importing takes one
EVENT = CODEC.encode(fugitive_sighting())
SIGHTING = CODEC.schema("fugitive_sighting")


def limits() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def in_a_child(program: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=limits,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )


DECODE_ALL = """
    import json, sys
    import agencybus_schemas
    from agencybus.codec import Codec
    from agencybus.errors import BusError

    codec = Codec(agencybus_schemas.load())
    for type_name, data in json.load(sys.stdin):
        try:
            codec.decode(codec.schema(type_name).id, bytes.fromhex(data))
            print("accepted")
        except BusError as error:
            print(error.code)
"""
EXAMINE_ALL = """
    import json, sys
    from agencybus.codec import examine
    from agencybus.errors import BusError

    for data in json.load(sys.stdin):
        try:
            examine(bytes.fromhex(data))
            print("accepted")
        except BusError as error:
            print(error.code, error.what.split(":")[0])
"""


def parts() -> dict[str, bytes]:
    """The sample sighting, field by field."""
    found, at = {}, 0
    for member in SIGHTING.examined.record.fields:
        end = compile_reader(member.type, SIGHTING.examined.named)(EVENT, at)[1]
        found[member.name] = EVENT[at:end]
        at = end
    return found


PARTS = parts()
NAME = PARTS["subject_name"]
PLACE = PARTS["position"]  # index, latitude, longitude, accuracy
VEHICLES = PARTS["vehicles"]  # count, one vehicle, end


def forged(**fields: bytes) -> bytes:
    """The sample sighting with the bytes of some fields exchanged."""
    assert fields.keys() <= PARTS.keys()
    return b"".join({**PARTS, **fields}.values())


NUMBER = write_number
EVENT_BOMBS = {
    "nothing": b"",
    "a byte left over": EVENT + b"\0",
    "a second event behind": EVENT + EVENT,
    "cut in the middle": EVENT[: len(EVENT) // 2],
    "an enum's index of -1": forged(precedence=NUMBER(-1)),
    "an enum's index beyond the end": forged(precedence=NUMBER(4)),
    "an enum's index of two bytes": forged(precedence=b"\x84\x00"),
    "a union's index of -1": forged(heading_deg=NUMBER(-1) + NUMBER(90)),
    "a union's index beyond the end": forged(correlation=NUMBER(2)),
    "a union's index of two bytes": forged(correlation=b"\x80\x00"),
    "a boolean of 2": forged(handling=PARTS["handling"][:-1] + b"\x02"),
    "a length of 200 bytes": forged(reference=b"\xa0" + b"\x80" * 198 + b"\x00"),
    "a length of two bytes where one would do": forged(subject_name=b"\x98\x00" + NAME[1:]),
    "a length of 65 bits": forged(subject_name=b"\xff" * 9 + b"\x03" + NAME[1:]),
    "a length of 2^62": forged(subject_name=NUMBER(1 << 62) + NAME[1:]),
    "a length of a million": forged(subject_name=NUMBER(1_000_000) + NAME[1:]),
    "a length below zero": forged(subject_name=NUMBER(-12) + NAME[1:]),
    "a number of more than 32 bits": forged(companions=NUMBER(1 << 31)),
    "a number out of its range": forged(confidence_percent=NUMBER(101)),
    "a list of 2^60 items": forged(vehicles=NUMBER(1 << 60) + VEHICLES[1:]),
    "a list of a hundred thousand items": forged(vehicles=NUMBER(100_000) + VEHICLES[1:]),
    "a list of one item more than it may have": forged(vehicles=NUMBER(9) + VEHICLES[1:-1] * 9 + b"\0"),
    "a list with a count below zero and a size": forged(vehicles=NUMBER(-1) + NUMBER(len(VEHICLES) - 2) + VEHICLES[1:]),
    "a list with a count of -2^63": forged(vehicles=NUMBER(-(1 << 63)) + NUMBER(0) + VEHICLES[1:]),
    "a list in two pieces": forged(vehicles=VEHICLES[:-1] + VEHICLES),
    "a list of a quarter of a MiB of nothing": forged(vehicles=NUMBER(200_000) + bytes(261_000)),
    "bytes that are no UTF-8": forged(subject_name=NAME[:2] + b"\xc3\x28" + NAME[4:]),
    "UTF-8 in more bytes than needed": forged(subject_name=NAME[:2] + b"\xc0\xaf" + NAME[4:]),
    "half of a surrogate pair": forged(subject_name=NAME[:2] + b"\xed\xa0\x80" + NAME[5:]),
    "a terminal's escape": forged(subject_name=NAME[:2] + b"\x1b[" + NAME[4:]),
    "text turned around": forged(subject_name=NAME[:2] + "\u202e".encode() + NAME[5:]),
    "the year 140000": forged(reported_at=NUMBER(1 << 62)),
    "the year -140000": forged(occurred_at=NUMBER(-(1 << 62))),
    "not a number": forged(position=PLACE[:1] + struct.pack("<d", float("nan")) + PLACE[9:]),
    "infinity": forged(position=PLACE[:1] + struct.pack("<d", float("inf")) + PLACE[9:]),
    "a latitude of 91": forged(position=PLACE[:1] + struct.pack("<d", 91) + PLACE[9:]),
    "a quarter of a MiB of zeros": bytes(262_144),
    "a quarter of a MiB of ones": b"\xff" * 262_144,
    "more than an event may have": bytes(262_145),
}

TEXT = {"type": "string", "maxLength": 10}
EMPTY = {"type": "record", "name": "E", "doc": ".", "fields": []}


def nested(depth: int) -> bytes:
    kind = b'{"type":"array","maxItems":9,"items":' * depth + b'"int"' + b"}" * depth
    return schema(("a", "X")).replace(b'"X"', kind)


def doubling(records: int) -> bytes:
    """Each record holds the one before twice: the smallest value has 2^records bytes."""
    fields: list[Any] = [("f0", {"type": "record", "name": "R0", "doc": ".", "fields": [member("a", "int")]})]
    for number in range(1, records):
        inner = [member("a", f"R{number - 1}"), member("b", f"R{number - 1}")]
        fields.append((f"f{number}", {"type": "record", "name": f"R{number}", "doc": ".", "fields": inner}))
    return schema(*fields)


def fat() -> bytes:
    """A smallest value of 260 KiB, from a definition of 2 KiB that is named again and again."""
    two = [member("a", {"type": "fixed", "name": "F", "size": 1024}), member("b", "F")]
    first = member("a0", {"type": "record", "name": "G", "doc": ".", "fields": two})
    return schema(first, *(member(f"a{number}", "G") for number in range(1, 130)))


def member(name: str, kind: Any, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "doc": "."} | attributes


SCHEMA_BOMBS = {
    "too-deep": [
        nested(17),
        nested(1000),
        nested(3000),
        b"[" * 100_000,
        b'{"type":' * 15_000,
        doubling(16),
    ],
    "too-large": [
        schema(("a", TEXT), doc="x" * SCHEMA_BYTES),
        schema(("x" * (1 << 20), TEXT)),
        fat(),
    ],
    "shape": [
        schema(("x" * 257, TEXT)),
        schema(("a", TEXT), aliases=["thing", "agencybus.thing"]),
        schema(member("a", TEXT, aliases=["b"]), member("b", TEXT, aliases=["a"])),
        schema(("a", {"type": "map", "values": "null"})),
        schema(
            ("a", {"type": "array", "maxItems": 9, "items": {"type": "record", "name": "E", "doc": ".", "fields": []}})
        ),
        schema(("a", {"type": "array", "maxItems": 9, "items": {"type": "fixed", "name": "E", "size": 0}})),
        schema(("a", {"type": "array", "maxItems": 1 << 40, "items": "int"})),
        schema(("a", {"type": "bytes", "maxLength": 4, "logicalType": "decimal", "precision": 1 << 30})),
        schema(("a", ["null"] * 10_000)),
        schema(("a", TEXT)).replace(b"10", b"9" * 4000),
        schema(*((f"a{number}", "int") for number in range(257))),
    ],
    "zero-bytes": [
        schema(("a", {"type": "array", "maxItems": 9, "items": "null"})),
        schema(("a", {"type": "array", "maxItems": 9, "items": ["null", "null"]})),
    ],
    "recursive": [
        schema(("a", ["null", "thing"])),
        schema(("a", {"type": "array", "maxItems": 9, "items": "thing"})),
        schema(("a", "thing")),
    ],
    "default": [
        schema(member("a", {"type": "string", "maxLength": 100_000}, default="x" * 100_000)),
        schema(member("a", {"type": "array", "maxItems": 9, "items": "int"}, default=[0] * 40_000)),
    ],
    "pattern": [schema(("a", {"type": "string", "maxLength": 200, "pattern": "^" + "a*" * 30 + "$"}))],
    "not-json": [
        b"\xff\xfe" + schema(("a", TEXT)),
        schema(("a", TEXT)).replace(b"10", b"9" * 5000),
        schema(("a", TEXT)).replace(b'"thing"', b'"thing", "name": "other"'),
    ],
}


def test_every_bomb_in_an_event_is_refused_and_the_process_lives() -> None:
    data = json.dumps([(SIGHTING.type_name, bomb.hex()) for bomb in [EVENT, *EVENT_BOMBS.values()]]).encode()
    done = in_a_child(DECODE_ALL, data)
    assert done.returncode == 0, done.stderr.decode()
    control, *codes = done.stdout.decode().split()
    assert control == "accepted"
    expected = dict.fromkeys(EVENT_BOMBS, "event-undecodable") | {"more than an event may have": "event-too-large"}
    assert dict(zip(EVENT_BOMBS, codes, strict=True)) == expected


@pytest.mark.parametrize("rule", SCHEMA_BOMBS)
def test_every_bomb_in_a_schema_is_refused_by_its_rule_and_the_process_lives(rule: str) -> None:
    done = in_a_child(EXAMINE_ALL, json.dumps([bomb.hex() for bomb in SCHEMA_BOMBS[rule]]).encode())
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines() == [f"schema-refused {rule}"] * len(SCHEMA_BOMBS[rule])


@pytest.mark.parametrize(
    "name",
    [
        "a byte left over",
        "an enum's index of -1",
        "a union's index of -1",
        "a length of two bytes where one would do",
        "a list in two pieces",
        "a boolean of 2",
    ],
)
def test_fastavro_alone_would_take_what_the_codec_refuses(name: str) -> None:
    """Why the codec has a reader of its own. If this fails, fastavro became strict: read ADR 0009 again."""
    oracle = fastavro.parse_schema(SIGHTING.examined.plain)
    assert fastavro.schemaless_reader(io.BytesIO(EVENT_BOMBS[name]), oracle, None)


def test_fastavro_alone_would_die_of_a_schema_that_the_gate_refuses() -> None:
    """Why no recursive schema comes in. If this fails, fastavro got a limit: read ADR 0009 again."""
    done = in_a_child("""
        import io, fastavro
        tree = {"type": "record", "name": "R", "fields": [{"name": "a", "type": ["null", "R"]}]}
        fastavro.schemaless_reader(io.BytesIO(b"\\x02" * 400_000), fastavro.parse_schema(tree), None)
    """)
    assert done.returncode == -signal.SIGSEGV


def test_the_longest_list_an_event_can_hold_costs_little_memory() -> None:
    """The dearest value for its bytes: as many of the emptiest records as fit, in as many lists as there are."""
    dearest = forged(vehicles=NUMBER(8) + bytes(4 * 8) + b"\0")
    done = in_a_child(DECODE_ALL, json.dumps([(SIGHTING.type_name, dearest.hex())] * 1000).encode())
    assert done.returncode == 0
    assert set(done.stdout.decode().split()) == {"accepted"}
