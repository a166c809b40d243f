"""For tests of producers: a stamp without chance, the FBI's posters, and a bus that keeps the publisher's promises.

The bus is no copy of the publisher: it is what the producers are told of it, that one reference names one content for
ever, in a file that survives the death of the process.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from agencybus.codec import Profile
from agencybus.errors import BusError, EventError
from agencybus_producers.changes import Entry, Planned, content_digest
from agencybus_producers.fbi import source
from agencybus_producers.runs import USUAL
from agencybus_producers.stamp import Stamp
from agencybus_schemas.events import Alert, Event, Precedence

DATA = Path(__file__).parent / "data"
POSTERS = DATA / "fbi_wanted" / "subset_possible_country_MEX.json"
AT = 1_769_860_800_000_000  # 2026-01-31T12:00:00Z
DAY = 86_400_000_000

PROFILE = Profile(
    programme="fugitives",
    label="UNCLASSIFIED//REL TO USA, MEX",
    purpose="Finding wanted persons",
    legal_basis="US-Mexico Mutual Legal Assistance Treaty of 1987, art. 1",
    retain_days=365,
    personal_data=True,
    precedence=Precedence.PRIORITY,
).over(USUAL)


def stamp(*, at: int = AT, profile: Profile = PROFILE, originator: str = "us.fbi/wanted") -> Stamp:
    """A stamp that gives the same ids in the same order, run after run."""
    numbers = count(at)
    return Stamp(originator, profile, at, lambda size: next(numbers).to_bytes(size, "big"))


def posters() -> list[dict[str, Any]]:
    """The sample: 33 wanted persons, as JSON values to play with."""
    items: list[dict[str, Any]] = json.loads(POSTERS.read_bytes())["items"]
    return copy.deepcopy(items)


def page(items: list[dict[str, Any]], *, total: int | None = None) -> bytes:
    """A page file."""
    return json.dumps({"total": len(items) if total is None else total, "items": items}).encode()


def read(items: list[dict[str, Any]], *, total: int | None = None, at: int = AT) -> source.Conversion:
    """The conversion of one page."""
    return source.read([("page.json", page(items, total=total))], stamp(at=at))


def one(**changes: Any) -> source.Conversion:
    """The conversion of the first poster with some members changed."""
    return read([posters()[0] | changes])


def alert(**changes: Any) -> Alert:
    """The alert on the first poster with some members changed."""
    [found] = one(**changes).alerts
    return found


def entries(messages: Iterable[Planned]) -> dict[str, Entry]:
    """What a cursor remembers once messages were accepted."""
    return {message.entry.key: message.entry for message in messages}


@dataclass(frozen=True)
class Taken:
    """The bus's answer."""

    event_id: UUID
    repeated: bool


class Bus:
    """Takes events into a file; `fails` and `refuses` say what it does with the n-th instead."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.fails: dict[int, BusError] = {}
        self._number = count()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it took, in order, without repetitions."""
        return [json.loads(line) for line in self._lines()]

    def _lines(self) -> Iterator[bytes]:
        yield from self.file.read_bytes().splitlines() if self.file.exists() else ()

    async def publish_many(self, events: Iterable[Event]) -> list[Taken | BusError]:
        """As the publisher."""
        return [self._take(event) for event in events]

    def _take(self, event: Event) -> Taken | BusError:
        if error := self.fails.get(next(self._number)):
            return error
        for known in (msgspec.json.decode(line, type=type(event)) for line in self._lines()):
            if known.reference == event.reference:
                if content_digest(known) != content_digest(event):
                    return EventError("reference-reused", "published before, with other content", field="reference")
                return Taken(known.event_id, repeated=True)
        with self.file.open("ab") as file:
            file.write(msgspec.json.encode(event) + b"\n")
        return Taken(event.event_id, repeated=False)
