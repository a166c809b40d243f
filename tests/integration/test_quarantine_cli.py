"""A forged record on its way through the operator's hands: listed, shown, released in vain, discarded with a reason."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import msgspec

from agencybus.cli.exits import Exit
from agencybus.quarantine import Quarantine
from agencybus.sandbox import Sandbox
from daemons import Daemon, jsonl, lines, program, references, route
from integration.bus import CHANNEL, alert, publishing, records, until, write

# Refuses each event when it comes first, takes it when it comes again.
MOODY = """
import json, sys
seen = set()
with open(sys.argv[1], "a", buffering=1) as kept:
    for line in sys.stdin:
        event_id = json.loads(line)["event"]["event_id"]
        if event_id in seen:
            kept.write(line)
        print(event_id, "" if event_id in seen else "refused", flush=True)
        seen.add(event_id)
"""


class Operator:
    """Types commands."""

    def __init__(self, daemon: Daemon) -> None:
        self._config = str(daemon.path)

    async def type(self, *words: str, exit_code: int = Exit.DONE) -> Any:
        """Run a command with --json; what it printed."""
        command = [sys.executable, "-m", "agencybus", *words, "--config", self._config, "--json"]
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
        async with asyncio.timeout(30):
            printed, told = await process.communicate()
        assert process.returncode == exit_code, told.decode()
        return msgspec.json.decode(told if exit_code else printed)


async def test_a_forged_record_is_listed_shown_released_in_vain_and_discarded(
    federation: Sandbox, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    async with Daemon(federation, tmp_path, jsonl("file", out)) as daemon, publishing(federation, tmp_path) as bus:
        accepted = await bus.publish(alert("genuine"))
        genuine = (await records(federation, CHANNEL, since=accepted.offset))[0]
        assert genuine.value is not None
        forged = genuine.value[:-1] + bytes([genuine.value[-1] ^ 1])
        offset = await write(federation, forged)
        await bus.publish(alert("after-the-forgery"))
        await until(lambda: references(out) == ["genuine", "after-the-forgery"])
        operator = Operator(daemon)

        (entry,) = (await operator.type("quarantine", "list"))["entries"]
        place = (entry["topic"], entry["partition"], entry["offset"])
        assert (*place, entry["step"], entry["code"]) == (CHANNEL, 0, offset, 4, "mldsa-signature-invalid")
        assert (entry["route"], entry["endpoint"], entry["verdict"]) == ("file", "", "held")

        raw = tmp_path / "record"
        shown = await operator.type("quarantine", "show", str(entry["id"]), "--raw", str(raw))
        assert (shown["claims"]["endpoint"], shown["claims"]["sequence"]) == ("us.fbi/wanted", accepted.sequence)
        assert raw.read_bytes() == forged

        (released,) = await operator.type("quarantine", "release", str(entry["id"]), "--who", "inspector")
        assert (released["verdict"], released["who"]) == ("released", "inspector")
        await until(lambda: verdict(daemon) == "held")
        assert references(out) == ["genuine", "after-the-forgery"], "a person can't vouch for it"
        await daemon.until(lambda found: route(found, "file").quarantined == {"mldsa-signature-invalid": 1})

        (gone,) = await operator.type("quarantine", "discard", str(entry["id"]), "--why", "forged, reported to the FBI")
        assert (gone["verdict"], gone["why"], gone["kept"]) == ("discarded", "forged, reported to the FBI", False)
        (kept,) = (await operator.type("quarantine", "list", "--all"))["entries"]
        assert (kept["digest"], kept["code"]) == (entry["digest"], "mldsa-signature-invalid")
        refused = await operator.type("quarantine", "release", str(entry["id"]), exit_code=Exit.REFUSED)
        assert refused["error"]["code"] == "quarantine-decided"
        missing = await operator.type("quarantine", "show", "999", exit_code=Exit.REFUSED)
        assert missing["error"]["code"] == "quarantine-unknown"


def verdict(daemon: Daemon) -> str:
    with Quarantine.open(daemon.config.folder(daemon.config.routes[0])) as quarantine:
        return quarantine.show(1).verdict


async def test_what_a_tool_refused_is_delivered_when_the_tool_is_mended_and_it_is_released(
    federation: Sandbox, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    moody = program("moody", "python3", "-c", MOODY, str(kept))
    async with Daemon(federation, tmp_path, moody) as daemon, publishing(federation, tmp_path) as bus:
        await bus.publish(alert("refused-at-first"))
        found = await daemon.until(lambda found: route(found, "moody").quarantined != {})
        assert route(found, "moody").quarantined == {"refused-by-tool": 1}
        await Operator(daemon).type("quarantine", "release", "1", "--why", "the tool was mended")
        await until(lambda: references(kept) == ["refused-at-first"])
        await until(lambda: verdict(daemon) == "delivered")
        assert lines(kept)[0]["redelivered"] is True
        await daemon.until(lambda found: route(found, "moody").quarantined == {})
