"""Topics: their names, the settings that the design gives them, and making those that are missing.

A channel's name and its topic's are the same text, here and behind a mirror with IdentityReplicationPolicy. If a
mirror ever renames, `place` and `str` are the two directions of the one mapping to change.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from agencybus.errors import ConfigError, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from agencybus.kafka.connection import KafkaSettings

LANES: Final = frozenset({"urgent", "routine"})
MESSAGE_BYTES: Final = 700 * 1024  # a record of 640 KiB (wire/limits.py) and Kafka's batch around it
COPIES: Final = 3  # replicas in production; two of them acknowledge
ADMIN_TIMEOUT_S: Final = 30  # seconds for the whole of one request to the controller
_AGENCY: Final = r"(?P<agency>[a-z]{2}\.[a-z0-9-]+)"
_CHANNEL: Final = re.compile(rf"{_AGENCY}\.(?P<programme>[a-z0-9-]+)\.(?P<lane>urgent|routine)")
_GRANTS: Final = re.compile(rf"{_AGENCY}\.grants")


@dataclass(frozen=True, slots=True)
class Channel:
    """What an agency publishes under one programme, in one lane. `str` gives the topic."""

    agency: str
    programme: str
    lane: str

    def __str__(self) -> str:
        return f"{self.agency}.{self.programme}.{self.lane}"


@dataclass(frozen=True, slots=True)
class Grants:
    """The audience keys that an agency's endpoints grant. `str` gives the topic."""

    agency: str

    def __str__(self) -> str:
        return f"{self.agency}.grants"


def place(topic: str) -> Channel | Grants:
    """What a topic is for.

    Raises:
        ConfigError: `config-invalid` if it is no topic of this bus.
    """
    if found := _CHANNEL.fullmatch(topic):
        return Channel(**found.groupdict())
    if found := _GRANTS.fullmatch(topic):
        return Grants(**found.groupdict())
    raise ConfigError(
        "config-invalid",
        f"{topic!r} is no topic of this bus",
        hint="Topics are named <agency>.<programme>.urgent, <agency>.<programme>.routine or <agency>.grants.",
    )


def topic_settings(*, copies: int) -> dict[str, str]:
    """The settings of a topic (design, section 4).

    Args:
        copies: replicas; with three or more a quorum of two acknowledges.
    """
    return {
        # Not compacted, grants neither: whoever may write to a topic could erase a record by writing its key again.
        "cleanup.policy": "delete",
        "compression.type": "uncompressed",  # a producer's compressed batch is stored unpacked
        "max.message.bytes": str(MESSAGE_BYTES),
        "message.timestamp.type": "LogAppendTime",  # or a backdated record would be deleted at once
        "min.insync.replicas": str(min(copies, 2)),
        "retention.ms": "-1",  # an audit asks for all of it; what leaves, leaves through an archive
        "unclean.leader.election.enable": "false",
    }


async def create_missing(settings: KafkaSettings, topics: Mapping[str, int], *, copies: int = COPIES) -> list[str]:
    """Make the topics that do not exist yet; return when all of them have a leader to write to.

    Args:
        settings: of a principal that may create topics.
        topics: partitions by topic.
        copies: replicas of a new topic.

    Returns:
        The topics that were made, sorted.

    Raises:
        ConfigError: `config-invalid` if a name is no topic of this bus.
        TransportError: `broker-unreachable`, or `broker-refused` with the broker's reason.
    """
    settled = topic_settings(copies=copies)
    wanted = [
        NewTopic(name=str(place(name)), num_partitions=count, replication_factor=copies, topic_configs=settled)
        for name, count in topics.items()
    ]
    async with _admin(settings) as admin:
        response = await admin.create_topics(wanted)
        made = []
        for name, code, *reason in response.topic_errors:
            if code == TopicAlreadyExistsError.errno:
                continue
            if code:
                what = f"the topic was not made: {for_code(code).__name__} {' '.join(map(str, reason))}"
                raise TransportError("broker-refused", what, where=name)
            made.append(name)
        while not _led(await admin.describe_topics(list(topics)), topics):  # noqa: ASYNC110  nothing wakes us
            await asyncio.sleep(0.05)  # the controller has decided, the brokers hear of it one after the other
    return sorted(made)


async def differences(settings: KafkaSettings, topics: Mapping[str, int], *, copies: int = COPIES) -> list[str]:
    """What is not as `create_missing` would make it, one sentence each, naming the topic.

    Nothing is mended here: partitions can't be taken back, and an operator may have had a reason.

    Raises:
        TransportError: `broker-unreachable`.
    """
    async with _admin(settings) as admin:
        found = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics(list(topics))}
        responses = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics if found.get(name)]
        )
    configured = {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}  # name, value
        for response in responses
        for resource in response.resources
    }
    sentences = []
    for name, partitions in topics.items():
        if not found.get(name):
            sentences.append(f"{name} does not exist")
            continue
        if len(found[name]) != partitions:
            sentences.append(f"{name} has {len(found[name])} partitions, not {partitions}")
        if (least := min(len(partition["replicas"]) for partition in found[name])) < copies:
            sentences.append(f"{name} has {least} replicas, not {copies}")
        sentences += [
            f"{name}: {key} is {configured[name].get(key)}, not {value}"
            for key, value in topic_settings(copies=copies).items()
            if configured[name].get(key) != value
        ]
    return sentences


def _led(found: Iterable[dict[str, Any]], topics: Mapping[str, int]) -> bool:
    """Whether every partition of the topics has a leader."""
    leaders = {topic["topic"]: [partition["leader"] for partition in topic["partitions"]] for topic in found}
    return all(leaders.get(name) and min(leaders[name]) >= 0 for name in topics)


@asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, for as long as one request may take; its errors become ours."""
    admin = AIOKafkaAdminClient(**settings.client_options())
    try:
        async with asyncio.timeout(ADMIN_TIMEOUT_S):
            await admin.start()
            yield admin
    except TimeoutError as late:
        raise TransportError("broker-unreachable", "no answer in time", where=settings.bootstrap) from late
    except KafkaError as failed:
        raise TransportError("broker-unreachable", type(failed).__name__, where=settings.bootstrap) from failed
    finally:
        await admin.close()
