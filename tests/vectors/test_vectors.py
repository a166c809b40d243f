"""Every vector gets from the reader what its maker declared, and together they cover the specification."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agencybus.errors import CODES, Step
from agencybus.seal import opener
from vectors import world
from vectors.reader import FOLDER, MemoryReader, Vector

VECTORS = {path.stem: Vector.load(path) for path in sorted(FOLDER.glob("*.txt"))}
SPEC = Path(__file__).parents[2] / "docs" / "spec" / "records-v1.md"


@pytest.mark.parametrize("name", VECTORS)
def test_a_reader_says_of_each_vector_what_was_declared(name: str) -> None:
    vector, reader = VECTORS[name], MemoryReader()
    for earlier in vector.after:
        expect, step, _ = reader.take(VECTORS[earlier])
        assert (expect, step) == (VECTORS[earlier].expect, 0)
    assert reader.take(vector) == (vector.expect, vector.step, vector.code)


@pytest.mark.parametrize(
    ("name", "signer"),
    [
        ("directory-unknown", world.FBI),
        ("changed-body", ""),
        ("p384-zero", ""),
        ("mldsa-zero", ""),
        ("endpoint-unknown", ""),
        ("endpoint-withdrawn", ""),
        ("signer-of-another", ""),
        ("signer-stranger", ""),
        ("signer-expired", ""),
        ("signer-future", ""),
        ("empty", ""),
    ],
)
def test_who_signed_is_told_by_the_keys_of_today_or_not_at_all(name: str, signer: str) -> None:
    place = opener.Place(world.REALM, world.CHANNEL, 0)
    assert opener.attest(VECTORS[name].record, place, world.CURRENT, now=world.NOW) == signer


def test_every_step_refuses_something() -> None:
    assert {vector.step for vector in VECTORS.values()} == {0, *Step}


def test_every_code_of_the_specification_has_a_vector() -> None:
    steps = SPEC.read_text().partition("## 7.")[2].partition("## 8.")[0]
    named = {word for word in re.findall(r"`([a-z0-9-]+)`", steps) if word in CODES}
    # tests/unit/test_envelope.py: a file of 640 KiB says no more; tests/hostile/test_floods.py: takes 4,096 others
    elsewhere = {"record-too-large", "lineages-too-many"}
    assert named - elsewhere == {vector.code for vector in VECTORS.values() if vector.step}
    assert len(named) > 45
