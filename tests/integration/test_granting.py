"""Keys of an audience: granted ahead, ended early, and never to more than the rules give."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from agencybus import sandbox
from agencybus.directory.authoring import Authority
from agencybus.directory.model import Withdrawal
from agencybus.directory.spec import FederationSpec, sample_spec
from agencybus.errors import KeyringError
from agencybus.kafka.local import LocalCluster
from agencybus.node import Node
from agencybus.sandbox import Sandbox
from brokers import local_cluster
from integration.bus import (
    FGR,
    INM,
    alert,
    keyring,
    nothing_more,
    publishing,
    records,
    references,
    subscribing,
    take,
    until,
)

HOUR = 3600 * 1_000_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A broker of this file's own: grants of days to come would alarm the readers of other tests."""
    started = local_cluster(tmp_path_factory.mktemp("broker")).start()
    yield started
    started.stop(patience_s=0)


@pytest.fixture(scope="module")
def federation(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return sandbox.make(tmp_path_factory.mktemp("federation"), cluster)


class Clock:
    """The clock of publisher and reader, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0
        monkeypatch.setattr(Node, "now", staticmethod(lambda: time.time_ns() // 1000 + self.ahead))


async def _grants(federation: Sandbox) -> int:
    return len(await records(federation, "us.fbi.grants"))


async def test_the_next_epochs_key_is_granted_before_it_begins(
    federation: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    async with publishing(federation, tmp_path) as bus, subscribing(federation, tmp_path) as reader:
        await bus.publish(alert("in-the-first-epoch"))
        granted = await _grants(federation)
        clock.ahead = 24 * HOUR - HOUR // 10
        await bus.publish(alert("in-its-last-minutes"))
        await until(lambda: not bus._granter._ahead)
        assert await _grants(federation) > granted
        granted = await _grants(federation)
        clock.ahead = 25 * HOUR
        await bus.publish(alert("in-the-second-epoch"))
        assert await _grants(federation) == granted, "granted again although it had been granted ahead"
        found = await take(reader, 3)
        assert references(found) == ["in-the-first-epoch", "in-its-last-minutes", "in-the-second-epoch"]
        first, last, second = (delivery.header.audience_key_id for delivery in found)
        assert first == last != second
        assert not reader.stats.quarantined


async def test_an_expired_signing_key_signs_nothing(federation: Sandbox, tmp_path: Path) -> None:
    async with publishing(federation, tmp_path) as bus:
        bus._node.check_signer(bus._node.now())
        with pytest.raises(KeyringError) as refused:
            bus._node.check_signer(bus._node.now() + 366 * 24 * HOUR)
        assert refused.value.code == "key-expired"


def _without(spec: FederationSpec, endpoint: str) -> FederationSpec:
    """The federation after its country withdrew an endpoint, a minute ago."""
    country = spec.national[endpoint[:2]]
    gone = Withdrawal(endpoint=endpoint, at=time.time_ns() // 1000 - 60_000_000, reason="test")
    changed = msgspec.structs.replace(country, withdrawals=(gone,))
    return msgspec.structs.replace(spec, national={**spec.national, endpoint[:2]: changed})


async def test_one_country_alone_ends_an_endpoints_reading_within_seconds(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """Mexico withdraws a reader: the audience gets another key at once, and what follows is not for it any more."""
    spec = sample_spec()
    authorities = {country.code: Authority.generate(country.code) for country in spec.countries}
    make = partial(sandbox.make, tmp_path / "federation", cluster, spec=spec, authorities=authorities)
    federation = await asyncio.to_thread(make)
    async with (
        publishing(federation, tmp_path) as bus,
        subscribing(federation, tmp_path, FGR) as stays,
        subscribing(federation, tmp_path, INM) as goes,
    ):
        await bus.publish(alert("to-both"))
        (before,) = await take(goes, 1)
        await take(stays, 1)
        old = bus._node.directory.digest
        rings = {name: keyring(federation, name) for name in federation.endpoints}
        sandbox.sign(federation, _without(spec, INM), rings, authorities)
        await until(lambda: bus._node.directory.digest != old, seconds=15)
        await bus.publish(alert("after-the-withdrawal"))
        (after,) = await take(stays, 1)
        assert after.header.audience_key_id != before.header.audience_key_id
        await until(lambda: goes.stats.skipped == 1)
        await nothing_more(goes)
        # Another federation's grants lie in the same topics of the shared broker: refused, as they should be.
        assert set(goes.stats.quarantined) <= {"realm-mismatch"}
