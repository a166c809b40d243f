"""What aiokafka raises, in the words of our error registry."""

from __future__ import annotations

import asyncio
from typing import Final

from aiokafka import errors as kafka

from agencybus.errors import ConfigError, TransportError
from agencybus.kafka.connection import KafkaSettings, probe

DIAGNOSE_SECONDS: Final = 2.0  # on top of the caller's deadline, to say why

# The broker understood and said no. Asking again changes nothing until an operator changes something.
_REFUSED: Final = (
    kafka.TopicAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.MessageSizeTooLargeError,
    kafka.RecordListTooLargeError,
    kafka.InvalidTopicError,
    kafka.InvalidTimestampError,
    kafka.PolicyViolationError,
    kafka.UnsupportedVersionError,
    kafka.UnsupportedForMessageFormatError,
    kafka.IncompatibleBrokerVersion,
)
_ACL_HINT: Final = "Grant this certificate's principal READ or WRITE and DESCRIBE on the topic."


def translate(error: Exception, where: str) -> TransportError:
    """The documented error for what aiokafka raised.

    Args:
        error: anything that a call of aiokafka raised.
        where: topic, partition, address: whatever tells an operator the place.

    Returns:
        `broker-refused`, `topic-missing`, `offset-lost`, or `broker-unreachable` for all that may pass.
    """
    match error:
        case TransportError():
            return error
        case kafka.TopicAuthorizationFailedError() | kafka.ClusterAuthorizationFailedError():
            return TransportError("broker-refused", "the broker's ACLs say no", where=where, hint=_ACL_HINT)
        case kafka.UnknownTopicOrPartitionError():
            return TransportError("topic-missing", "the brokers do not know the topic", where=where)
        case kafka.OffsetOutOfRangeError():
            return TransportError("offset-lost", "the broker no longer has the next record", where=where)
    code = "broker-refused" if isinstance(error, _REFUSED) else "broker-unreachable"
    # A BrokerResponseError's text is Kafka's own; others may quote arguments, so only their names are told.
    told = error.message if isinstance(error, kafka.BrokerResponseError) else type(error).__name__
    return TransportError(code, f"Kafka: {told}", where=where)


async def diagnose(settings: KafkaSettings, error: TransportError) -> TransportError:
    """The reason behind `broker-unreachable`, found by knocking; any other error is returned as it is."""
    if error.code != "broker-unreachable":
        return error
    try:
        async with asyncio.timeout(DIAGNOSE_SECONDS):
            await probe(settings)
    except TransportError as reason:
        return reason
    except (ConfigError, TimeoutError):
        pass
    return error
