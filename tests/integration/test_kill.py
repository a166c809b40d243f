"""kill -9 of a publisher at any moment: what it acknowledged is delivered, once and in order."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

from agencybus.kafka.local import LocalCluster
from agencybus.sandbox import Sandbox
from integration.bus import FBI, nothing_more, subscribing, take

EVENTS = 400
KILLS = 4


async def test_what_a_killed_publisher_acknowledged_is_delivered_once_and_in_order(
    federation: Sandbox, tmp_path: Path
) -> None:
    await _run(federation, tmp_path, None)


async def test_also_when_the_broker_is_killed_in_between(
    federation: Sandbox, cluster: LocalCluster, tmp_path: Path
) -> None:
    await _run(federation, tmp_path, cluster)


async def _run(federation: Sandbox, folder: Path, cluster: LocalCluster | None) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)  # noqa: T201 - shown if the test fails
    chance = random.Random(seed)
    writer, history = folder.name[:30], folder / "history"
    words = [str(federation.publisher(FBI)), writer, str(folder / "state"), str(history), "0", str(EVENTS)]
    command = [sys.executable, str(Path(__file__).with_name("writing.py")), *words]
    async with subscribing(federation, folder, wait_seconds=30.0) as reader:
        for number in range(KILLS):
            process = subprocess.Popen(command)  # noqa: ASYNC220
            await asyncio.sleep(chance.uniform(1.0, 2.5))
            process.kill()
            process.wait()
            if cluster is not None and number == 1:
                cluster.kill(1)
                await asyncio.to_thread(cluster.restart, 1)
        last = await asyncio.create_subprocess_exec(*command)
        assert await asyncio.wait_for(last.wait(), 90) == 0
        acknowledged = {line.split()[1] for line in history.read_text().splitlines()}
        delivered = [delivery.event.reference for delivery in await take(reader, EVENTS, seconds=60)]
        await nothing_more(reader)
        assert acknowledged <= set(delivered), "lost"
        assert set(delivered) == {f"{writer}-{number:05}" for number in range(EVENTS)}, "unwritten"
        assert delivered == sorted(delivered), "out of order"
        assert not reader.stats.quarantined
        assert not set(reader.stats.alarms) - {"broker-unreachable", "broker-stalled"}, reader.stats.alarms
