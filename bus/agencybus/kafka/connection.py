"""How to reach a Kafka: the one description that every client of this package is made from."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

from cryptography import x509

from agencybus.errors import ConfigError, TransportError

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PORT: Final = 9092
REQUEST_SECONDS: Final = 10.0  # one request to one broker; an unanswered one costs this, then another is asked
METADATA_SECONDS: Final = 30.0  # who leads what is asked anew at least this often (aiokafka's own: 5 minutes)
BACKOFF_SECONDS: Final = 0.1  # between aiokafka's own retries
PROBE_SECONDS: Final = 5.0  # for all that `probe` does with one address

# ApiVersions, version 0, no client id (KIP-35): any broker answers it, before any authorization.
_API_VERSIONS: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """A Kafka and the way to it: mutual TLS, or plaintext where nothing is at stake (benchmarks).

    Attributes:
        bootstrap: `host:port`, several separated by commas.
        ca: PEM file of the authority that the brokers' certificates come from.
        cert: PEM file of this client's certificate.
        key: PEM file of its private key, not encrypted.
        plaintext: no TLS at all; asked for by name, never the outcome of a missing file.

    Raises:
        ConfigError: `config-invalid`, naming the setting.
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
        if not self.addresses():
            raise ConfigError("config-invalid", "no broker address", where="kafka.bootstrap")

    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each bootstrap broker, in the order written.

        Raises:
            ConfigError: `config-invalid` if one is not `host` or `host:port`.
        """
        found = []
        for part in filter(None, (part.strip() for part in self.bootstrap.split(","))):
            try:
                url = urlsplit(f"//{part}")
                host, port = url.hostname, DEFAULT_PORT if url.port is None else url.port
            except ValueError:
                host, port = None, 0
            if not host or not port or url.netloc != part or "@" in part:
                raise ConfigError("config-invalid", f"{part!r} is not host:port", where="kafka.bootstrap")
            found.append((host, port))
        return tuple(found)

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context: version 1.3, this authority only, host names checked; None if plaintext.

        Raises:
            ConfigError: `config-invalid` if a file can't be used; it says which, why and what to do.
        """
        if self.plaintext:
            return None
        assert self.ca is not None
        assert self.cert is not None
        assert self.key is not None
        for name, path in (("ca", self.ca), ("cert", self.cert), ("key", self.key)):
            _readable(name, path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and host name
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(cafile=self.ca)
        except ssl.SSLError as wrong:
            _unusable("ca", self.ca, "it holds no PEM certificate", wrong)
        try:
            # Without a password OpenSSL would ask the terminal, and a daemon would wait there for ever.
            context.load_cert_chain(self.cert, self.key, password=_no_password)
        except ssl.SSLError as wrong:
            if wrong.reason == "KEY_VALUES_MISMATCH":
                _unusable("key", self.key, "it is not the key of the certificate in kafka.cert", wrong)
            _unusable("cert", self.cert, "it or kafka.key is not PEM, or the key is encrypted", wrong)
        return context

    def certificate_expires_at(self) -> int | None:
        """When this client's certificate ends, µs since the epoch; None if plaintext.

        Raises:
            ConfigError: `config-invalid` if the file can't be read.
        """
        if self.cert is None:
            return None
        _readable("cert", self.cert)
        try:
            certificate = x509.load_pem_x509_certificate(self.cert.read_bytes())
        except ValueError as wrong:
            _unusable("cert", self.cert, "it holds no PEM certificate", wrong)
        return int(certificate.not_valid_after_utc.timestamp()) * 1_000_000

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for every class of aiokafka.

        Raises:
            ConfigError: as `tls`.
        """
        context = self.tls()
        return {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": "PLAINTEXT" if context is None else "SSL",
            "ssl_context": context,
            "request_timeout_ms": int(REQUEST_SECONDS * 1000),
            "metadata_max_age_ms": int(METADATA_SECONDS * 1000),
            "retry_backoff_ms": int(BACKOFF_SECONDS * 1000),
        }


def _no_password() -> str:
    return ""


def _readable(name: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as wrong:
        _unusable(name, path, wrong.strerror or type(wrong).__name__, wrong)


def _unusable(name: str, path: Path, why: str, cause: Exception) -> NoReturn:
    raise ConfigError(
        "config-invalid",
        f"the TLS file can't be used: {why}",
        where=f"kafka.{name} = {path}",
        hint=f"Put a PEM file that this user may read at {path}, or mend kafka.{name}.",
    ) from cause


async def probe(settings: KafkaSettings) -> None:
    """Speaks to the bootstrap brokers, one after the other, until one answers as a Kafka does.

    aiokafka only says "unable to bootstrap"; this finds out why, for people.

    Raises:
        ConfigError: a TLS file can't be used.
        TransportError: `broker-unreachable` or `broker-refused`, for the first address, with what to mend.
    """
    context = settings.tls()
    first: TransportError | None = None
    for host, port in settings.addresses():
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await _greet(host, port, context)
        except (OSError, EOFError) as error:  # TimeoutError and ssl.SSLError are OSErrors
            first = first or _why(error, f"{host}:{port}", settings)
        else:
            return
    assert first is not None  # settings without an address can't be made
    raise first


async def _greet(host: str, port: int, context: ssl.SSLContext | None) -> None:
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(_API_VERSIONS)
        # In TLS 1.3 the broker judges our certificate after the handshake: only an answer shows that it likes it.
        await reader.readexactly(4)
    except ConnectionError as error:
        raise EOFError from error  # told apart from one during the handshake
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _why(error: Exception, where: str, settings: KafkaSettings) -> TransportError:
    """What the error of a first contact means, and what mends it."""
    code = "broker-unreachable"
    match error:
        case ssl.SSLCertVerificationError():
            what = f"TLS: the broker's certificate was refused here: {error.verify_message}"
            hint = f"kafka.ca ({settings.ca}) must be the authority of a certificate that names this host."
        case ssl.SSLError() if "ALERT" in (error.reason or ""):
            code, what = "broker-refused", f"TLS: the broker refused this client: {error.reason}"
            hint = f"The broker must trust the authority of kafka.cert ({settings.cert}), in date, and speak TLS 1.3."
        case ssl.SSLError():
            what = f"TLS: no handshake: {error.reason or type(error).__name__}"
            hint = "Is this the port of the broker's TLS listener?"
        case socket.gaierror():
            what, hint = "the host name is not known", "Mend kafka.bootstrap, or the name service."
        case ConnectionRefusedError():
            what, hint = "nothing listens there", "Start the broker, or mend kafka.bootstrap."
        case TimeoutError():
            what, hint = f"no answer within {PROBE_SECONDS:g} s", "Look at the broker, and at firewalls on the way."
        case EOFError() if not settings.plaintext:
            code, what = (
                "broker-refused",
                "TLS: the broker hung up after the handshake, as it does with a client it refuses",
            )
            hint = f"The broker must trust the authority of kafka.cert ({settings.cert}), in date."
        case EOFError() | ConnectionError():
            what = "the broker hung up at once"
            hint = "A plaintext client at a TLS listener looks like this, and a TLS client at a plaintext one."
        case _:
            what, hint = f"no connection: {type(error).__name__}", "See the network."
    return TransportError(code, what, where=where, hint=hint)
