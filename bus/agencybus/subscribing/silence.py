"""Silence is a message: a feed that should speak and does not was cut, or its writer is down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from agencybus.directory.model import Directory
from agencybus.lineage import Head, LineageId

MISSED: Final = 3  # heartbeats that may fail before it is an alarm


class Silence:
    """Watches every lineage that is not closed.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard: dict[LineageId, tuple[int, float]] = {}
        self._alarmed: set[LineageId] = set()

    def seconds(self, heads: Mapping[LineageId, Head]) -> dict[LineageId, float]:
        """How long each lineage that is not closed has been silent."""
        now = self._clock()
        for lineage, head in heads.items():
            known = self._heard.get(lineage)
            if known is None or known[0] != head.sequence:
                self._heard[lineage] = (head.sequence, now)
                self._alarmed.discard(lineage)
        return {lineage: now - self._heard[lineage][1] for lineage, head in heads.items() if head.state != "close"}

    def fallen_silent(self, heads: Mapping[LineageId, Head], directory: Directory) -> list[tuple[LineageId, float]]:
        """Lineages that passed their limit since the last call, with their seconds of silence."""
        found = []
        for lineage, seconds in self.seconds(heads).items():
            programme = directory.programmes.get(lineage.channel.rsplit(".", 2)[1])
            if programme is None or lineage in self._alarmed:
                continue
            if seconds > MISSED * programme.heartbeat_seconds:
                self._alarmed.add(lineage)
                found.append((lineage, seconds))
        return found
