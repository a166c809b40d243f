"""Agency Bus: share security events between agencies of two countries, with nobody in the middle trusted.

    async with Publisher.open("publisher.toml") as bus:
        accepted = await bus.publish(alert)          # returns when a quorum of brokers has it

    async with Subscriber.open("watch-floor.toml") as bus:
        async for delivery in bus:                   # verified, cleared, decrypted
            await delivery.done()

The names below are loaded when they are first used (PEP 562): importing the package costs no Kafka client.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agencybus.errors import CODES as CODES
    from agencybus.errors import BusError as BusError
    from agencybus.errors import ConfigError as ConfigError
    from agencybus.errors import DirectoryError as DirectoryError
    from agencybus.errors import EventError as EventError
    from agencybus.errors import KeyringError as KeyringError
    from agencybus.errors import LabelError as LabelError
    from agencybus.errors import PolicyError as PolicyError
    from agencybus.errors import RecordError as RecordError
    from agencybus.errors import SchemaError as SchemaError
    from agencybus.errors import StateError as StateError
    from agencybus.errors import TransportError as TransportError

_ERRORS: Final = (
    "CODES", "BusError", "ConfigError", "DirectoryError", "EventError", "KeyringError", "LabelError", "PolicyError",
    "RecordError", "SchemaError", "StateError", "TransportError",
)  # fmt: skip
_HOME: Final = dict.fromkeys(_ERRORS, "agencybus.errors")

__all__ = [*_HOME, "__version__"]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> object:
    if name == "__version__":
        return version("agencybus")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
