"""Events to bytes and back, against fastavro's floor on the same event: `python bench/codec.py [EVENTS]`."""

from __future__ import annotations

import io
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import msgspec

import agencybus_schemas
from agencybus.codec import Codec
from agencybus_schemas.events import Event

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from sample_events import all_events

REPEATS = 5
COLUMNS = ("encode", "fastavro", "decode", "fastavro", "from JSON")


def microseconds(run: Callable[[], Any], events: int) -> float:
    """Processor time, and the best of a few runs: others use the machine as well."""
    return min(timeit.repeat(run, number=events, repeat=REPEATS, timer=time.process_time)) / events * 1e6


def measure(codec: Codec, event: Event, events: int) -> str:
    schema = codec.schema(event.type_name)
    parsed = fastavro.parse_schema(schema.examined.plain)
    data, text = codec.encode(event), msgspec.json.encode(event)
    plain = fastavro.schemaless_reader(io.BytesIO(data), parsed, None)
    runs: tuple[Callable[[], Any], ...] = (
        lambda: codec.encode(event),
        lambda: fastavro.schemaless_writer(io.BytesIO(), parsed, plain),
        lambda: codec.decode(schema.id, data),
        lambda: fastavro.schemaless_reader(io.BytesIO(data), parsed, None),
        lambda: codec.from_json(event.type_name, text),
    )
    return f"{event.type_name:<20}{len(data):>6}" + "".join(f"{microseconds(run, events):>10.1f}" for run in runs)


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    codec = Codec(agencybus_schemas.load())
    print(f"{'µs per event':<20}{'bytes':>6}" + "".join(f"{column:>10}" for column in COLUMNS))
    for event in all_events():
        print(measure(codec, event, events))


if __name__ == "__main__":
    main()
