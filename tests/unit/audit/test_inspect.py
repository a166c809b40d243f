"""Inspect says of every test vector what a reader says: the same step, the same code, nothing behind it."""

from __future__ import annotations

import pytest

from agencybus.audit import inspect as inspection
from agencybus.audit.inspect import Inspection, Opening
from agencybus.errors import Step
from agencybus.keyring import Keyring
from agencybus.seal.opener import Place
from vectors import world
from vectors.events import CODEC
from vectors.reader import FOLDER, Vector

VECTORS = {path.stem: Vector.load(path) for path in sorted(FOLDER.glob("*.txt"))}


def inspect(vector: Vector, *, opened: bool) -> Inspection:
    channel, _, partition = vector.place.rpartition("/")
    keyring = Keyring(vector.reader, [world.SIGNERS[world.FBI]], [world.KEMS[vector.reader]], bytes(32))
    return inspection.inspect(
        vector.record,
        Place(world.REALM, channel, int(partition)),
        world.FixedView(),
        now=world.NOW,
        arrived_at=vector.arrived,
        before=[VECTORS[name].record for name in vector.after],
        opening=Opening(keyring, lambda _id, _endpoint: vector.key, CODEC) if opened else None,
    )


@pytest.mark.parametrize("name", VECTORS)
def test_with_a_key_the_step_that_a_reader_refuses_at_is_the_one_that_refuses(name: str) -> None:
    vector = VECTORS[name]
    found = inspect(vector, opened=True)
    refused = found.refused
    assert (refused.step, refused.code) if refused else (vector.step, vector.code if vector.step else "") == (0, "")
    verdicts = [line.verdict for line in found.steps]
    if vector.step:
        assert set(verdicts[vector.step :]) <= {"not reached", "not applicable"}
    if vector.expect == "events":
        assert found.events
    else:
        assert not found.events or vector.expect == "duplicate"


@pytest.mark.parametrize("name", VECTORS)
def test_without_a_key_it_ends_behind_the_entitlement(name: str) -> None:
    vector = VECTORS[name]
    found = inspect(vector, opened=False)
    refused = found.refused
    if 0 < vector.step <= Step.ENTITLEMENT:
        assert refused is not None
        assert (refused.step, refused.code) == (vector.step, vector.code)
    else:
        assert refused is None
        assert {line.verdict for line in found.steps[Step.ENTITLEMENT :]} <= {"needs a key", "not applicable"}
    assert not found.events
    assert found.verified == (refused is None or refused.step > Step.CANONICAL)


def test_a_first_sight_in_the_middle_of_a_lineage_is_not_decided() -> None:
    found = inspect(VECTORS["frame-midway"], opened=False)
    assert found.steps[Step.LINEAGE - 1].verdict == "not decided"


def test_what_no_envelope_is_has_no_header() -> None:
    found = inspect(VECTORS["empty"], opened=False)
    assert (found.kind, found.digest, found.header) == ("", "", {})
