"""The development broker: who is let in, who may do what, and that neither data nor processes are lost."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from agencybus.errors import BusError, ConfigError, TransportError
from agencybus.kafka import admin, local, topics
from agencybus.kafka.certificates import DevAuthority
from agencybus.kafka.connection import KafkaSettings, probe
from agencybus.kafka.local import LocalCluster
from agencybus.kafka.reader import RecordReader
from agencybus.kafka.records import RawRecord
from agencybus.kafka.writer import RecordWriter
from agencybus.wire.limits import RECORD_BYTES
from brokers import local_cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CARGO = "us.cbp/ntc-cargo"
TLS_ALERT = 21  # RFC 8446, section 5.1
PARENT = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from typing import TYPE_CHECKING, Any
from brokers import local_cluster
with local_cluster(Path({home!r})):
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def cluster(bare_cluster: LocalCluster) -> LocalCluster:
    return bare_cluster


async def write(settings: KafkaSettings, topic: str, value: bytes, *, deadline: float = 30) -> int:
    writer = RecordWriter(settings)
    try:
        return await writer.send(topic, 0, value, deadline=deadline)
    finally:
        await writer.close()


async def read(settings: KafkaSettings, topic: str) -> list[RawRecord]:
    reader = RecordReader(settings)
    records: list[RawRecord] = []
    try:
        await reader.start({(topic, 0): "earliest"})
        end = (await reader.end_offsets())[topic, 0]
        async with asyncio.timeout(30):
            while reader.positions()[topic, 0] < end:
                records += await reader.fetch(1)
    finally:
        await reader.close()
    return records


async def values(settings: KafkaSettings, topic: str) -> list[bytes | None]:
    return [record.value for record in await read(settings, topic)]


@asynccontextmanager
async def producer(settings: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """aiokafka's own, to send what our writer would not."""
    made = AIOKafkaProducer(**settings.client_options(), acks="all", **options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def topic_for(cluster: LocalCluster, name: str, *, copies: int = 1) -> str:
    await topics.create_missing(cluster.settings(), {name: 1}, copies=copies)
    admin.admit(cluster.settings(), CARGO)
    return name


def processes_in(folder: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def wait_for_none_in(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while processes_in(folder):
        assert time.monotonic() < deadline, "a broker outlived its parent"
        time.sleep(0.05)


def taken(address: str) -> socket.socket:
    """Listen where a broker was; the kernel may need a moment to close what a killed process had open."""
    host, port = address.split(":")
    for _ in range(100):
        with suppress(OSError):
            return socket.create_server((host, int(port)))
        time.sleep(0.05)
    pytest.fail("the port stays taken")


def parent_of_a_cluster(home: Path) -> subprocess.Popen[str]:
    script = PARENT.format(tests=str(Path(__file__).parents[1]), home=str(home))
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# --- who is let in


async def test_an_endpoint_with_its_certificate_writes_its_agencys_topic_and_reads_it(cluster: LocalCluster) -> None:
    topic = await topic_for(cluster, "us.cbp.cargo-targeting.routine")
    await write(cluster.settings(CARGO), topic, b"sealed")
    assert await values(cluster.settings(CARGO), topic) == [b"sealed"]


async def test_a_client_without_tls_gets_no_answer_but_tls(cluster: LocalCluster) -> None:
    host, port = cluster.bootstrap.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(
            struct.pack(">ihhih", 10, 18, 0, 1, -1)
        )  # ApiVersions: any client may ask before it says who it is
        answer = await asyncio.wait_for(reader.read(), 10)  # until the broker hangs up
    finally:
        writer.transport.abort()
    assert answer == b"" or (answer[0], len(answer)) == (TLS_ALERT, 7)


async def test_a_client_without_a_certificate_is_refused(cluster: LocalCluster) -> None:
    context = ssl.create_default_context(cafile=str(cluster.settings().ca))
    host, port = cluster.bootstrap.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            await reader.readexactly(1)
    finally:
        writer.transport.abort()


async def test_a_client_of_another_authority_is_refused(cluster: LocalCluster, tmp_path: Path) -> None:
    _, cert, key = DevAuthority(tmp_path).client_files(CARGO)
    with pytest.raises(TransportError, match="broker-refused"):
        await probe(KafkaSettings(cluster.bootstrap, ca=cluster.settings().ca, cert=cert, key=key))


async def test_a_second_name_inside_a_certificate_is_no_name(cluster: LocalCluster, tmp_path: Path) -> None:
    authority = DevAuthority(cluster.home / "tls")
    issued = authority._ca.issue_cert("x.invalid", common_name="mx.x/y", organization_unit_name="x,CN=admin")
    pem = tmp_path / "both.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(pem)
    smuggler = KafkaSettings(cluster.bootstrap, ca=authority.ca, cert=pem, key=pem)
    await probe(smuggler)
    with pytest.raises(TransportError, match="CLUSTER_AUTHORIZATION_FAILED"):
        admin.allow(smuggler, "mx.x/y", write_prefixes=["us.cbp."])


async def test_a_clients_certificate_does_not_pass_for_a_brokers(tmp_path: Path) -> None:
    ca, cert, key = DevAuthority(tmp_path).client_files(CARGO)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca))
    context.load_cert_chain(cert, key)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TransportError, match="refused here"):
            await probe(KafkaSettings(f"127.0.0.1:{port}", ca=ca, cert=cert, key=key))


def test_keys_can_be_read_by_their_user_only(cluster: LocalCluster) -> None:
    for file in (cluster.home / "tls").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.parametrize("name", ["", "admin2", "broker", "us.cbp", "us.cbp/a,CN=admin", "US.CBP/x", "us.cbp/a/b"])
def test_a_certificate_is_given_for_no_other_name_than_an_endpoints(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="usage"):
        DevAuthority(tmp_path).client_files(name)


# --- who may do what


async def test_an_endpoint_does_not_write_another_agencys_topic(cluster: LocalCluster) -> None:
    topic = await topic_for(cluster, "us.fbi.fugitives.routine")
    with pytest.raises(TransportError, match="broker-refused"):
        await write(cluster.settings(CARGO), topic, b"forged")
    assert await values(cluster.settings(), topic) == []


async def test_an_endpoint_does_not_write_a_topic_of_an_agency_whose_name_begins_with_its_own(
    cluster: LocalCluster,
) -> None:
    topic = await topic_for(cluster, "us.cbp-lab.fugitives.routine")
    with pytest.raises(TransportError, match="broker-refused"):
        await write(cluster.settings(CARGO), topic, b"forged")
    with pytest.raises(ConfigError, match="usage"):
        admin.allow(cluster.settings(), CARGO, write_prefixes=["us.cbp"])


async def test_whom_nobody_gave_a_right_can_neither_read_nor_write(cluster: LocalCluster) -> None:
    topic = await topic_for(cluster, "us.cbp.fugitives.routine")
    nobody = "mx.inm/nobody"  # the broker is shared: other tests give rights to the endpoints of the sample
    stranger = cluster.settings(nobody)
    with pytest.raises(TransportError, match="broker-refused"):
        await write(stranger, topic, b"forged")
    with pytest.raises(TransportError, match="broker-refused"):
        await read(stranger, topic)
    assert admin.rights(cluster.settings(), nobody) == []


async def test_an_endpoint_gives_itself_no_rights(cluster: LocalCluster) -> None:
    await topic_for(cluster, "us.cbp.fugitives.routine")
    with pytest.raises(TransportError, match="CLUSTER_AUTHORIZATION_FAILED"):
        admin.allow(cluster.settings(CARGO), CARGO, write_prefixes=["mx.anam."])
    assert admin.rights(cluster.settings(), CARGO) == [
        "READ GROUP us.cbp/ntc-cargo/",
        "READ TOPIC *",
        "WRITE TOPIC us.cbp.",
    ]


# --- topics


async def test_topics_are_made_as_the_design_says_and_made_once(cluster: LocalCluster) -> None:
    wanted = {"mx.anam.cargo-targeting.urgent": 1, "mx.anam.grants": 3}
    assert await topics.create_missing(cluster.settings(), wanted, copies=1) == sorted(wanted)
    assert await topics.create_missing(cluster.settings(), wanted, copies=1) == []
    assert await topics.differences(cluster.settings(), wanted, copies=1) == []


async def test_what_is_not_as_the_design_says_is_named(cluster: LocalCluster) -> None:
    await topics.create_missing(cluster.settings(), {"mx.inm.grants": 1}, copies=1)
    assert await topics.differences(cluster.settings(), {"mx.inm.grants": 2, "mx.fgr.grants": 1}, copies=3) == [
        "mx.inm.grants has 1 partitions, not 2",
        "mx.inm.grants has 1 replicas, not 3",
        "mx.inm.grants: min.insync.replicas is 1, not 2",
        "mx.fgr.grants does not exist",
    ]


async def test_a_topic_takes_the_largest_record_and_nothing_beyond_its_limit(cluster: LocalCluster) -> None:
    topic = await topic_for(cluster, "us.cbp.passenger-vetting.routine")
    await write(cluster.settings(CARGO), topic, bytes(RECORD_BYTES))
    async with producer(cluster.settings(CARGO), max_request_size=2**20, max_batch_size=2**20) as made:
        with pytest.raises(MessageSizeTooLargeError):
            await made.send_and_wait(topic, bytes(topics.MESSAGE_BYTES), partition=0)


async def test_a_backdated_record_gets_the_brokers_time(cluster: LocalCluster) -> None:
    topic = await topic_for(cluster, "us.cbp.railway-xray.routine")
    async with producer(cluster.settings(CARGO)) as made:
        taken = await made.send_and_wait(topic, b"sealed", partition=0, timestamp_ms=1)
    assert taken.timestamp / 1000 == pytest.approx(time.time(), abs=60)


async def test_no_topic_is_made_by_writing_to_it(cluster: LocalCluster) -> None:
    with pytest.raises(TransportError):
        await write(cluster.settings(), "us.cbp.nobody-made-me.routine", b"sealed", deadline=1)
    assert await topics.differences(cluster.settings(), {"us.cbp.nobody-made-me.routine": 1}, copies=1) == [
        "us.cbp.nobody-made-me.routine does not exist"
    ]


# --- neither data nor processes are lost


async def test_what_was_acknowledged_is_there_after_kill_9(cluster: LocalCluster) -> None:
    topic = await topic_for(cluster, "us.cbp.after-a-kill.routine")
    await write(cluster.settings(CARGO), topic, b"sealed")
    bootstrap = cluster.bootstrap
    cluster.kill(1)
    assert cluster.alive() == []
    cluster.restart(1)
    assert (cluster.alive(), cluster.bootstrap) == ([1], bootstrap)
    assert await values(cluster.settings(CARGO), topic) == [b"sealed"]


def test_a_second_start_on_a_live_folder_is_refused_and_harms_nothing(cluster: LocalCluster) -> None:
    before = {file: file.read_bytes() for file in cluster.home.glob("*.json")}
    with pytest.raises(ConfigError, match="broker-locked"):
        local_cluster(cluster.home).start()
    assert {file: file.read_bytes() for file in cluster.home.glob("*.json")} == before
    admin.wait_until_ready(cluster.settings(), brokers=1, timeout_s=10)


async def test_brokers_die_with_a_killed_parent_and_start_again_elsewhere_if_a_port_was_taken(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with parent_of_a_cluster(home) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n", parent.communicate()
        cluster = LocalCluster(home)
        topic = await topic_for(cluster, "us.cbp.fugitives.urgent")
        await write(cluster.settings(CARGO), topic, b"sealed")
        parent.kill()
    wait_for_none_in(home)
    before = cluster.bootstrap
    monkeypatch.setattr(local, "_all_free", lambda _: True)  # somebody takes a port between the look and the start
    with taken(before), local_cluster(home) as again:
        assert again.bootstrap != before
        assert await values(again.settings(CARGO), topic) == [b"sealed"]
    assert processes_in(home) == []


def test_ctrl_c_in_the_middle_of_a_start_leaves_nothing(home: Path) -> None:
    with parent_of_a_cluster(home) as parent:
        while not processes_in(home):
            assert parent.poll() is None, parent.communicate()
            time.sleep(0.05)
        parent.send_signal(signal.SIGINT)
        _, words = parent.communicate(timeout=30)
    assert "KeyboardInterrupt" in words
    assert processes_in(home) == []


def test_dev_up_stays_is_found_again_and_goes_down(home: Path) -> None:
    def dev(*words: str, code: int = 0) -> dict[str, object]:
        command = [sys.executable, "-m", "agencybus", "dev", *words, "--home", str(home), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == code, done.stderr
        return dict(json.loads(done.stdout))

    first = dev("up", "--endpoint", CARGO)
    assert (first["started"], first["brokers"]) == (True, [1])
    assert dev("up")["bootstrap"] == first["bootstrap"]
    assert dev("status")["brokers"] == [1]
    asyncio.run(probe(LocalCluster(home).settings(CARGO)))
    with pytest.raises(ConfigError, match="broker-locked"):
        local_cluster(home).start()
    assert dev("down")["stopped"] == [1]
    assert processes_in(home) == []
    assert dev("status", code=9)["brokers"] == []


async def test_a_cluster_of_three_survives_the_loss_of_one_and_refuses_writes_after_the_second(
    three_brokers: LocalCluster,
) -> None:
    topic = await topic_for(three_brokers, "us.cbp.cargo-targeting.urgent", copies=3)
    assert await topics.differences(three_brokers.settings(), {topic: 1}) == []
    settings = three_brokers.settings(CARGO)
    await write(settings, topic, b"by three")
    three_brokers.kill(1)
    await write(settings, topic, b"by two")
    assert await values(settings, topic) == [b"by three", b"by two"]
    three_brokers.kill(2)
    with pytest.raises(TransportError, match="not-accepted"):
        await write(settings, topic, b"by one alone", deadline=3)
    three_brokers.restart(1, 2)
    assert (await values(settings, topic))[:2] == [b"by three", b"by two"]


# --- if something is missing: what to do


def test_a_missing_java_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no Java") as refused:
        LocalCluster(tmp_path, java=tmp_path / "nowhere").start()
    assert "--java PATH" in refused.value.hint


def test_missing_jars_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BusError, match=r"46 jars are missing .* lz4-java-1\.10\.2\.jar first") as refused:
        LocalCluster(tmp_path, jar_folder=tmp_path, java=Path(sys.executable)).start()
    assert refused.value.code == "broker-setup"


def test_a_broker_that_ends_at_its_start_says_why_and_leaves_nothing(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"broker 1 ended at its start: .*heap size") as refused:
        local_cluster(home, heap_mib=1).start()
    assert (refused.value.code, processes_in(home)) == ("broker-setup", [])
