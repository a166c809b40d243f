"""Custody of an endpoint's private keys: the key file, its passphrase, and a process that keeps them to itself."""

from agencybus.keyring.hardening import harden_process
from agencybus.keyring.keyring import Keyring
from agencybus.keyring.passphrase import Passphrase

__all__ = ["Keyring", "Passphrase", "harden_process"]
