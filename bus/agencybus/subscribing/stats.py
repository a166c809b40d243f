"""What a subscriber counts: the numbers behind `/metrics`, `daemon status` and the demo's table."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import structlog

SHOWN: Final = 60  # lines of one code in `SHOWN_SECONDS`: a flood of bad records must not become one of the log
SHOWN_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Lines:
    """Lines of one code, since when."""

    since: float
    shown: int = 0
    hidden: int = 0


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
    _lines: dict[str, _Lines] = field(default_factory=dict, repr=False)

    def alarm(self, code: str, text: str, **where: object) -> None:
        """Count something that an operator should see, and report it. Of a flood, only the beginning of each minute."""
        self.alarms[code] += 1
        now = time.monotonic()
        lines = self._lines.setdefault(code, _Lines(now))
        if now - lines.since >= SHOWN_SECONDS:
            if lines.hidden:
                _log.warning("alarms-not-shown", code=code, count=lines.hidden)
            lines = self._lines[code] = _Lines(now)
        if lines.shown < SHOWN:
            lines.shown += 1
            _log.warning("alarm", code=code, text=text, **where)
        else:
            lines.hidden += 1
