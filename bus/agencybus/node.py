"""An endpoint's process: its keys, the directory it follows, the way to Kafka, the schemas, the clock.

Publisher, subscriber and replay stand on one of these. The pure rooms get from it what they need as arguments.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final, Self

import structlog

import agencybus_schemas
from agencybus.codec import Codec
from agencybus.config import DirectoryConfig, EndpointConfig
from agencybus.directory.following import DirectoryClient, DirectoryHealth
from agencybus.directory.model import Directory
from agencybus.directory.views import DirectoryView
from agencybus.errors import BusError, ConfigError, KeyringError
from agencybus.kafka.connection import KafkaSettings
from agencybus.keyring import Keyring, Passphrase

SOONEST_SECONDS: Final = 1.0  # between two refreshes; more with each that records asked for in vain

_log = structlog.get_logger(__name__)


class Node:
    """What a process of an endpoint has.

    Attributes:
        endpoint: its name.
        keyring: its keys.
        kafka: the way to the brokers.
        codec: all event types.
    """

    def __init__(
        self, config: EndpointConfig, keyring: Keyring, client: DirectoryClient, kafka: KafkaSettings, codec: Codec
    ) -> None:
        self.endpoint = config.endpoint
        self.keyring = keyring
        self.kafka = kafka
        self.codec = codec
        self._client = client
        self._every = config.directory.refresh_seconds
        self._asked = asyncio.Event()
        self._refreshed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, config: EndpointConfig, passphrase: Passphrase | None = None) -> Self:
        """Unlock the keys and follow the directory.

        Args:
            config: what a configuration file says.
            passphrase: of the key file; read as the configuration says if left out.

        Raises:
            KeyringError: the keys can't be used, or are not the endpoint's.
            DirectoryError: no directory was ever verified here, and none can be had.
            ConfigError: a file is missing.
        """
        kafka = config.kafka.settings()
        keyring = await asyncio.to_thread(_unlock, config, passphrase)
        client = await asyncio.to_thread(follow, config.directory)
        node = cls(config, keyring, client, kafka, Codec(agencybus_schemas.load()))
        node.check_signer(node.now())
        node._task = asyncio.create_task(node._keep_fresh(), name="directory")
        return node

    async def close(self) -> None:
        """Stop following the directory."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    # --- time and directory

    @staticmethod
    def now() -> int:
        """µs since the epoch."""
        return time.time_ns() // 1000

    @property
    def directory(self) -> Directory:
        """The newest verified directory. It may be past its date: see `Directory.expires_at`."""
        return self._client.current

    @property
    def history(self) -> DirectoryView:
        """Every directory that was ever verified here."""
        return self._client.history

    def directory_health(self) -> DirectoryHealth:
        """How old the directory is, and whether it is past its date."""
        return self._client.health()

    @property
    def realm(self) -> bytes:
        """The deployment, 16 bytes."""
        return self._client.realm

    def check_signer(self, at: int) -> None:
        """Refuse to sign with a key that readers would refuse.

        Raises:
            KeyringError: `key-expired`, or `keyring-foreign` if the directory does not know the key.
        """
        endpoint = self.directory.endpoints.get(self.endpoint)
        key = endpoint.signer(self.keyring.signer.public.id) if endpoint else None
        if key is None:
            raise KeyringError("keyring-foreign", f"the directory does not name this signing key for {self.endpoint}")
        if not key.valid(at):
            raise KeyringError("key-expired", f"the signing key of {self.endpoint} is outside of its time")

    def refresh_soon(self) -> None:
        """Ask for a refresh: a record names a directory that is not known."""
        self._asked.set()

    async def refreshed(self) -> None:
        """Wait for the next refresh, whatever it brings."""
        async with self._refreshed:
            await self._refreshed.wait()

    async def _keep_fresh(self) -> None:
        """Look for news regularly, and when records ask: they may lie, so what brings nothing new is slowed down."""
        pause = SOONEST_SECONDS
        while True:
            try:
                async with asyncio.timeout(self._every):
                    await self._asked.wait()
            except TimeoutError:
                pass
            asked, before = self._asked.is_set(), self.directory.digest
            self._asked.clear()
            try:
                await asyncio.to_thread(self._client.refresh)
            except BusError as error:  # the last good one stays in use, flagged when it is past its date
                _log.warning("directory-not-refreshed", code=error.code, what=error.what)
            async with self._refreshed:
                self._refreshed.notify_all()
            in_vain = asked and self.directory.digest == before
            pause = min(2 * pause, self._every) if in_vain else SOONEST_SECONDS
            await asyncio.sleep(pause)


def _unlock(config: EndpointConfig, passphrase: Passphrase | None) -> Keyring:
    if passphrase is None:
        file = config.keyring.passphrase_file
        passphrase = Passphrase.prompt() if file is None else Passphrase.from_file(file)
    return Keyring.load(config.keyring.file, passphrase, endpoint=config.endpoint)


def follow(directory: DirectoryConfig) -> DirectoryClient:
    """The newest directory that can be had: from its URL, else as it was last seen. Needs no keys; blocks.

    Raises:
        DirectoryError: none was ever verified here, and none can be had.
        ConfigError: the trusted root can't be read.
    """
    client = DirectoryClient(directory.cache, trusted_root=_root(directory.root), url=directory.url)
    client.refresh()
    return client


def _root(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        what = f"the trusted root can't be read: {error.strerror}"
        raise ConfigError("config-invalid", what, where=f"directory.root = {path}") from None
