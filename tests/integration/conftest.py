"""Real brokers for the tests: one with the sample federation, one without, three on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agencybus import sandbox
from agencybus.kafka.local import LocalCluster
from agencybus.sandbox import Sandbox
from brokers import local_cluster

FIXTURES = {"cluster", "bare_cluster", "three_brokers", "home", "federation"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a broker."""
    for item in items:
        if FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """One broker for the whole run. A test that kills it starts it again; topics are each test's own."""
    started = local_cluster(tmp_path_factory.mktemp("broker")).start()
    yield started
    started.stop(patience_s=0)


@pytest.fixture(scope="session")
def bare_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A broker without a federation, for tests of rights, topics and transport: nobody else makes any on it."""
    started = local_cluster(tmp_path_factory.mktemp("bare"), proxied=True).start()
    yield started
    started.stop(patience_s=0)


@pytest.fixture(scope="session")
def three_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three brokers; topics have three replicas, two of which acknowledge. As `cluster` otherwise."""
    started = local_cluster(tmp_path_factory.mktemp("brokers"), brokers=3).start()
    yield started
    started.stop(patience_s=0)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A data folder of a test's own, in which nothing runs when the test is over."""
    folder = tmp_path / "home"
    yield folder
    LocalCluster(folder).stop(patience_s=0)


@pytest.fixture(scope="session")
def federation(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """The sample federation on the shared broker: keys, directory, topics, rights; state is each test's own."""
    return sandbox.make(tmp_path_factory.mktemp("federation"), cluster, log2_n=17)
