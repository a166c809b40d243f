"""What is sealed and signed here is what readers take."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agencybus import config
from agencybus.config import PublisherConfig
from agencybus.errors import ConfigError
from agencybus.seal import sealer
from agencybus.seal.sealer import Link
from vectors import forge, world


def link(**changes: object) -> Link:
    fields = forge.link(**changes)
    return Link(**{name: fields[name] for name in Link.__struct_fields__})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"writer": "mañana"}, "writer holds more than printable ASCII"),
        ({"writer": "a" * 257}, "writer is not of 1 to 256"),
        ({"sequence": -1}, "sequence is negative"),
        ({"previous_sealed_at": 1}, "no predecessor"),
    ],
)
def test_nothing_is_signed_that_every_reader_refuses(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        sealer.seal_checkpoint(link(**changes), world.SIGNERS[world.FBI])
    assert sealer.seal_checkpoint(link(), world.SIGNERS[world.FBI])


@pytest.mark.parametrize("name", ["mañana", "two\nlines", "a" * 257, ""])
def test_a_writers_name_that_fits_no_header_is_refused_with_the_configuration(name: str, tmp_path: Path) -> None:
    path = tmp_path / "publisher.toml"
    path.write_bytes(
        msgspec.toml.encode(
            {
                "endpoint": "us.fbi/wanted",
                "state": "state",
                "writer": name,
                "keyring": {"file": "keys.json"},
                "directory": {"root": "root.json", "url": "file:///nowhere", "cache": "cache"},
                "kafka": {"bootstrap": "localhost:9092", "plaintext": True},
            }
        )
    )
    with pytest.raises(ConfigError, match="writer"):
        config.load(path, PublisherConfig)
