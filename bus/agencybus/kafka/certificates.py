"""Certificates for a broker on this machine and for its clients: development and tests only.

Kafka's principal is the common name: an endpoint's own name (`us.cbp/ntc-cargo`), `broker` or `admin`. The signing key
lies beside the certificates, so whoever can read the folder is every endpoint of this broker. It is the user's own.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography.hazmat.primitives import serialization

from agencybus.errors import ConfigError
from agencybus.kafka.extras import need

if TYPE_CHECKING:
    from collections.abc import Mapping

BROKER: Final = "broker"  # the principal of the brokers among themselves
ADMIN: Final = "admin"  # the principal that makes topics and ACLs
_ENDPOINT: Final = re.compile(r"(?P<agency>[a-z]{2}\.[a-z0-9-]+)/(?P<system>[a-z0-9-]+)")
_BROKER_ADDRESSES: Final = ("127.0.0.1", "localhost")


def client_host(name: str) -> str:
    """A host name for a client's certificate that no server can have, so that it does not pass for a broker's.

    Args:
        name: an endpoint's name, or `admin`.

    Raises:
        ConfigError: `usage` if it is neither.
    """
    endpoint = _ENDPOINT.fullmatch(name)
    if endpoint is None and name != ADMIN:
        raise ConfigError("usage", f"{name!r} is no endpoint's name", hint="Endpoints look like us.cbp/ntc-cargo.")
    own = f"{endpoint['system']}.{endpoint['agency']}" if endpoint else name
    return f"{own}.invalid"  # RFC 6761, section 6.4


class ClientFiles(NamedTuple):
    """Paths of the three PEM files that a client needs; the key can be read by this user only."""

    ca: Path
    cert: Path
    key: Path


class DevAuthority:
    """A certificate authority in a folder, made at first use.

    Args:
        folder: its own folder, mode 0700.

    Raises:
        ConfigError: `broker-setup` if the `dev` extra is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca = folder / "authority" / "ca.pem"
        self._key = folder / "authority" / "ca.key"
        trustme = need("trustme", extra="dev")
        if not self.ca.exists():
            made = trustme.CA()
            pems = {"ca.pem": made.cert_pem.bytes(), "ca.key": made.private_key_pem.bytes()}
            _install(folder / "authority", pems)
        self._ca = trustme.CA.from_pem(self.ca.read_bytes(), self._key.read_bytes())

    def broker_files(self) -> tuple[Path, Path]:
        """Trust store and key store of the brokers, both PEM."""
        folder = self._issued(BROKER, _BROKER_ADDRESSES)
        return self.ca, folder / "store.pem"

    def client_files(self, name: str) -> ClientFiles:
        """The files of one client; the same ones when asked again.

        Args:
            name: an endpoint's name, or `admin`.

        Raises:
            ConfigError: `usage` if it is neither.
        """
        folder = self._issued(name, (client_host(name),))
        return ClientFiles(self.ca, folder / "cert.pem", folder / "key.pem")

    def _issued(self, common_name: str, hosts: tuple[str, ...]) -> Path:
        folder = self._folder / common_name.replace("/", "+")
        if not folder.exists():
            issued = self._ca.issue_cert(*hosts, common_name=common_name)
            cert = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
            key = _pkcs8(issued.private_key_pem.bytes())
            as_client = {"cert.pem": cert, "key.pem": key}
            _install(folder, {"store.pem": key + cert} if common_name == BROKER else as_client)
        return folder


def _pkcs8(pem: bytes) -> bytes:
    """The same private key in PKCS #8, the one form that Kafka's PEM stores read; trustme writes SEC 1."""
    key: Any = serialization.load_pem_private_key(pem, password=None)
    private: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private


def _install(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files, mode 0600, and let them appear together: of two processes the first one's stay."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent))  # mode 0700
    try:
        for name, content in files.items():
            with os.fdopen(os.open(beside / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        beside.rename(folder)
    except OSError:
        shutil.rmtree(beside)
        if not folder.exists():
            raise
