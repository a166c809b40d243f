"""Which of our codes an error of aiokafka becomes."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from aiokafka import errors as kafka

from agencybus.errors import TransportError
from agencybus.kafka.connection import KafkaSettings
from agencybus.kafka.faults import diagnose, translate

PLACE = TopicPartition("us.fbi.fugitives.urgent", 0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (kafka.TopicAuthorizationFailedError("t"), "broker-refused"),
        (kafka.ClusterAuthorizationFailedError(), "broker-refused"),
        (kafka.MessageSizeTooLargeError(), "broker-refused"),
        (kafka.InvalidTopicError(), "broker-refused"),
        (kafka.IncompatibleBrokerVersion(), "broker-refused"),
        (kafka.UnknownTopicOrPartitionError(), "topic-missing"),
        (kafka.OffsetOutOfRangeError({PLACE: 3}), "offset-lost"),
        (kafka.KafkaConnectionError("x"), "broker-unreachable"),
        (kafka.NotEnoughReplicasError(), "broker-unreachable"),
        (kafka.UnknownError(), "broker-unreachable"),
        (kafka.OutOfOrderSequenceNumber(), "broker-unreachable"),
        (TimeoutError(), "broker-unreachable"),
        (AssertionError("Unrecognized partition"), "broker-unreachable"),
    ],
)
def test_an_error_becomes_its_code_at_its_place(error: Exception, code: str) -> None:
    made = translate(error, "us.fbi.fugitives.urgent[0]")
    assert made.code == code
    assert made.where == "us.fbi.fugitives.urgent[0]"
    assert made.hint


def test_an_error_of_ours_stays_as_it_is() -> None:
    ours = TransportError("topic-missing", "x")
    assert translate(ours, "elsewhere") is ours


def test_the_text_of_an_unknown_exception_is_not_told_since_it_may_quote_a_value() -> None:
    assert "canary" not in str(translate(TypeError("canary"), "t[0]"))


async def test_only_what_may_be_the_networks_fault_is_asked_after() -> None:
    nowhere = KafkaSettings("localhost:1", plaintext=True)
    refused = TransportError("broker-refused", "ACL")
    assert await diagnose(nowhere, refused) is refused
    assert (await diagnose(nowhere, TransportError("broker-unreachable", "?"))).what == "nothing listens there"
