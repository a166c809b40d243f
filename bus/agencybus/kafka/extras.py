"""Modules that only some installations have."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from agencybus.errors import ConfigError


def need(module: str, *, extra: str) -> Any:
    """A module of an extra, imported when it is used.

    Args:
        module: its full name.
        extra: the extra of this distribution that brings it.

    Raises:
        ConfigError: `broker-setup`, naming the extra to install.
    """
    try:
        return import_module(module)
    except ImportError as missing:
        hint = f"Install the extra: pip install 'agencybus[{extra}]'."
        raise ConfigError("broker-setup", f"{module} is not installed", hint=hint) from missing
