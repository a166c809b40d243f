"""A publisher process for kill tests: `python writing.py CONFIG WRITER STATE HISTORY FIRST LAST`.

Publishes the events FIRST to LAST in bursts and notes what was acknowledged, each line on disk before the next burst.
Started again, it publishes all of them once more under the same references, as a careful caller would.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from agencybus import config
from agencybus.config import PublisherConfig
from agencybus.publisher import Accepted, Publisher
from agencybus_schemas.events import Event
from integration.bus import alert

BURST = 20


async def main() -> None:
    path, writer, state, history, first, last = sys.argv[1:]
    loaded = config.load(Path(path), PublisherConfig)
    loaded = msgspec.structs.replace(loaded, writer=writer, state=Path(state))
    with Path(history).open("a") as notes:  # noqa: ASYNC230 - nothing else runs here
        async with Publisher.open(loaded) as bus:
            for start in range(int(first), int(last), BURST):
                names = [f"{writer}-{number:05}" for number in range(start, min(start + BURST, int(last)))]
                for result in await bus.publish_many([_story(name) for name in names]):
                    assert isinstance(result, Accepted), result
                    notes.write(f"ok {result.reference}\n")
                notes.flush()
                os.fsync(notes.fileno())


def _story(name: str) -> Event:
    """The same content for the same name, whenever it is made."""
    event, then = alert(name), datetime(2025, 1, 1, tzinfo=UTC)
    handling = msgspec.structs.replace(event.handling, retain_until=then.replace(year=2035))
    return msgspec.structs.replace(event, occurred_at=then, handling=handling)


if __name__ == "__main__":
    asyncio.run(main())
