"""Topics for tests of the transport: each test its own, with settings that a real deployment would not allow."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agencybus.kafka.topics import create_missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agencybus.kafka.local import LocalCluster

_numbers = itertools.count()


async def new_topic(
    cluster: LocalCluster, *, partitions: int = 1, settings: Mapping[str, str] | None = None, name: str = ""
) -> str:
    """A topic that no other test uses, and its leader is there."""
    name = name or f"us.cbp.transport-{next(_numbers)}.routine"
    if settings is not None:
        admin = AIOKafkaAdminClient(**cluster.settings().client_options())
        await admin.start()
        try:
            response = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(settings))])
            assert [error[1] for error in response.topic_errors] == [0]
        finally:
            await admin.close()
    await create_missing(cluster.settings(), {name: partitions}, copies=1)
    return name
