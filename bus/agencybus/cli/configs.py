"""Configurations of commands that work for whatever an endpoint runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agencybus.config import EndpointConfig, InspectConfig


def of_endpoint(path: Path) -> EndpointConfig:
    """A `subscriber.toml`, `publisher.toml` or `daemon.toml`.

    Raises:
        ConfigError: `config-invalid`, naming file, key and reason.
    """
    from agencybus import config as configuration
    from agencybus.config import PublisherConfig, SubscriberConfig
    from agencybus_consumers.config import DaemonConfig

    return configuration.load_any(path, SubscriberConfig, PublisherConfig, DaemonConfig)


def of_inspection(path: Path) -> InspectConfig | EndpointConfig:
    """As `of_endpoint`; or a file with nothing but `[directory]` and `[kafka]`.

    Raises:
        ConfigError: `config-invalid`, naming file, key and reason.
    """
    from agencybus import config as configuration
    from agencybus.config import InspectConfig

    return configuration.load(path, InspectConfig) if configuration.knows(path, InspectConfig) else of_endpoint(path)
