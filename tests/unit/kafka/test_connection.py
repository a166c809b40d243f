"""What a wrong setting, file or handshake is told as: which one, why, and what mends it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme

from agencybus.errors import ConfigError, TransportError
from agencybus.kafka import connection
from agencybus.kafka.connection import KafkaSettings, probe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PEM files of two authorities: `ours` signed broker and client, `theirs` signed a stranger."""
    home = tmp_path_factory.mktemp("tls")
    ours, theirs = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(home / "ca.pem")
    theirs.cert_pem.write_to_path(home / "other-ca.pem")
    certificates = {
        "client": ours.issue_cert(common_name="us.cbp/ntc-cargo"),
        "stranger": theirs.issue_cert(common_name="us.cbp/ntc-cargo"),
        "broker": ours.issue_cert("localhost"),
        "elsewhere": ours.issue_cert("kafka.example"),
    }
    for name, certificate in certificates.items():
        certificate.private_key_pem.write_to_path(home / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(home / f"{name}.pem")
    return home


def settings(folder: Path, *, port: int = 9, ca: str = "ca.pem", name: str = "client") -> KafkaSettings:
    return KafkaSettings(f"localhost:{port}", folder / ca, folder / f"{name}.pem", folder / f"{name}.key")


@asynccontextmanager
async def listener(folder: Path, certificate: str | None, *, answers: bool = True) -> AsyncIterator[int]:
    """What stands at a broker's port: TLS with a certificate or none, which answers a greeting or hangs up."""
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.pem")
        context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
        context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4))
        if answers and size == 10:
            request = await reader.readexactly(size)
            assert request[:2] == (18).to_bytes(2)  # ApiVersions
            writer.write(b"\0\0\0\x06" + request[4:8] + b"\0\0")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "localhost", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_plaintext_is_asked_for_by_name_and_never_the_outcome_of_a_forgotten_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match="TLS needs all of ca, cert and key"):
        KafkaSettings("localhost:9092")
    with pytest.raises(ConfigError, match="TLS needs all of"):
        KafkaSettings("localhost:9092", ca=folder / "ca.pem", cert=folder / "client.pem")
    with pytest.raises(ConfigError, match="exclude each other"):
        KafkaSettings("localhost:9092", ca=folder / "ca.pem", plaintext=True)
    assert KafkaSettings("localhost:9092", plaintext=True).client_options()["security_protocol"] == "PLAINTEXT"


def test_addresses_are_read_strictly() -> None:
    several = KafkaSettings("a.example:9093, b.example,[::1]:9094", plaintext=True)
    assert several.addresses() == (("a.example", 9093), ("b.example", 9092), ("::1", 9094))


@pytest.mark.parametrize("bootstrap", ["", ",", "a:b", "a:0", "a:70000", "http://a:9092", "a:9092/x", ":9092", "u@a:1"])
def test_a_bootstrap_that_is_no_address_is_named(bootstrap: str) -> None:
    with pytest.raises(ConfigError) as raised:
        KafkaSettings(bootstrap, plaintext=True)
    assert raised.value.where == "kafka.bootstrap"


def test_tls_is_version_13_with_this_authority_only_and_host_names_checked(folder: Path) -> None:
    context = settings(folder).client_options()["ssl_context"]
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize("lost", ["ca", "cert", "key"])
def test_a_missing_tls_file_is_named_with_its_setting_and_path(folder: Path, lost: str) -> None:
    files = {"ca": folder / "ca.pem", "cert": folder / "client.pem", "key": folder / "client.key"}
    files[lost] = folder / "not-there.pem"
    with pytest.raises(ConfigError, match="No such file") as raised:
        KafkaSettings("localhost:9092", files["ca"], files["cert"], files["key"]).client_options()
    assert raised.value.where == f"kafka.{lost} = {folder / 'not-there.pem'}"
    assert str(folder / "not-there.pem") in raised.value.hint


def test_a_key_of_another_certificate_is_told_from_a_file_that_is_no_pem(folder: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise.pem"
    noise.write_text("-----BEGIN NOTHING-----\n")
    ca, cert, key = folder / "ca.pem", folder / "client.pem", folder / "client.key"
    with pytest.raises(ConfigError, match="not the key of the certificate"):
        KafkaSettings("localhost:9092", ca, cert, folder / "stranger.key").tls()
    with pytest.raises(ConfigError, match="no PEM certificate"):
        KafkaSettings("localhost:9092", noise, cert, key).tls()
    with pytest.raises(ConfigError, match="is not PEM"):
        KafkaSettings("localhost:9092", ca, noise, key).tls()


def test_an_encrypted_key_is_refused_and_does_not_ask_the_terminal(folder: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as pem  # noqa: PLC0415

    key = pem.load_pem_private_key((folder / "client.key").read_bytes(), None)
    locked = tmp_path / "locked.key"
    form = (pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.BestAvailableEncryption(b"secret"))
    locked.write_bytes(key.private_bytes(*form))
    with pytest.raises(ConfigError, match="encrypted"):
        KafkaSettings("localhost:9092", folder / "ca.pem", folder / "client.pem", locked).tls()


async def test_a_broker_that_answers_is_fine(folder: Path) -> None:
    async with listener(folder, "broker") as port:
        await probe(settings(folder, port=port))


async def test_one_answering_broker_of_several_is_enough(folder: Path) -> None:
    async with listener(folder, None) as port:
        await probe(KafkaSettings(f"localhost:1,localhost:{port}", plaintext=True))


async def test_a_broker_of_an_unknown_authority_is_told_apart(folder: Path) -> None:
    async with listener(folder, "broker") as port:
        with pytest.raises(TransportError, match=r"certificate was refused here: .*certificate") as raised:
            await probe(settings(folder, port=port, ca="other-ca.pem"))
    assert raised.value.code == "broker-unreachable"
    assert raised.value.where == f"localhost:{port}"
    assert str(folder / "other-ca.pem") in raised.value.hint


async def test_a_broker_with_another_hosts_certificate_is_told_apart(folder: Path) -> None:
    async with listener(folder, "elsewhere") as port:
        with pytest.raises(TransportError, match="Hostname mismatch"):
            await probe(settings(folder, port=port))


async def test_a_broker_that_refuses_our_certificate_is_told_apart(folder: Path) -> None:
    async with listener(folder, "broker") as port:
        with pytest.raises(TransportError, match="TLS: the broker hung up after the handshake") as raised:
            await probe(settings(folder, port=port, name="stranger"))
    assert raised.value.code == "broker-refused"
    assert str(folder / "stranger.pem") in raised.value.hint


async def test_a_broker_that_says_why_it_refuses_our_certificate_is_quoted(folder: Path) -> None:
    # Threads and not asyncio, whose server closes before the alert is out; Kafka sends it.
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "broker.pem", folder / "broker.key")
    context.verify_mode = ssl.CERT_REQUIRED

    def serve(door: socket.socket) -> None:
        plain, _ = door.accept()
        with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as tls:
            with contextlib.suppress(ssl.SSLError):
                tls.do_handshake()
            # A socket closed with something unread resets the connection, and the alert would be lost on the way.
            with contextlib.suppress(ConnectionError):
                while socket.socket.recv(tls, 100):
                    pass

    with socket.create_server(("localhost", 0)) as door:
        serving = asyncio.create_task(asyncio.to_thread(serve, door))
        with pytest.raises(TransportError, match=r"refused this client: .*UNKNOWN_CA") as raised:
            await probe(settings(folder, port=door.getsockname()[1], name="stranger"))
        await serving
    assert raised.value.code == "broker-refused"


async def test_tls_at_a_plaintext_port_and_plaintext_at_a_tls_port_are_told(folder: Path) -> None:
    async with listener(folder, None) as port:
        with pytest.raises(TransportError, match=r"hung up|no handshake"):
            await probe(settings(folder, port=port))
    async with listener(folder, "broker") as port:
        with pytest.raises(TransportError, match="hung up"):
            await probe(KafkaSettings(f"localhost:{port}", plaintext=True))


async def test_nobody_listening_an_unknown_name_and_silence_are_told_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TransportError, match="nothing listens there"):
        await probe(settings(folder, port=1))
    with pytest.raises(TransportError, match="host name is not known"):
        await probe(KafkaSettings("broker.invalid:9092", plaintext=True))
    monkeypatch.setattr(connection, "PROBE_SECONDS", 0.2)
    with socket.create_server(("localhost", 0)) as silent:  # the kernel takes the connection, nobody speaks
        port = silent.getsockname()[1]
        with pytest.raises(TransportError, match=r"no answer within 0\.2 s"):
            await probe(KafkaSettings(f"localhost:{port}", plaintext=True))
