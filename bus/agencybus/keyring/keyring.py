"""An endpoint's private keys and the file they rest in.

The file is JSON: version, endpoint, scrypt's cost, and the raw seeds sealed with AES-256-GCM under a key that scrypt
makes of the passphrase. Everything outside of the seal is its associated data, so nothing of it can be changed. Raw
seeds, because PKCS#8's key derivation is weak and has no form for the pair of encapsulation keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NoReturn, Self

import msgspec

from agencybus.errors import KeyringError
from agencybus.keyring.files import read_private, write_private
from agencybus.keyring.passphrase import Passphrase
from agencybus.seal import suite
from agencybus.seal.suite import KemPrivateKey, SigningKey
from agencybus.wire.limits import KIB

FILE_BYTES: Final = 64 * KIB  # of a key file; one pair of keys takes 400 bytes
LOG2_N: Final = 17  # scrypt's N = 2^17 with r = 8: 128 MiB and 0.3 s a guess
LOG2_N_MAX: Final = 19  # 512 MiB: a hostile file must not eat the machine
_TAG: Final = b"agencybus/v1/keyring\x00"


class _Scrypt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cost of a guess. r and p are written down for readers of the file; others are refused."""

    log2_n: int
    r: Literal[8] = 8
    p: Literal[1] = 1


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the seal covers besides the seeds."""

    version: Literal[1]
    endpoint: str
    scrypt: _Scrypt

    def aad(self) -> bytes:
        return _TAG + msgspec.json.encode(self)


class _File(_Header, frozen=True, forbid_unknown_fields=True):
    sealed: bytes


class _Seeds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The secrets. Never kept longer than it takes to build keys of them, never shown."""

    signers: list[tuple[bytes, bytes]]  # ML-DSA-87 seed[32], P-384 scalar[48]
    kems: list[tuple[bytes, bytes]]  # ML-KEM-1024 seed[64], P-384 scalar[48]
    storage_key: bytes

    def __repr__(self) -> str:
        return "<seeds …>"


class Keyring:
    """The private keys of one endpoint. Does not leak by repr, copy or pickle.

    Attributes:
        endpoint: whose keys they are.
        signers: pairs of signing keys, oldest first. Rotation adds one; readers know the older by the directory.
        kems: pairs of decapsulation keys, oldest first: older ones open what was granted to them.
        storage_key: 32 bytes, seals the secrets within the state folders.
    """

    __slots__ = ("endpoint", "kems", "signers", "storage_key")

    def __init__(
        self, endpoint: str, signers: Sequence[SigningKey], kems: Sequence[KemPrivateKey], storage_key: bytes
    ) -> None:
        """Take keys.

        Raises:
            KeyringError: keyring-invalid: a kind of key is missing, twice there, or of a wrong length.
        """
        pairs = [key.public.id for key in signers] + [key.public.id for key in kems]
        if not signers or not kems or len(set(pairs)) < len(pairs) or len(storage_key) != suite.KEY_BYTES:
            raise KeyringError("keyring-invalid", "a key is missing, twice there, or too short", where=endpoint)
        self.endpoint = endpoint
        self.signers = tuple(signers)
        self.kems = tuple(kems)
        self.storage_key = storage_key

    @classmethod
    def generate(cls, endpoint: str) -> Self:
        """Make new keys from the operating system's random source."""
        return cls(endpoint, [SigningKey.generate()], [KemPrivateKey.generate()], suite.random_key())

    @property
    def signer(self) -> SigningKey:
        """The newest pair of signing keys: the one to sign with."""
        return self.signers[-1]

    @property
    def kem(self) -> KemPrivateKey:
        """The newest pair of decapsulation keys: the one to publish."""
        return self.kems[-1]

    def __repr__(self) -> str:
        return f"<Keyring {self.endpoint}: {len(self.signers)} signers, {len(self.kems)} kems>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key ring is not to be copied or pickled")

    def save(self, path: Path, passphrase: Passphrase, *, replace: bool = False, log2_n: int = LOG2_N) -> None:
        """Write the key file: 0600 in a folder of 0700, whole or not at all, durable on return.

        Args:
            path: the file.
            passphrase: seals it.
            replace: a file that is there is replaced (after a rotation).
            log2_n: cost of a guess, 17 to 19; 2^log2_n KiB of memory.

        Raises:
            KeyringError: keyring-exists, keyring-permissions, keyring-unwritable; keyring-invalid: cost out of range.
        """
        header = _Header(1, self.endpoint, _Scrypt(log2_n))
        _check_cost(header, path)
        seeds = _Seeds([key.seeds for key in self.signers], [key.seeds for key in self.kems], self.storage_key)
        plain = msgspec.msgpack.encode(seeds)
        sealed = suite.passphrase_seal(passphrase.reveal(), plain, header.aad(), log2_n=log2_n)
        file = _File(1, self.endpoint, header.scrypt, sealed)
        write_private(path, msgspec.json.format(msgspec.json.encode(file)) + b"\n", replace=replace)

    @classmethod
    def load(cls, path: Path, passphrase: Passphrase, *, endpoint: str | None = None) -> Self:
        """Open a key file; takes 128 MiB and 0.3 s, on purpose.

        Args:
            path: the file.
            passphrase: that it was sealed with.
            endpoint: whose it must be; None takes any.

        Raises:
            KeyringError: keyring-missing, keyring-permissions, keyring-invalid or keyring-locked.
        """
        data = read_private(path, limit=FILE_BYTES, missing="keyring-missing")
        try:
            file = msgspec.json.decode(data, type=_File)
        except msgspec.MsgspecError as error:
            raise KeyringError("keyring-invalid", str(error), where=str(path)) from None
        header = _Header(file.version, file.endpoint, file.scrypt)
        _check_cost(header, path)
        if endpoint not in (None, file.endpoint):
            raise KeyringError("keyring-invalid", f"it holds the keys of {file.endpoint}", where=str(path))
        try:
            plain = suite.passphrase_open(passphrase.reveal(), file.sealed, header.aad(), log2_n=file.scrypt.log2_n)
        except suite.SealError:
            raise KeyringError("keyring-locked", "the seal does not open", where=str(path)) from None
        except MemoryError:
            raise KeyringError("keyring-invalid", "too little memory to open it", where=str(path)) from None
        return cls._of(file.endpoint, plain, path)

    @classmethod
    def _of(cls, endpoint: str, plain: bytes, path: Path) -> Self:
        try:
            seeds = msgspec.msgpack.decode(plain, type=_Seeds)
            signers = [SigningKey.from_seeds(*pair) for pair in seeds.signers]
            kems = [KemPrivateKey.from_seeds(*pair) for pair in seeds.kems]
        except (msgspec.MsgspecError, ValueError):  # their texts might name a secret
            raise KeyringError("keyring-invalid", "the sealed seeds are not well-formed", where=str(path)) from None
        return cls(endpoint, signers, kems, seeds.storage_key)


def _check_cost(header: _Header, path: Path) -> None:
    if not LOG2_N <= header.scrypt.log2_n <= LOG2_N_MAX:
        wanted = f"{LOG2_N} to {LOG2_N_MAX}"
        raise KeyringError(
            "keyring-invalid", f"scrypt's log2_n is {header.scrypt.log2_n}, not {wanted}", where=str(path)
        )
