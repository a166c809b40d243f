"""Identities of events."""

from __future__ import annotations

from uuid import RFC_4122

import pytest

from agencybus.codec import uuid7
from sample_events import AT


def test_the_example_of_rfc_9562_comes_out() -> None:
    """Appendix A.6: Unix time 1645557742000 ms, rand_a CC3, rand_b 18C4DC0C0C07398F."""
    random10 = bytes.fromhex("0CC318C4DC0C0C07398F")
    assert str(uuid7(1_645_557_742_000_000, random10)) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@pytest.mark.parametrize("random10", [bytes(10), b"\xff" * 10])
def test_version_and_variant_stand_whatever_the_random_bytes(random10: bytes) -> None:
    made = uuid7(AT, random10)
    assert (made.version, made.variant) == (7, RFC_4122)


def test_later_identities_sort_later() -> None:
    assert uuid7(AT, b"\xff" * 10) < uuid7(AT + 1000, bytes(10))


@pytest.mark.parametrize(("at", "random10"), [(-1, bytes(10)), (1 << 58, bytes(10)), (AT, bytes(9)), (AT, bytes(11))])
def test_what_does_not_fit_is_refused(at: int, random10: bytes) -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        uuid7(at, random10)
