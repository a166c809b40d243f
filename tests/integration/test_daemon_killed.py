"""The daemon's oracle: killed at random, acknowledged = delivered. Files once and in order, programs at least once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

from agencybus.publisher import Accepted
from agencybus.sandbox import Sandbox
from daemons import Daemon, jsonl, keeper, lines, references
from integration.bus import alert, publishing, until

KILLS = 4
EVENTS = 500  # published while the daemon is killed, in groups of very different sizes


async def test_what_was_acknowledged_is_in_the_file_once_in_order_and_with_the_program_at_least_once(
    federation: Sandbox, tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - shown if the test fails
    dice = random.Random(seed)
    out, kept = tmp_path / "out.jsonl", tmp_path / "kept"
    daemon = Daemon(federation, tmp_path, jsonl("file", out), keeper("program", kept, seconds=0.004))
    acknowledged: list[str] = []

    async with publishing(federation, tmp_path) as bus:

        async def publish() -> None:
            number = 0
            while number < EVENTS:
                group = [
                    alert(f"killed-{n}") for n in range(number, min(EVENTS, number + dice.choice((1, 3, 30, 120))))
                ]
                number += len(group)
                results = await bus.publish_many(group)
                accepted = zip(group, results, strict=True)
                acknowledged.extend(event.reference for event, result in accepted if isinstance(result, Accepted))
                await asyncio.sleep(dice.uniform(0, 1.0))

        publishing_all = asyncio.create_task(publish())
        try:
            for _ in range(KILLS):
                before = len(references(out)) + len(references(kept))
                daemon.start()
                await until(lambda before=before: len(references(out)) + len(references(kept)) > before)  # type: ignore[misc]
                await asyncio.sleep(dice.uniform(0, 0.4))
                daemon.kill()
            await publishing_all
            daemon.start()
            await until(lambda: len(set(references(kept))) >= EVENTS and len(references(out)) >= EVENTS)
            assert await daemon.stop() == 0
        finally:
            daemon.kill()

    assert acknowledged == [f"killed-{n}" for n in range(EVENTS)], "no broker failed"
    assert references(out) == acknowledged
    first_time = Counter(line["event"]["reference"] for line in lines(kept) if not line["redelivered"])
    again = Counter(line["event"]["reference"] for line in lines(kept) if line["redelivered"])
    assert set(first_time) | set(again) == set(acknowledged)
    assert max(first_time.values()) == 1, "whatever was given before is marked"
    assert len(again) <= KILLS * 512, "a frame a partition and death at most"


async def test_a_frame_that_a_kill_cut_in_two_comes_again_whole_and_marked(federation: Sandbox, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    daemon = Daemon(federation, tmp_path, keeper("program", kept, seconds=0.05))
    async with daemon, publishing(federation, tmp_path) as bus:
        frame = [alert(f"cut-{n}") for n in range(20)]
        results = await bus.publish_many(frame)
        offsets = [result.offset for result in results if isinstance(result, Accepted)]
        await until(lambda: len(lines(kept)) >= 3)
        daemon.kill()
        daemon.start()
        await until(lambda: set(references(kept)) == {event.reference for event in frame})
        await daemon.until(lambda found: found.ready and found.routes[0].lag == 0)
        again = [line["position"][2:] for line in lines(kept) if line["redelivered"]]
        first_time = [line["position"][2:] for line in lines(kept) if not line["redelivered"]]
        cut = again[0][0]
        assert again == [[cut, number] for number in range(offsets.count(cut))]
        assert len([position for position in first_time if position[0] == cut]) < offsets.count(cut)
