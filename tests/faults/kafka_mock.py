"""librdkafka's mock cluster out of confluent-kafka's wheel: a Kafka that answers what a test wants, without Java.

It speaks the protocol over sockets. It does not check sequence numbers, so what an idempotent producer does wrong after
an error only shows against the real broker (tests/integration).
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Self

import confluent_kafka

from agencybus.kafka.connection import KafkaSettings

PRODUCE, FETCH, METADATA, INIT_PRODUCER_ID = 0, 1, 3, 22  # Kafka's numbers of requests


def _library() -> Any:
    [found] = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*")
    library = ctypes.CDLL(str(found))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    library.rd_kafka_mock_push_request_errors_array.restype = None
    return library


class MockKafka:
    """Brokers 1 to `brokers` on loopback, and topics."""

    def __init__(self, *, brokers: int = 1) -> None:
        self._library = _library()
        reason = ctypes.create_string_buffer(512)
        self._client = ctypes.c_void_p(
            self._library.rd_kafka_new(0, ctypes.c_void_p(self._library.rd_kafka_conf_new()), reason, 512)
        )
        assert self._client.value, reason.value
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._client, brokers))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    @property
    def settings(self) -> KafkaSettings:
        return KafkaSettings(self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode(), plaintext=True)

    def topic(self, name: str, partitions: int = 1) -> str:
        self._did(self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1))
        return name

    def lead(self, topic: str, partition: int, broker: int) -> None:
        self._did(self._library.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, broker))

    def answer(self, request: int, *codes: int) -> None:
        """The next requests of a kind get these error codes, one each."""
        errors = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(codes)), errors
        )

    def down(self, broker: int = 1) -> None:
        self._did(self._library.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def up(self, broker: int = 1) -> None:
        self._did(self._library.rd_kafka_mock_broker_set_up(self._cluster, broker))

    def slow(self, milliseconds: int, broker: int = 1) -> None:
        """Every answer of a broker takes so long from now on."""
        self._did(self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, milliseconds))

    def _did(self, error: int) -> None:
        assert error == 0, f"librdkafka's error {error}"
