"""Vectors under the old directory of the little world, before and after the current one took something away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agencybus.wire import limits
from vectors import world
from vectors.declare import frame, refused, taken
from vectors.reader import Vector
from vectors.world import CBP, DAY, GONE, INM, OLD, SIGNERS


def narrowing() -> Iterator[Vector]:
    before, after_it = world.SUPERSEDED_AT - DAY // 8, world.SUPERSEDED_AT + DAY // 8
    key = world.audience_key(audience=world.AUDIENCE_BEFORE, epoch_start=before, epoch_end=after_it + 1)
    earlier, later = (frame(directory=OLD.digest, sealed_at=at) for at in (before, after_it))
    comment = "under a directory that was replaced three hours before, allowed by both"
    yield taken("events", "frame-old-directory", comment, later, key=key)
    yield taken("events", "frame-reader-of-old", "a reader by the directory of its time", earlier, key=key, reader=CBP)
    yield taken("skipped", "frame-reader-narrowed", "no reader any more when it was sealed", later, key=key, reader=CBP)

    sighting: dict[str, Any] = {"directory": OLD.digest, "type": "fugitive_sighting"}
    yield taken("skipped", "right-of-old", "a right of its time", frame(**sighting, sealed_at=before), reader=INM)
    taken_away = frame(**sighting, sealed_at=after_it)
    yield refused(6, "right-missing", "right-taken-away", "a right that was taken away by then", taken_away)
    revoked: dict[str, Any] = {
        "directory": OLD.digest,
        "signer": "revoked",
        "signer_key_id": SIGNERS["revoked"].public.id,
    }
    comment = "signed with a key that was taken away by then"
    yield refused(3, "signer-unknown", "signer-revoked", comment, frame(**revoked, sealed_at=after_it))

    gone: dict[str, Any] = {"endpoint": GONE, "signer": GONE, "signer_key_id": SIGNERS[GONE].public.id}
    gone |= {"directory": OLD.digest}
    comment = "under a directory from before the withdrawal was signed, sealed after the moment that it names"
    retroactive = frame(**gone, sealed_at=world.WITHDRAWN_AT)
    yield refused(6, "endpoint-withdrawn", "withdrawn-from-an-earlier-moment-on", comment, retroactive)
    old = frame(**gone, sealed_at=world.WITHDRAWN_AT - 1)
    backdated = {"arrived": world.WITHDRAWN_AT + limits.CLOCK_SKEW_US}
    comment = "says that it was sealed before the withdrawal, and came after it"
    yield refused(6, "endpoint-withdrawn", "withdrawn-backdated", comment, old, **backdated)
    in_time = {"arrived": world.WITHDRAWN_AT + limits.CLOCK_SKEW_US - 1, "reader": INM}
    yield taken("skipped", "withdrawn-later", "sealed and come before the withdrawal", old, **in_time)
