"""A plain Kafka producer and consumer, as anybody writes them: the control of the demo and a peer in the bench.

Nothing here protects anything, and nothing else of this package uses it.
"""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agencybus.kafka.connection import KafkaSettings


async def create(settings: KafkaSettings, topic: str) -> None:
    """Make a topic with one partition and Kafka's own settings."""
    admin = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def send(settings: KafkaSettings, topic: str, values: list[bytes]) -> None:
    """Send values to a topic, acknowledged by all in-sync replicas."""
    async with AIOKafkaProducer(**settings.client_options(), acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def receive(settings: KafkaSettings, topic: str, count: int) -> list[bytes]:
    """The first `count` values of a topic."""
    found: list[bytes] = []
    async with AIOKafkaConsumer(topic, **settings.client_options(), auto_offset_reset="earliest") as consumer:
        async for record in consumer:
            found.append(record.value)
            if len(found) == count:
                break
    return found
