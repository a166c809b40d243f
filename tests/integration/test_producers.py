"""The producers' commands on a real Kafka: what an agency has arrives as events, and only changes follow."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from agencybus.cli import main
from agencybus.cli.exits import Exit
from agencybus.sandbox import Sandbox
from agencybus.subscriber import Delivery
from agencybus_schemas.events import Alert, CargoHold, CorrelationKind, FugitiveSighting
from integration.bus import CBP, FBI, FGR, USMS, nothing_more, subscribing, take
from producing import DATA, POSTERS, page, posters

ANAM = "mx.anam/aduanas"
SAMPLES = Path(__file__).parents[2] / "producers" / "agencybus_producers" / "forms" / "samples"
PROFILE = """
[profile]
label = "UNCLASSIFIED//REL TO USA, MEX"
legal-basis = "US-Mexico Mutual Legal Assistance Treaty of 1987, art. 1"
"""


def configured(federation: Sandbox, folder: Path, endpoint: str) -> Path:
    """The endpoint's configuration with a state, a lineage and a profile of the test's own."""
    original = federation.publisher(endpoint)
    own = f'state = "{folder}/{endpoint.replace("/", ".")}"\nwriter = "{folder.name[:40]}"'
    text = original.read_text(encoding="utf-8").replace('state = "publisher-state"', own)
    path = original.with_name(f"{folder.name}.toml")
    path.write_text(text.split("[profile]", 1)[0] + PROFILE, encoding="utf-8")
    return path


async def run(*words: str | Path) -> int:
    """A command, beside the subscribers of the test."""
    return await asyncio.to_thread(main, [str(word) for word in words])


def correlations(deliveries: Sequence[Delivery]) -> list[tuple[CorrelationKind, str]]:
    """Kind and root of each."""
    found = [delivery.event.correlation for delivery in deliveries]
    return [(correlation.kind, str(correlation.root)) for correlation in found if correlation]


async def test_the_fbis_list_arrives_and_after_it_only_changes(federation: Sandbox, tmp_path: Path) -> None:
    command = ("fbi", "--config", configured(federation, tmp_path, FBI))
    pages = tmp_path / "page.json"
    async with subscribing(federation, tmp_path, FGR) as mexico:
        assert await run(*command, POSTERS) == Exit.DONE
        events = [delivery.event for delivery in await take(mexico, 33)]
        assert {event.headline for event in events if isinstance(event, Alert)} == {item["title"] for item in posters()}
        assert await run(*command, POSTERS) == Exit.DONE
        items = posters()
        items[0]["nationality"] = "Mexican"
        items[1]["status"] = "captured"
        pages.write_bytes(page(items))
        assert await run(*command, pages) == Exit.DONE
        changes = await take(mexico, 2)
        assert correlations(changes) == [
            (CorrelationKind.UPDATES, str(events[0].event_id)),
            (CorrelationKind.CANCELS, str(events[1].event_id)),
        ]
        assert not mexico.stats.quarantined


async def test_a_lost_cursor_brings_nobody_twice(federation: Sandbox, tmp_path: Path) -> None:
    command = ("fbi", "--config", configured(federation, tmp_path, FBI), "--state", tmp_path / "cursor")
    async with subscribing(federation, tmp_path, FGR) as mexico:
        assert await run(*command, POSTERS) == Exit.DONE
        events = {delivery.event.event_id for delivery in await take(mexico, 33)}
        shutil.rmtree(tmp_path / "cursor")
        assert await run(*command, POSTERS) == Exit.DONE
        pages = tmp_path / "page.json"
        pages.write_bytes(page(posters()[1:]))
        assert await run(*command, pages) == Exit.DONE
        [cancelled] = await take(mexico, 1)
        assert cancelled.event.correlation is not None
        assert cancelled.event.correlation.root in events  # the cursor learnt the ids of the first time
        await nothing_more(mexico)


async def test_the_report_is_all_that_goes_to_standard_output(
    federation: Sandbox, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ("fbi", POSTERS, "--config", configured(federation, tmp_path, FBI), "--json")
    assert await run(*command) == Exit.DONE
    assert json.loads(capfd.readouterr().out)["new"] == 33


async def test_a_hold_is_set_changed_and_released_and_each_arrives(federation: Sandbox, tmp_path: Path) -> None:
    command = ("hold", "--config", configured(federation, tmp_path, CBP))
    forms = (SAMPLES / "hold-set.json", DATA / "forms" / "hold-changed.json", DATA / "forms" / "hold-released.json")
    async with subscribing(federation, tmp_path, ANAM) as aduanas:
        for form in forms:
            assert await run(*command, form) == Exit.DONE
        events = [delivery.event for delivery in await take(aduanas, 3)]
        assert [event.action for event in events if isinstance(event, CargoHold)] == ["SET", "CHANGED", "RELEASED"]


async def test_a_sighting_arrives_once_however_often_it_is_sent(federation: Sandbox, tmp_path: Path) -> None:
    command = ("sighting", SAMPLES / "sighting.json", "--config", configured(federation, tmp_path, USMS))
    async with subscribing(federation, tmp_path, FGR) as mexico:
        assert await run(*command) == Exit.DONE
        assert await run(*command) == Exit.DONE
        [delivery] = await take(mexico, 1)
        assert isinstance(delivery.event, FugitiveSighting)
        assert delivery.event.originator == USMS
        await nothing_more(mexico)


async def test_an_endpoint_without_the_right_publishes_nothing_and_says_so(federation: Sandbox, tmp_path: Path) -> None:
    command = ("sighting", SAMPLES / "sighting.json", "--config", configured(federation, tmp_path, CBP))
    assert await run(*command) == Exit.DIRECTORY
