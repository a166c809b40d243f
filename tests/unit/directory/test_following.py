from __future__ import annotations

import errno
import itertools
import resource
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agencybus.directory import following, history, source
from agencybus.directory.authoring import Authority, Lifetimes
from agencybus.directory.files import write_whole
from agencybus.directory.history import LAG_US, History
from agencybus.errors import DirectoryError, StateError
from agencybus.seal.opener import SUPERSEDED_US
from agencybus.wire import ids
from federation import sample, with_endpoint
from repositories import World, fresh_federation

DAY_US = 24 * 3600 * 1_000_000
US = "us.cbp/ntc-cargo"
MX = "mx.inm/fronteras"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.made_in(tmp_path)


def test_a_client_has_the_directory_that_the_authorities_wrote(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    directory = client.refresh()
    assert directory.realm == client.realm == ids.realm_id(world.root)
    assert directory.endpoints == fresh_federation().directory.endpoints
    assert directory.programmes == sample().directory.programmes
    assert directory.rules == sample().directory.rules
    assert directory.equivalence == sample().directory.equivalence
    assert client.history.get(directory.digest) == directory
    assert client.history.superseded_at(directory.digest) is None
    assert client.history.get(bytes(48)) is None
    assert client.history.superseded_at(bytes(48)) is None


def test_two_clients_name_the_same_directory_alike(world: World, tmp_path: Path) -> None:
    assert world.client(tmp_path / "a").refresh() == world.client(tmp_path / "b").refresh()


def test_a_restarted_client_has_its_directory_without_any_server(world: World, tmp_path: Path) -> None:
    directory = world.client(tmp_path / "home").refresh()
    shutil.rmtree(world.folder)
    again = world.client(tmp_path / "home")
    assert again.current == directory
    assert not again.expired
    assert again.refresh() == directory
    assert {name: problem.code for name, problem in again.health().problems.items()} == {
        "joint": "directory-unreachable",
        "mx": "directory-unreachable",
        "us": "directory-unreachable",
    }


def test_a_change_supersedes_the_view_from_the_date_that_its_authority_wrote(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    old = client.refresh()
    before = time.time_ns() // 1000
    world.withdraw(US)
    new = client.refresh()
    assert new.digest != old.digest
    assert new.endpoints[US].withdrawn_at is not None
    assert client.history.get(old.digest) == old
    superseded = client.history.superseded_at(old.digest)
    assert superseded is not None
    assert before <= superseded <= time.time_ns() // 1000
    assert client.history.superseded_at(new.digest) is None
    moments = (0, superseded - 1, superseded, 2**63 - 1)
    assert [client.history.in_force(at) for at in moments] == [None, old, new, new]


def test_a_new_timestamp_alone_changes_no_digest_and_prolongs_the_life(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    old = client.refresh()
    expires_at = client.health().expires_at
    world.publish(lifetimes=Lifetimes(timestamp=timedelta(days=20)))
    assert client.refresh().digest == old.digest
    assert client.health().expires_at > expires_at


def test_a_half_expired_statement_is_signed_anew_unasked(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    old = client.refresh()
    world.publish(lifetimes=Lifetimes(targets=timedelta(days=400)))
    new = client.refresh()
    assert new.expires_at > old.expires_at
    assert new.endpoints == old.endpoints


def test_what_was_missed_between_two_looks_is_fetched(world: World, tmp_path: Path) -> None:
    """A publisher saw a view for a minute that this reader never did: its frames must open all the same."""
    reader, publisher = world.client(tmp_path / "reader"), world.client(tmp_path / "publisher")
    reader.refresh()
    world.withdraw(US)
    brief = publisher.refresh()
    world.publish_country("us", withdrawals=())
    world.withdraw(MX)
    assert reader.refresh().digest != brief.digest
    assert reader.history.get(brief.digest) == brief
    assert reader.history.superseded_at(brief.digest) is not None


def test_one_look_goes_back_a_bounded_way(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = world.client(tmp_path / "home")
    old = client.refresh()
    world.withdraw(US)
    world.publish_country("us", withdrawals=())
    monkeypatch.setattr(source, "CATCH_UP", 1)
    assert client.refresh() == old
    assert "more than 1 snapshots" in client.health().problems["us"].what
    monkeypatch.setattr(source, "CATCH_UP", 2)
    assert client.refresh() != old


def test_two_clients_that_look_in_another_order_know_each_others_views(world: World, tmp_path: Path) -> None:
    """One sees US first, one sees Mexico first; neither ever had the other's combination."""
    a, b = world.client(tmp_path / "a"), world.client(tmp_path / "b")
    a.refresh()
    b.refresh()
    kept = {code: world.folder.parent / f"kept-{code}" for code in ("us", "mx")}
    for code, path in kept.items():
        shutil.copytree(world.folder / code, path)
    world.withdraw(US)
    world.withdraw(MX)
    for client, stale in ((a, "mx"), (b, "us")):
        client._urls = {stale: kept[stale].as_uri()}
    view_a, view_b = a.refresh(), b.refresh()
    assert view_a.endpoints[US].withdrawn_at
    assert view_a.endpoints[MX].withdrawn_at is None
    assert view_b.endpoints[MX].withdrawn_at
    assert view_b.endpoints[US].withdrawn_at is None
    a._urls = b._urls = {}
    assert a.refresh() == b.refresh()
    assert a.history.get(view_b.digest) == view_b
    assert b.history.get(view_a.digest) == view_a


def test_a_new_client_knows_the_whole_past(world: World, tmp_path: Path) -> None:
    first = world.client(tmp_path / "first")
    seen = [first.refresh()]
    for number in range(4):
        world.publish_country("us", withdrawals=()) if number % 2 else world.withdraw(US)
        seen.append(first.refresh())
    newcomer = world.client(tmp_path / "new")
    newcomer.refresh()
    assert [newcomer.history.get(directory.digest) for directory in seen] == seen
    assert [newcomer.history.superseded_at(d.digest) for d in seen] == [
        first.history.superseded_at(d.digest) for d in seen
    ]


def test_a_view_of_parts_that_were_never_held_together_is_not_known(world: World, tmp_path: Path) -> None:
    """Old rights can't be mixed with new ones: snapshots further apart than the lag make no view."""
    client = world.client(tmp_path / "home")
    old = client.refresh()
    us = client.history.snapshot(next(d for chain, d in client.history.heads.items() if chain.startswith("us")))
    later = datetime.now(UTC) + timedelta(microseconds=LAG_US) + timedelta(days=1)
    world.withdraw(US)
    client._now = lambda: int(later.timestamp()) * 1_000_000
    world.publish_country("mx", withdrawals=(), now=later, agencies=world.spec.national["mx"].agencies[:2])
    new = client.refresh()
    assert len(new.agencies) == len(old.agencies) - 1
    heads = client.history.heads
    snapshots = {chain[:2]: digest for chain, digest in heads.items() if chain != "joint"}
    mixed = ids.directory_digest(heads["joint"], {"us": us.digest, "mx": snapshots["mx"]})
    assert ids.directory_digest(heads["joint"], snapshots) == new.digest
    assert client.history.get(new.digest) == new
    assert client.history.get(mixed) is None


def test_an_expired_directory_stays_in_use_and_says_so(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    directory = client.refresh()
    later = client.health().expires_at
    old = world.client(tmp_path / "home", now=lambda: later)
    assert old.expired
    assert old.current == directory
    old._now = lambda: later - 1
    assert not old.expired


def test_without_a_note_of_the_last_look_the_directory_counts_as_expired(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    client.refresh()
    (tmp_path / "home" / client.realm.hex() / "freshness.json").unlink()
    again = world.client(tmp_path / "home")
    assert again.expired
    assert again.current == client.current
    again.refresh()
    assert not again.expired


def test_health_tells_age_and_date(world: World, tmp_path: Path) -> None:
    moment = time.time_ns() // 1000
    client = world.client(tmp_path / "home", now=lambda: moment)
    assert client.health().digest is None
    assert client.expired
    client.refresh()
    client._now = lambda: moment + 7_000_000
    health = client.health()
    assert health.age_us == 7_000_000
    assert health.checked_at == moment
    assert health.expires_at < moment + 7 * DAY_US
    assert health.problems == {}


def test_a_problem_goes_when_its_cause_goes(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    client.refresh()
    stamp = world.metadata("us") / "timestamp.json"
    data = stamp.read_bytes()
    stamp.unlink()
    client.refresh()
    assert set(client.health().problems) == {"us"}
    stamp.write_bytes(data)
    client.refresh()
    assert client.health().problems == {}


def test_a_country_that_begins_anew_is_followed_from_the_new_pin_and_the_past_stays(
    world: World, tmp_path: Path
) -> None:
    """All keys of the US are lost: both countries pin a new first root."""
    client = world.client(tmp_path / "home")
    old = client.refresh()
    world.authorities["us"] = Authority("us", Authority.generate("us").own, world.authorities["us"].joint)
    shutil.rmtree(world.folder / "us")
    world.publish()
    new = client.refresh()
    assert client.health().problems == {}
    assert new.digest != old.digest
    assert new.endpoints == old.endpoints
    assert client.history.get(old.digest) == old
    assert world.client(tmp_path / "home").history.get(old.digest) == old


def test_a_weak_timestamp_role_is_healed_by_the_next_root(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    client.refresh()
    world.next_root("us", lambda root: setattr(root.roles["timestamp"], "threshold", 1))
    client.refresh()
    assert client.health().problems["us"].code == "directory-invalid"
    world.rotate("us")
    world.withdraw(US)
    assert client.refresh().endpoints[US].withdrawn_at is not None
    assert client.health().problems == {}


def test_a_damaged_kept_file_stops_the_client_with_advice(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    client.refresh()
    snapshot = next(iter(client.history.heads.values()))
    path = next((tmp_path / "home").rglob(snapshot.hex()))
    path.write_bytes(path.read_bytes().replace(b"snapshot", b"snapshoT"))
    with pytest.raises(DirectoryError, match="missing or damaged") as caught:
        world.client(tmp_path / "home")
    assert caught.value.code == "directory-invalid"
    assert "Move the directory's folder away" in caught.value.hint


def test_a_damaged_target_file_is_never_served_from_the_history(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    old = client.refresh()
    world.withdraw(US)
    client.refresh()
    for path in (tmp_path / "home").rglob("objects/*/*"):
        data = path.read_bytes()
        if b'"name": "us.cbp"' in data:
            path.write_bytes(data.replace(b"SECRET", b"SECRES"))
    history = History(tmp_path / "home" / client.realm.hex() / "history", realm=client.realm)
    with pytest.raises(DirectoryError, match="missing or damaged"):
        history.get(old.digest)


def test_a_folder_that_is_none_is_an_error_of_the_operator(world: World, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(StateError) as caught:
        world.client(tmp_path / "home")
    assert caught.value.code == "state-denied"


def test_a_full_disk_leaves_the_view_as_it_was(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    old = client.refresh()
    world.withdraw(US)
    with files_of_at_most(2000), pytest.raises(StateError) as caught:
        client.refresh()
    assert caught.value.code == "state-full"
    assert client.current == old
    assert world.client(tmp_path / "home").current == old
    assert client.refresh().endpoints[US].withdrawn_at is not None


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The disk takes no file larger than this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_country_without_authority_is_not_authored(world: World) -> None:
    lonely = replace(world, authorities={"us": world.authorities["us"]})
    with pytest.raises(DirectoryError, match="no authority signs for mx"):
        lonely.publish()


@pytest.mark.parametrize("stored", [False, True], ids=["before it is stored", "after it is stored"])
def test_no_write_that_fails_costs_the_view_or_leaves_half_of_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stored: bool
) -> None:
    """Each durable write of a refresh fails once: the next process has the old view or the new one, whole."""
    world.client(tmp_path / "seen").refresh()
    kept = tmp_path / "kept"
    old = world.client(kept).refresh()
    world.withdraw(US)
    world.withdraw(MX)
    new = world.client(tmp_path / "seen").refresh()
    failed, number = True, 0
    while failed:
        home = tmp_path / f"home-{number}"
        shutil.copytree(kept, home, symlinks=True)
        client = world.client(home)
        calls, failed = itertools.count(), False

        def write(path: Path, data: bytes) -> None:
            nonlocal failed
            fails = next(calls) == number  # noqa: B023 - used within the round
            if stored or not fails:
                write_whole(path, data)
            if fails:
                failed = True
                raise OSError(errno.ENOSPC, "no space left")

        with monkeypatch.context() as patch:
            patch.setattr(history, "write_whole", write)
            patch.setattr(following, "write_whole", write)
            try:
                client.refresh()
            except StateError as error:
                assert error.code == "state-full"  # noqa: PT017 - the last round does not raise
        assert client.current in (old, new)
        assert world.client(home).current in (old, new)
        assert world.client(home).refresh() == new
        number += 1
    assert number > 8


def test_processes_that_share_a_folder_do_not_disturb_each_other(world: World, tmp_path: Path) -> None:
    clients = [world.client(tmp_path / "home") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(lambda client: client.refresh(), clients))
        world.withdraw(US)
        second = list(pool.map(lambda client: client.refresh(), clients))
    assert len({directory.digest for directory in first}) == 1
    assert len({directory.digest for directory in second}) == 1
    assert first[0].digest != second[0].digest
    assert all(client.health().problems == {} for client in clients)


def test_whatever_an_opener_still_takes_is_still_a_view() -> None:
    assert LAG_US >= SUPERSEDED_US


def test_what_made_no_directory_together_was_never_in_force(world: World, tmp_path: Path) -> None:
    client = world.client(tmp_path / "home")
    old = client.refresh()
    agencies = world.spec.national["us"].agencies
    wrong = with_endpoint(world.spec, US, clearance_text="MEX RESERVADA").national["us"].agencies
    world.publish_country("us", agencies=wrong)
    assert client.refresh() == old
    assert client.history.in_force(2**63 - 1) == old
    world.publish_country("us", agencies=agencies)
    new = client.refresh()
    broken = client.history.superseded_at(old.digest)
    assert broken is not None
    assert [client.history.in_force(at) for at in (broken - 1, broken, 2**63 - 1)] == [old, None, new]
