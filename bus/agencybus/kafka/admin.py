"""Kafka's access rules, and whether a cluster is up. The only importer of confluent-kafka (extra `admin`).

These rules are the outer fence: they keep a stranger's bytes out of a topic and an endpoint's hands off other
agencies' topics. What an event's reader may believe is decided by the seal and the directory alone.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from agencybus.errors import ConfigError, TransportError
from agencybus.kafka.extras import need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agencybus.kafka.connection import KafkaSettings

REQUEST_TIMEOUT_S: Final = 30  # seconds for one request
READY_POLL_S: Final = 0.5  # seconds one look at a starting cluster may take
_SILENT: Final = 0  # librdkafka's log level; it would write to standard error


def allow(
    settings: KafkaSettings,
    principal: str,
    *,
    read_topics: Iterable[str] = (),
    write_prefixes: Iterable[str] = (),
    groups: Iterable[str] = (),
) -> None:
    """Give a principal rights; what it has already it keeps. Nothing is allowed that nobody allowed.

    Args:
        settings: of a principal that may alter the cluster.
        principal: the common name of its certificate, such as `us.cbp/ntc-cargo`.
        read_topics: topics it reads; a name that ends in a dot is a prefix (`us.cbp.` is all of that agency's).
        write_prefixes: prefixes of topics it writes, each ending in a dot: `us.cbp` would reach `us.cbp-lab.` too.
        groups: groups in which it stores offsets, for lag tools; a name that ends in a slash is a prefix.

    Raises:
        ConfigError: `usage` if a prefix does not end in a dot; `broker-setup` without the extra `admin`.
        TransportError: `broker-unreachable`, or `broker-refused` with the broker's reason.
    """
    write_prefixes = tuple(write_prefixes)
    for prefix in write_prefixes:
        if not prefix.endswith("."):
            raise ConfigError("usage", f"the prefix {prefix!r} does not end in a dot")
    rules = [
        *(_rule(principal, "TOPIC", topic, "READ") for topic in read_topics),
        *(_rule(principal, "TOPIC", prefix, "WRITE") for prefix in write_prefixes),  # enough for idempotence
        *(_rule(principal, "GROUP", group, "READ") for group in groups),
    ]
    if not rules:
        return
    with _client(settings) as client:
        for result in client.create_acls(rules, request_timeout=REQUEST_TIMEOUT_S).values():
            result.result()


def admit(settings: KafkaSettings, endpoint: str) -> None:
    """Give an endpoint what every endpoint needs: write its own agency's topics, read all, store its own offsets.

    Reading is open because nothing readable is in there; who must not even see traffic gets narrower rules (`allow`).

    Raises:
        ConfigError: `broker-setup` without the extra `admin`.
        TransportError: `broker-unreachable` or `broker-refused`.
    """
    agency, _, _ = endpoint.partition("/")
    allow(settings, endpoint, read_topics=("*",), write_prefixes=(f"{agency}.",), groups=(f"{endpoint}/",))


def rights(settings: KafkaSettings, principal: str) -> list[str]:
    """What a principal was given, one `OPERATION KIND name` each, sorted; prefixes end in a dot or slash.

    Raises:
        ConfigError: `broker-setup` without the extra `admin`.
        TransportError: `broker-unreachable` or `broker-refused`.
    """
    kafka = need("confluent_kafka.admin", extra="admin")
    everything = kafka.AclBindingFilter(
        restype=kafka.ResourceType.ANY,
        name=None,
        resource_pattern_type=kafka.ResourcePatternType.ANY,
        principal=f"User:{principal}",
        host=None,
        operation=kafka.AclOperation.ANY,
        permission_type=kafka.AclPermissionType.ALLOW,
    )
    with _client(settings) as client:
        found = client.describe_acls(everything, request_timeout=REQUEST_TIMEOUT_S).result()
    return sorted(f"{rule.operation.name} {rule.restype.name} {rule.name}" for rule in found)


def wait_until_ready(
    settings: KafkaSettings, *, brokers: int, timeout_s: float, still_alive: Callable[[], None] = lambda: None
) -> None:
    """Return when so many brokers answer for the cluster.

    Args:
        settings: of any principal the brokers let in.
        brokers: how many the cluster has.
        timeout_s: seconds until it is given up.
        still_alive: called between looks; raises if it makes no sense to wait on.

    Raises:
        ConfigError: `broker-setup` without the extra `admin`.
        TransportError: `broker-unreachable` after the timeout.
    """
    confluent = need("confluent_kafka", extra="admin")
    deadline = time.monotonic() + timeout_s
    with _client(settings) as client:
        while time.monotonic() < deadline:
            still_alive()
            with suppress(confluent.KafkaException):
                if len(client.list_topics(timeout=READY_POLL_S).brokers) >= brokers:
                    return
            time.sleep(0.05)
    what = f"not all of {brokers} brokers are up after {timeout_s:.0f} s"
    raise TransportError("broker-unreachable", what, where=settings.bootstrap)


def _rule(principal: str, kind: str, name: str, operation: str) -> Any:
    kafka = need("confluent_kafka.admin", extra="admin")
    pattern = kafka.ResourcePatternType.PREFIXED if name[-1] in "./" else kafka.ResourcePatternType.LITERAL
    return kafka.AclBinding(
        restype=kafka.ResourceType[kind],
        name=name,
        resource_pattern_type=pattern,
        principal=f"User:{principal}",
        host="*",
        operation=kafka.AclOperation[operation],
        permission_type=kafka.AclPermissionType.ALLOW,
    )


@contextmanager
def _client(settings: KafkaSettings) -> Iterator[Any]:
    """An admin client; librdkafka's errors become ours."""
    kafka = need("confluent_kafka.admin", extra="admin")
    confluent = need("confluent_kafka", extra="admin")
    options: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap,
        "log_level": _SILENT,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 200,
    }
    if not settings.plaintext:
        options |= {
            "security.protocol": "ssl",
            "ssl.ca.location": str(settings.ca),
            "ssl.certificate.location": str(settings.cert),
            "ssl.key.location": str(settings.key),
        }
    try:
        yield kafka.AdminClient(options)
    except confluent.KafkaException as failed:
        error = failed.args[0]
        refused = error.code() >= 0  # negative ones are librdkafka's own: no connection, no answer
        code = "broker-refused" if refused else "broker-unreachable"
        raise TransportError(code, error.name(), where=settings.bootstrap) from failed
