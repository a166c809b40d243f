"""The contract of the events: Avro schemas (`*.avsc`), typed classes made from them, released versions.

It hands out bytes; `agencybus.codec` judges them: `Codec(load())`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["NAMES", "Family", "load"]

NAMES: Final = ("alert", "cargo_hold", "fugitive_sighting")
"""The event types; a file `<name>.avsc` each. Written out, so that a stray file never becomes a type."""


@dataclass(frozen=True, slots=True)
class Family:
    """All versions of one event type.

    Attributes:
        name: the event type.
        current: bytes of the schema that is written now.
        released: bytes of the versions that were ever released, oldest first.
    """

    name: str
    current: bytes
    released: tuple[bytes, ...]


def _versions(folder: Traversable) -> tuple[bytes, ...]:
    """The files `1.avsc`, `2.avsc`… of a folder, without a gap."""
    versions: list[bytes] = []
    while (file := folder / f"{len(versions) + 1}.avsc").is_file():
        versions.append(file.read_bytes())
    return tuple(versions)


def load() -> tuple[Family, ...]:
    """Read all schemas of this package."""
    root = resources.files(__name__)
    return tuple(
        Family(name, (root / f"{name}.avsc").read_bytes(), _versions(root / "released" / name)) for name in NAMES
    )
