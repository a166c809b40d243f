"""Names of topics have one reading."""

from __future__ import annotations

import pytest

from agencybus.errors import ConfigError
from agencybus.kafka.topics import MESSAGE_BYTES, Channel, Grants, place
from agencybus.wire.limits import RECORD_BYTES

KAFKAS_OVERHEAD = 1024  # bytes of a batch's header and a record's, with a key


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("us.cbp.cargo-targeting.routine", Channel("us.cbp", "cargo-targeting", "routine")),
        ("mx.fgr.fugitives.urgent", Channel("mx.fgr", "fugitives", "urgent")),
        ("us.cbp.grants", Grants("us.cbp")),
        ("us.grants.grants", Grants("us.grants")),
        ("us.cbp.grants.urgent", Channel("us.cbp", "grants", "urgent")),
    ],
)
def test_a_topic_is_read_and_written_back_the_same(topic: str, expected: Channel | Grants) -> None:
    assert place(topic) == expected
    assert str(place(topic)) == topic


@pytest.mark.parametrize(
    "topic",
    ["", "us.cbp", "grants", "us.cbp.cargo-targeting", "us.cbp.cargo.slow", "us.cbp.a.b.urgent", "US.cbp.a.urgent",
     "us.cbp.a_b.urgent", "us.cbp.a.urgent\n", "us.cbp..urgent", "__consumer_offsets", "us.cbp/x.a.urgent"],
)  # fmt: skip
def test_any_other_name_is_no_topic_of_this_bus(topic: str) -> None:
    with pytest.raises(ConfigError, match="config-invalid"):
        place(topic)


def test_the_largest_record_fits_into_a_topic() -> None:
    assert RECORD_BYTES + KAFKAS_OVERHEAD <= MESSAGE_BYTES
