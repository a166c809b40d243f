"""How to reach a Kafka: the one description that every client of this package is made from."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agencybus.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """A Kafka and the way to it: mutual TLS, or plaintext where nothing is at stake (benchmarks).

    Attributes:
        bootstrap: `host:port`, several separated by commas.
        ca: PEM file of the authority that the brokers' certificates come from.
        cert: PEM file of this client's certificate.
        key: PEM file of its private key.
        plaintext: no TLS at all; asked for by name, never the outcome of a missing file.
    """

    bootstrap: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    plaintext: bool = False

    def __post_init__(self) -> None:
        files = (self.ca, self.cert, self.key)
        if self.plaintext and any(files):
            raise ConfigError("config-invalid", "plaintext and TLS files exclude each other", where="kafka")
        if not self.plaintext and not all(files):
            raise ConfigError("config-invalid", "TLS needs all of ca, cert and key", where="kafka")

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for every class of aiokafka.

        Raises:
            ConfigError: `config-invalid` if a file can't be used.
        """
        if self.plaintext:
            return {"bootstrap_servers": self.bootstrap, "security_protocol": "PLAINTEXT"}
        assert self.ca is not None
        assert self.cert is not None
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.ca))
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_cert_chain(self.cert, self.key)
        except OSError as wrong:  # ssl.SSLError is one
            raise ConfigError("config-invalid", f"TLS files can't be used: {wrong}", where="kafka") from wrong
        return {"bootstrap_servers": self.bootstrap, "security_protocol": "SSL", "ssl_context": context}
