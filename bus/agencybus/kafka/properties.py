"""The settings of the development broker: those of the design, and small ones for a machine that is shared.

All paths are relative to the node's folder, where Java runs: nothing to escape, and a data folder can be moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agencybus.kafka.certificates import ADMIN, BROKER
from agencybus.kafka.topics import topic_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST: Final = "127.0.0.1"
BROKER_STORE: Final = "../tls/broker/store.pem"
TRUST_STORE: Final = "../tls/authority/ca.pem"
# One rule and no DEFAULT: a subject that does not begin with its common name is refused. A name with a comma, a plus or
# an escape does not match, so no subject can smuggle in a second one (RFC 4514, section 2.4).
PRINCIPAL_RULE: Final = r"RULE:^CN=([^,+=\\\\]+)(?:,.*)?$/$1/"  # the properties format halves the backslashes


@dataclass(frozen=True, slots=True)
class Ports:
    """Where one node listens, on the loopback interface only.

    Attributes:
        bus: mutual TLS, for clients and the other brokers.
        controller: mutual TLS, for the quorum.
        plaintext: no TLS and no names, for benchmarks; absent by default.
        proxied: mutual TLS, for what comes through a proxy; absent by default.
        front: where that proxy listens: clients of `proxied` are sent there.
    """

    bus: int
    controller: int
    plaintext: int | None = None
    proxied: int | None = None
    front: int | None = None


def server_properties(number: int, nodes: Sequence[Ports]) -> str:
    """The `server.properties` of node `number` (from 1) in a cluster of these nodes."""
    copies = len(nodes)
    own = nodes[number - 1]
    listeners = {"BUS": own.bus, "CONTROLLER": own.controller}
    supers = [f"User:{BROKER}", f"User:{ADMIN}"]
    if own.plaintext is not None:
        listeners["PLAIN"] = own.plaintext
        supers.append("User:ANONYMOUS")  # who asks for plaintext asks for a broker without rules
    advertised = {name: port for name, port in listeners.items() if name != "CONTROLLER"}
    if own.proxied is not None and own.front is not None:
        listeners["PROXIED"], advertised["PROXIED"] = own.proxied, own.front
    voters = (f"{id_}@{HOST}:{node.controller}" for id_, node in enumerate(nodes, start=1))
    settings = {
        "process.roles": "broker,controller",
        "node.id": number,
        "controller.quorum.voters": ",".join(voters),
        "listeners": _addresses(listeners),
        "advertised.listeners": _addresses(advertised),
        "listener.security.protocol.map": "BUS:SSL,CONTROLLER:SSL,PLAIN:PLAINTEXT,PROXIED:SSL",
        "inter.broker.listener.name": "BUS",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": "data",
        # --- who may come in, and who may do what
        "ssl.client.auth": "required",
        "ssl.enabled.protocols": "TLSv1.3",
        "ssl.cipher.suites": "TLS_CHACHA20_POLY1305_SHA256",  # AES-GCM in a young JVM: 9 MB/s, this: 40
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": BROKER_STORE,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": TRUST_STORE,
        "ssl.principal.mapping.rules": PRINCIPAL_RULE,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": ";".join(supers),
        # --- what a topic gets that was made without our settings
        **_as_broker_defaults(topic_settings(copies=copies)),
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        # --- Kafka's own topics: one partition each instead of fifty
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": min(copies, 2),
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": min(copies, 2),
        # --- small and quick: few threads, little memory, a dead broker noticed in seconds
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,  # bytes; 128 MiB by default, taken at the start
        "group.initial.rebalance.delay.ms": 0,
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 4000,  # also what a restart after `kill -9` waits for its former self to expire
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _addresses(ports: dict[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())


def _as_broker_defaults(topic: dict[str, str]) -> dict[str, str]:
    """A topic's settings under the names they have as a broker's defaults."""
    names = {
        "max.message.bytes": "message.max.bytes",
        "message.timestamp.type": "log.message.timestamp.type",
        "cleanup.policy": "log.cleanup.policy",
    }
    return {names.get(name, name): value for name, value in topic.items()}
