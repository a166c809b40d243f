"""Sealed frames beside plain Kafka, in one run: `python bench/side_by_side.py [--events 20000] [--rounds 3]`.

Both go to the same real broker over the same mutual TLS, on loopback, with the same events. Plain is aiokafka with one
fastavro record per event, acks=all, idempotent, batches of 256 KiB. Publish means from typed event to acknowledged;
read means verified, decrypted, decoded and handed to a sink that drops it, state written. Medians of rounds in
alternating order; quote the ratios, not the times.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import fastavro
import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

import agencybus_schemas
from agencybus import config, sandbox
from agencybus.codec import Codec
from agencybus.config import PublisherConfig, SubscriberConfig
from agencybus.kafka import plain
from agencybus.kafka.local import LocalCluster
from agencybus.publisher import Accepted, Publisher
from agencybus.subscriber import Subscriber
from agencybus_schemas.events import TYPES, Event

CODEC = Codec(agencybus_schemas.load())
FBI, FGR = "us.fbi/wanted", "mx.fgr/watch-floor"
CHANNEL = "us.fbi.fugitives.routine"
_NATIVE = (UUID, datetime, date)


def events(count: int, round_: int) -> list[Event]:
    made, base = [], CODEC.template("alert", at=time.time_ns() // 1000)
    base |= {"originator": FBI, "programme": "fugitives", "label": "UNCLASSIFIED//REL TO USA, MEX"}
    base |= {"precedence": "ROUTINE"}
    for number in range(count):
        one = CODEC.template("alert", at=time.time_ns() // 1000, random10=os.urandom(10))["event_id"]
        made.append(msgspec.convert(base | {"event_id": one, "reference": f"B{round_}-{number}"}, TYPES["alert"]))
    return made


class Clock:
    def __enter__(self) -> Self:
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu


async def plain_publish(options: dict[str, Any], topic: str, batch: list[Event], schema: Any) -> Clock:
    producer = AIOKafkaProducer(**options, acks="all", enable_idempotence=True, linger_ms=5, max_batch_size=256 * 1024)
    await producer.start()
    with Clock() as clock:
        sent = []
        for event in batch:
            out, fields = io.BytesIO(), msgspec.to_builtins(event, builtin_types=(bytes, *_NATIVE))
            fields["event_id"] = event.event_id.bytes  # fastavro knows no UUID of 16 bytes
            fastavro.schemaless_writer(out, schema, fields)
            sent.append(await producer.send(topic, out.getvalue(), partition=0))
        await asyncio.gather(*sent)
    await producer.stop()
    return clock


async def plain_read(options: dict[str, Any], topic: str, start: int, count: int, schema: Any) -> Clock:
    consumer = AIOKafkaConsumer(**options, auto_offset_reset="none", enable_auto_commit=False)
    await consumer.start()
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    consumer.seek(place, start)
    with Clock() as clock:
        seen = 0
        while seen < count:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    fastavro.schemaless_reader(io.BytesIO(record.value), schema, None)
                seen += len(records)
    await consumer.stop()
    return clock


async def ours(home: sandbox.Sandbox, batch: list[Event], round_: int) -> tuple[Clock, Clock, int, list[float]]:
    publisher = config.load(home.publisher(FBI), PublisherConfig)
    subscriber = config.load(home.subscriber(FGR), SubscriberConfig)
    latencies = []
    async with Publisher.open(publisher) as bus:
        await bus.publish(msgspec.structs.replace(batch[0], reference=f"warm-{round_}"))
        with Clock() as published:
            results = await bus.publish_many(batch)
        accepted = [result for result in results if isinstance(result, Accepted)]
        assert len(accepted) == len(batch), results[0]
        async with Subscriber.open(subscriber) as reader:
            first = await anext(reader)
            await first.done()
            while not first.event.reference.startswith(f"B{round_}-"):
                first = await anext(reader)
                await first.done()
            with Clock() as read:
                for _ in range(len(batch) - 1):
                    await (await anext(reader)).done()
            for number in range(100):
                began = time.perf_counter()
                await bus.publish(msgspec.structs.replace(batch[0], reference=f"L{round_}-{number}"))
                delivery = await anext(reader)
                latencies.append(time.perf_counter() - began)
                await delivery.done()
                await asyncio.sleep(0.005)
    return published, read, len({result.offset for result in accepted}), latencies


def figure(name: str, count: int, ours_: list[Clock], plain_: list[Clock]) -> dict[str, Any]:
    ratios = [p.wall / o.wall for o, p in zip(ours_, plain_, strict=True)]
    return {
        "what": name,
        "ours_events_per_s": round(count / statistics.median(c.wall for c in ours_)),
        "plain_events_per_s": round(count / statistics.median(c.wall for c in plain_)),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "ours_cpu_us_per_event": round(statistics.median(c.cpu for c in ours_) / count * 1e6, 1),
        "plain_cpu_us_per_event": round(statistics.median(c.cpu for c in plain_) / count * 1e6, 1),
    }


async def measure(cluster: LocalCluster, home: sandbox.Sandbox, count: int, rounds: int) -> dict[str, Any]:
    settings = cluster.settings()
    options = settings.client_options()
    avsc = json.loads(CODEC.schema("alert").avsc)
    schema = fastavro.parse_schema(avsc)
    await plain.create(settings, "plain.events")
    offsets = {"plain": 0}
    gathered: dict[str, list[Clock]] = {"op": [], "or": [], "pp": [], "pr": []}
    frames, latencies = 0, []
    for round_ in range(rounds):
        batch = events(count, round_)

        async def plain_round(batch: list[Event] = batch) -> None:
            gathered["pp"].append(await plain_publish(options, "plain.events", batch, schema))
            gathered["pr"].append(await plain_read(options, "plain.events", offsets["plain"], count, schema))
            offsets["plain"] += count

        async def our_round(batch: list[Event] = batch, round_: int = round_) -> None:
            nonlocal frames
            published, read, frames, slow = await ours(home, batch, round_)
            gathered["op"].append(published)
            gathered["or"].append(read)
            latencies.extend(slow)

        for step in (plain_round, our_round) if round_ % 2 else (our_round, plain_round):
            await step()
    sizes = {topic: _bytes(cluster, topic) for topic in ("plain.events", CHANNEL)}
    latencies.sort()
    return {
        "setting": f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, 1 broker on loopback, mutual TLS",
        "events": count,
        "rounds": rounds,
        "events_per_frame": round(count / frames),
        "publish": figure("publish", count, gathered["op"], gathered["pp"]),
        "read": figure("read", count, gathered["or"], gathered["pr"]),
        "bytes_per_event": {
            "event": len(CODEC.encode(events(1, 0)[0])),
            "ours": round(sizes[CHANNEL] / (count * rounds)),
            "plain": round(sizes["plain.events"] / (count * rounds)),
        },
        "one_event_ms": {
            "p50": round(latencies[len(latencies) // 2] * 1000, 1),
            "p99": round(latencies[len(latencies) * 99 // 100] * 1000, 1),
        },
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _bytes(cluster: LocalCluster, topic: str) -> int:
    return sum(path.stat().st_size for path in cluster.home.rglob("*.log") if path.parent.name == f"{topic}-0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="pause before the start, for a profiler to attach")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory() as folder, LocalCluster(Path(folder) / "kafka", plaintext=True) as cluster:
        home = sandbox.make(Path(folder) / "sandbox", cluster)
        print(json.dumps(asyncio.run(measure(cluster, home, asked.events, asked.rounds)), indent=1))


if __name__ == "__main__":
    main()
