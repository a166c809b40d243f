"""Whoever holds an endpoint's real keys and obeys nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agencybus.node import Node
from agencybus.sandbox import Sandbox
from agencybus.seal import sealer, suite
from agencybus.seal.grant import AudienceKey
from agencybus.seal.sealer import Content, Link
from agencybus.wire import ids
from agencybus.wire.envelope import Record
from integration.bus import CHANNEL, CODEC, FBI, FGR, SHARED, keyring


class Rogue:
    """Whoever holds an endpoint's real keys and obeys nothing: writes frames by hand."""

    def __init__(self, federation: Sandbox, folder: Path, node: Node, endpoint: str = FBI) -> None:
        self.federation, self.node, self.endpoint = federation, node, endpoint
        self.writer = f"rogue-{folder.name}"[:40]
        self.keyring = keyring(federation, endpoint)
        self.sequence, self.previous, self.sealed_at = 0, b"", 0

    def frame(self, *events: Any, channel: str = CHANNEL, key: bytes | None = None, **changes: Any) -> Record:
        """The next frame of the rogue's own lineage."""
        encoded = [CODEC.encode(event) for event in events]
        now = max(self.node.now(), self.sealed_at)
        previous = self.previous or ids.first_previous(self.node.realm, self.endpoint, self.writer, channel, 0)
        link: dict[str, Any] = {
            "realm": self.node.realm,
            "endpoint": self.endpoint,
            "writer": self.writer,
            "channel": channel,
            "partition": 0,
            "sequence": self.sequence,
            "previous": previous,
            "previous_sealed_at": self.sealed_at,
            "sealed_at": now,
            "directory": self.node.directory.digest,
            "state": "run",
        }
        content = Content(
            type="alert",
            schema_id=CODEC.schema("alert").id,
            label=SHARED,
            programme=channel.split(".")[2],
            precedence="ROUTINE",
            compress=True,
        )
        made = Link(**(link | changes))
        record = sealer.seal_frame(made, content, encoded, key or suite.random_key(), self.keyring.signer)
        self.sequence, self.previous, self.sealed_at = made.sequence + 1, record.digest, now
        return record

    def grant(self, key: bytes, audience: list[str], *, now: int) -> list[Record]:
        """The grants of a key."""
        keys = {name: keyring(self.federation, name).kem.public for name in audience}
        digest = ids.audience_digest((name, kem.id) for name, kem in keys.items())
        granted = AudienceKey(key, ids.audience_key_id(key), self.endpoint, digest, now - 10_000_000, now + 10**9)
        made = []
        for agency in sorted({name.partition("/")[0] for name in audience}):
            kems = [(name, kem) for name, kem in keys.items() if name.startswith(f"{agency}/")]
            fields = {"realm": self.node.realm, "agency": agency, "sealed_at": now}
            made.append(
                sealer.seal_grant(granted, kems, self.keyring.signer, directory=self.node.directory.digest, **fields)  # type: ignore[arg-type]
            )
        return made


def audience() -> list[str]:
    return [FBI, FGR, "mx.fgr/mandamientos", "mx.inm/fronteras", "us.fbi/case-files", "us.usms/watch-floor"]
