"""Files to the bus: what becomes of every event is counted, and nothing goes on behind what was not accepted.

The bus here is no copy of the publisher: it takes what it is given, and answers what the test says.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

import agencybus_schemas
from agencybus.codec import Codec, Profile
from agencybus.errors import BusError, EventError, PolicyError, StateError, TransportError
from agencybus.publishing import bulk
from agencybus.publishing.bulk import Rules, Tally
from agencybus.publishing.files import Piece
from agencybus_schemas.events import Event
from sample_events import AT

CODEC = Codec(agencybus_schemas.load())
FBI = "us.fbi/wanted"
RULES = Rules(CODEC, "alert", FBI, Profile(label="UNCLASSIFIED//REL TO USA, MEX"), lambda: AT, bytes)


@dataclass(frozen=True)
class Taken:
    offset: int
    repeated: bool = False
    channel: str = "us.fbi.fugitives.routine"
    partition: int = 0


class Bus:
    """Takes events; `answer` says otherwise for some references."""

    def __init__(self, answer: Callable[[str], BusError | None] = lambda _: None) -> None:
        self.references: list[str] = []
        self._answer = answer

    async def publish_many(self, events: Iterable[Event]) -> list[Taken | BusError]:
        results: list[Taken | BusError] = []
        for event in events:
            repeated = event.reference in self.references
            error = self._answer(event.reference)
            results.append(error or Taken(len(self.references), repeated))
            if error is None and not repeated:
                self.references.append(event.reference)
        return results


def line(reference: str, **changes: object) -> bytes:
    """An alert that leaves out what the bus and the profile say."""
    fields = CODEC.template("alert") | {"programme": "fugitives", "reference": reference} | changes
    return (
        json.dumps({k: v for k, v in fields.items() if k not in {"event_id", "originator", "label"}}).encode() + b"\n"
    )


async def publish(bus: Bus, *paths: Path, stop: threading.Event | None = None) -> tuple[Tally, list[tuple[int, str]]]:
    tally, refused = Tally(), list[tuple[int, str]]()
    stop = stop or threading.Event()

    def tell(piece: Piece, error: BusError) -> None:
        refused.append((piece.line, error.code))

    await bulk.publish(bus, bulk.reading(paths, RULES, stop), tally, stop=stop, refused=tell, progress=lambda _: None)
    return tally, refused


async def test_every_event_is_accepted_repeated_or_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(line("a") + line("b", status="MAYBE") + b"{broken\n" + line("a") + line("no") + line("c"))
    bus = Bus(lambda reference: PolicyError("right-missing", "no") if reference == "no" else None)
    tally, refused = await publish(bus, file)
    assert bus.references == ["a", "c"]
    assert (tally.read, tally.accepted, tally.repeated, tally.open) == (6, 2, 1, 0)
    assert refused == [(2, "event-invalid"), (3, "event-invalid"), (5, "right-missing")]
    assert tally.refused == {"event-invalid": 2, "right-missing": 1}
    ((place, run),) = tally.places.items()
    assert (place, run.first, run.last, run.events) == (("us.fbi.fugitives.routine", 0), 0, 1, 2)


async def test_events_go_in_the_order_of_the_files(tmp_path: Path) -> None:
    paths = [tmp_path / "1", tmp_path / "2"]
    for path in paths:
        path.write_bytes(b"".join(line(f"{path.name}-{n}") for n in range(5000)))
    bus = Bus()
    tally, _ = await publish(bus, *paths)
    assert bus.references == [f"{file}-{n}" for file in (1, 2) for n in range(5000)]
    assert tally.accepted == tally.read == 10_000


async def test_nothing_is_sent_behind_an_event_that_no_quorum_took(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(line(f"{n}") for n in range(20_000)))
    late = TransportError("not-accepted", "not acknowledged within 30 s")
    bus = Bus(lambda reference: late if reference == "7000" else None)
    tally, refused = await publish(bus, file)
    assert (tally.failure, tally.open, refused) == (late, 1, [])
    assert tally.accepted == tally.read - 1 < 20_000
    assert tally.last is not None
    assert tally.last.line == tally.read


async def test_a_full_disk_ends_the_run_as_well(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(line("a"))
    tally, _ = await publish(Bus(lambda _: StateError("state-full", "no space")), file)
    assert tally.failure is not None
    assert tally.failure.code == "state-full"


async def test_a_stop_ends_behind_the_batch_that_is_on_its_way(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(line(f"{n}") for n in range(20_000)))
    stop = threading.Event()

    def stop_early(reference: str) -> None:
        if reference == "10":
            stop.set()

    tally, _ = await publish(Bus(stop_early), file, stop=stop)
    assert 10 < tally.accepted == tally.read < 20_000


def test_what_an_event_says_goes_before_the_profile() -> None:
    own = RULES.event(Piece("f", 1, line("a")))
    assert (own.originator, own.label, own.reported_at.year) == (FBI, "UNCLASSIFIED//REL TO USA, MEX", 2026)
    told = RULES.event(Piece("f", 1, json.dumps(json.loads(line("a")) | {"label": "UNCLASSIFIED"}).encode()))
    assert told.label == "UNCLASSIFIED"


def test_another_endpoints_event_is_refused_where_it_is_read() -> None:
    data = json.dumps(CODEC.template("alert") | {"originator": "us.cbp/ntc-cargo"}).encode()
    with pytest.raises(EventError) as refused:
        RULES.event(Piece("f", 7, data))
    error = refused.value
    assert (error.code, error.field, error.line) == ("endpoint-not-ours", "originator", 7)
