"""What a subscriber counts: the numbers behind `/metrics`, `daemon status` and the demo's table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import structlog

_log = structlog.get_logger(__name__)


@dataclass
class Stats:
    """Counters since the start of the process.

    Attributes:
        frames: frames whose events were delivered.
        events: events delivered.
        checkpoints: records without events.
        skipped: frames for other audiences: verified, counted, not read.
        duplicates: records seen before.
        repeated: events whose reference was delivered before.
        quarantined: refused records by code.
        alarms: findings by code.
        last_progress: µs since the epoch of the last commit, 0 if none.
    """

    frames: int = 0
    events: int = 0
    checkpoints: int = 0
    skipped: int = 0
    duplicates: int = 0
    repeated: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    alarms: Counter[str] = field(default_factory=Counter)
    last_progress: int = 0

    def alarm(self, code: str, text: str, **where: object) -> None:
        """Count and report something that an operator should see."""
        self.alarms[code] += 1
        _log.warning("alarm", code=code, text=text, **where)
