"""Agency Bus: share security events between agencies of two countries, with nobody in the middle trusted.

    async with Publisher.open("publisher.toml") as bus:
        accepted = await bus.publish(alert)          # returns when a quorum of brokers has it

    async with Subscriber.open("watch-floor.toml") as bus:
        async for delivery in bus:                   # verified, cleared, decrypted
            await delivery.done()

Events are classes of `agencybus_schemas.events`. The names below are loaded when they are first used (PEP 562):
importing the package costs no Kafka client.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agencybus.directory.policy import Ruling
    from agencybus.errors import (
        CODES,
        BusError,
        ConfigError,
        DirectoryError,
        EventError,
        KeyringError,
        LabelError,
        PolicyError,
        RecordError,
        SchemaError,
        StateError,
        TransportError,
    )
    from agencybus.label import Clearance, Label, Precedence
    from agencybus.publisher import Accepted, Publisher
    from agencybus.subscriber import Delivery, Subscriber

__all__ = [
    "CODES", "Accepted", "BusError", "Clearance", "ConfigError", "Delivery", "DirectoryError", "EventError",
    "KeyringError", "Label", "LabelError", "PolicyError", "Precedence", "Publisher", "RecordError", "Ruling",
    "SchemaError", "StateError", "Subscriber", "TransportError", "__version__",
]  # fmt: skip
_HOME: Final = {
    "Accepted": "publisher", "Publisher": "publisher", "Delivery": "subscriber", "Subscriber": "subscriber",
    "Clearance": "label", "Label": "label", "Precedence": "label", "Ruling": "directory.policy",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "__version__":
        return version("agencybus")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
