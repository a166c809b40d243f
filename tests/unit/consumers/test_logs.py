"""What is logged: one JSON object a line, our own words only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

TESTS = Path(__file__).parents[2]
PROGRAM = """
import logging, structlog
from agencybus.cli import logs
logs.log_json()
structlog.contextvars.bind_contextvars(route="screen")
structlog.get_logger().warning("alarm", code="gap", records=3)
structlog.get_logger().debug("chatter")
try:
    raise ValueError("CANARY in an exception")
except ValueError:
    logging.getLogger("aiokafka").error("could not parse %r", b"CANARY in an argument", exc_info=True)
logging.getLogger("aiokafka").info("chatter")
logging.getLogger("asyncio").error("Task exception was never retrieved\\nfuture: CANARY")
"""


def test_other_libraries_words_are_cut_to_who_and_what_kind() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
    assert "CANARY" not in done.stderr
    ours, theirs, loops = (msgspec.json.decode(line) for line in done.stderr.splitlines())
    assert {
        "message": "alarm",
        "code": "gap",
        "records": 3,
        "route": "screen",
        "level": "warning",
    }.items() <= ours.items()
    assert loops["text"] == "Task exception was never retrieved"
    assert theirs["logger"] == "aiokafka"
    assert (theirs["text"], theirs["error"]) == ("could not parse %r", "ValueError")
