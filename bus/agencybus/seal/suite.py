"""Suite 1: every call into `cryptography`, in one file, each with the reason why its nonce is safe.

ML-DSA-87 (FIPS 204, pure, empty context) AND ECDSA P-384/SHA-384 (FIPS 186-5); HPKE base mode (RFC 9180) with
MLKEM1024-P384 + HKDF-SHA384 + AES-256-GCM; HKDF-Expand-SHA384 (RFC 5869); AES-256-GCM (NIST SP 800-38D); scrypt
(RFC 7914). A new suite is a new record version: nothing here is negotiated.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, mlkem
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agencybus.wire import ids

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
MLDSA_SIGNATURE_BYTES: Final = 4627
P384_SIGNATURE_BYTES: Final = 96
WRAPPED_BYTES: Final = 1713  # 1,568 ML-KEM + 97 P-384 + 32 key + 16 tag

_P384_SCALAR: Final = 48
_NONCE: Final = 12
_SALT: Final = 16
_HPKE: Final = hpke.Suite(hpke.KEM.MLKEM1024_P384, hpke.KDF.HKDF_SHA384, hpke.AEAD.AES_256_GCM)


class SealError(Exception):
    """A cryptographic check failed. Says nothing about why, on purpose; callers add step and code."""


class _Secret:
    """A holder of secret bytes that does not leak them by repr, copy or pickle."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} …>"

    def __reduce__(self) -> NoReturn:
        msg = f"{type(self).__name__} is not to be pickled"
        raise TypeError(msg)


def _p384_private(scalar: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP384R1())


def _p384_scalar(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_numbers().private_value.to_bytes(_P384_SCALAR, "big")


def _p384_point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


# --- signatures


@dataclass(frozen=True)
class VerifyKey:
    """A pair of verification keys.

    Attributes:
        mldsa87: 2,592 bytes (FIPS 204).
        p384: 97 bytes, uncompressed point (SEC 1).

    Raises:
        ValueError: one of the keys is malformed or not on the curve.
    """

    mldsa87: bytes
    p384: bytes

    def __post_init__(self) -> None:
        _ = self._keys

    @cached_property
    def _keys(self) -> tuple[mldsa.MLDSA87PublicKey, ec.EllipticCurvePublicKey]:
        return (
            mldsa.MLDSA87PublicKey.from_public_bytes(self.mldsa87),
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), self.p384),
        )

    @cached_property
    def id(self) -> bytes:
        """signer_key_id, 48 bytes."""
        return ids.signer_key_id(self.mldsa87, self.p384)

    def verify_mldsa(self, message: bytes, signature: bytes) -> None:
        """Verify the ML-DSA-87 half, or raise SealError."""
        try:
            self._keys[0].verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise SealError from error

    def verify_p384(self, message: bytes, signature: bytes) -> None:
        """Verify the P-384 half (r ‖ s, 96 bytes), or raise SealError."""
        if len(signature) != P384_SIGNATURE_BYTES:
            raise SealError
        r, s = (
            int.from_bytes(signature[:_P384_SCALAR], "big"),
            int.from_bytes(signature[_P384_SCALAR:], "big"),
        )
        try:
            self._keys[1].verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA384()))
        except (InvalidSignature, ValueError) as error:
            raise SealError from error


class SigningKey(_Secret):
    """A pair of signing keys; both always sign."""

    __slots__ = ("_mldsa", "_p384", "public")

    def __init__(self, mldsa87: mldsa.MLDSA87PrivateKey, p384: ec.EllipticCurvePrivateKey) -> None:
        self._mldsa = mldsa87
        self._p384 = p384
        self.public = VerifyKey(mldsa87.public_key().public_bytes_raw(), _p384_point(p384.public_key()))

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new pair from the operating system's random source."""
        return cls(mldsa.MLDSA87PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1()))

    @classmethod
    def from_seeds(cls, mldsa87: bytes, p384: bytes) -> SigningKey:
        """Rebuild from an ML-DSA-87 seed (32 bytes) and a P-384 scalar (48 bytes, big-endian).

        Raises:
            ValueError: a seed has another length or range.
        """
        return cls(mldsa.MLDSA87PrivateKey.from_seed_bytes(mldsa87), _p384_private(p384))

    @property
    def seeds(self) -> tuple[bytes, bytes]:
        """The seeds that `from_seeds` takes. For the keyring only."""
        return self._mldsa.private_bytes_raw(), _p384_scalar(self._p384)

    def sign(self, message: bytes) -> tuple[bytes, bytes]:
        """Both signatures over `message`: 4,627 bytes of ML-DSA-87 and 96 bytes of P-384 r ‖ s.

        ML-DSA is hedged by the library. P-384 is deterministic (RFC 6979): no nonce to repeat on a cloned machine.
        """
        der = self._p384.sign(message, ec.ECDSA(hashes.SHA384(), deterministic_signing=True))
        r, s = decode_dss_signature(der)
        return self._mldsa.sign(message), r.to_bytes(_P384_SCALAR, "big") + s.to_bytes(_P384_SCALAR, "big")


# --- key wraps


@dataclass(frozen=True)
class KemPublicKey:
    """A pair of encapsulation keys.

    Attributes:
        mlkem1024: 1,568 bytes (FIPS 203).
        p384: 97 bytes, uncompressed point (SEC 1).

    Raises:
        ValueError: one of the keys is malformed or not on the curve.
    """

    mlkem1024: bytes
    p384: bytes

    def __post_init__(self) -> None:
        _ = self._key

    @cached_property
    def _key(self) -> hpke.MLKEM1024P384PublicKey:
        return hpke.MLKEM1024P384PublicKey(
            mlkem.MLKEM1024PublicKey.from_public_bytes(self.mlkem1024),
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), self.p384),
        )

    @cached_property
    def id(self) -> bytes:
        """kem_key_id, 48 bytes."""
        return ids.kem_key_id(self.mlkem1024, self.p384)

    def wrap(self, key: bytes, info: bytes) -> bytes:
        """Seal a 32-byte key to this key pair: 1,713 bytes. The encapsulation is fresh, so its nonce is used once."""
        return _HPKE.encrypt(key, self._key, info=info)


class KemPrivateKey(_Secret):
    """A pair of decapsulation keys."""

    __slots__ = ("_key", "_mlkem", "_p384", "public")

    def __init__(self, mlkem1024: mlkem.MLKEM1024PrivateKey, p384: ec.EllipticCurvePrivateKey) -> None:
        self._mlkem = mlkem1024
        self._p384 = p384
        self._key = hpke.MLKEM1024P384PrivateKey(mlkem1024, p384)
        self.public = KemPublicKey(mlkem1024.public_key().public_bytes_raw(), _p384_point(p384.public_key()))

    @classmethod
    def generate(cls) -> KemPrivateKey:
        """Make a new pair from the operating system's random source."""
        return cls(mlkem.MLKEM1024PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1()))

    @classmethod
    def from_seeds(cls, mlkem1024: bytes, p384: bytes) -> KemPrivateKey:
        """Rebuild from an ML-KEM-1024 seed (64 bytes) and a P-384 scalar (48 bytes, big-endian).

        Raises:
            ValueError: a seed has another length or range.
        """
        return cls(mlkem.MLKEM1024PrivateKey.from_seed_bytes(mlkem1024), _p384_private(p384))

    @property
    def seeds(self) -> tuple[bytes, bytes]:
        """The seeds that `from_seeds` takes. For the keyring only."""
        return self._mlkem.private_bytes_raw(), _p384_scalar(self._p384)

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """Open what `KemPublicKey.wrap` made, or raise SealError."""
        if len(wrapped) != WRAPPED_BYTES:
            raise SealError
        try:
            return _HPKE.decrypt(wrapped, self._key, info=info)
        except (InvalidTag, ValueError) as error:
            raise SealError from error


# --- bodies


def _frame_cipher(audience_key: bytes, header: bytes) -> tuple[AESGCM, bytes]:
    """Frame key and iv by formula: HKDF-Expand(K, "agencybus/v1/frame-key" ‖ 0x00 ‖ SHA-384(header), 44).

    Safe nonce: the header holds lineage, sequence and a commitment under a fresh secret, so no two plaintexts share
    a header, not even after a fork of the process or a cloned machine; a resend is the stored bytes.
    """
    info = b"agencybus/v1/frame-key\x00" + hashlib.sha384(header).digest()
    okm = HKDFExpand(hashes.SHA384(), KEY_BYTES + _NONCE, info).derive(audience_key)
    return AESGCM(okm[:KEY_BYTES]), okm[KEY_BYTES:]


def seal_body(audience_key: bytes, header: bytes, plaintext: bytes) -> bytes:
    """AES-256-GCM of a frame's plaintext with AAD = header; ciphertext ‖ 16-byte tag."""
    aead, iv = _frame_cipher(audience_key, header)
    return aead.encrypt(iv, plaintext, header)


def open_body(audience_key: bytes, header: bytes, body: bytes) -> bytes:
    """Inverse of `seal_body`, or SealError."""
    aead, iv = _frame_cipher(audience_key, header)
    try:
        return aead.decrypt(iv, body, header)
    except (InvalidTag, ValueError) as error:
        raise SealError from error


def keystream(secret: bytes, size: int) -> bytes:
    """`size` bytes of AES-256-CTR keystream (zero counter block) under a 32-byte secret that is used for this alone."""
    return Cipher(algorithms.AES(secret), modes.CTR(bytes(16))).encryptor().update(bytes(size))


def random_key() -> bytes:
    """32 bytes from the operating system's random source."""
    return os.urandom(KEY_BYTES)


# --- secrets at rest


def storage_seal(key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """AES-256-GCM for the local state: nonce ‖ ciphertext ‖ tag.

    Safe nonce: 96 random bits; below 2^32 messages a key, as SP 800-38D, section 8.3 asks (one per audience key,
    epoch and quarantined record: some thousands a year).
    """
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, aad)


def storage_open(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Inverse of `storage_seal`, or SealError."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], aad)
    except (InvalidTag, ValueError) as error:
        raise SealError from error


def _passphrase_key(passphrase: bytes, salt: bytes, log2_n: int) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=1 << log2_n, r=8, p=1).derive(passphrase)


def passphrase_seal(passphrase: bytes, plaintext: bytes, aad: bytes, *, log2_n: int = 17) -> bytes:
    """Seal under scrypt (N = 2^log2_n, r = 8, p = 1; 128 MiB at 17) + AES-256-GCM: salt[16] ‖ ciphertext ‖ tag.

    Safe nonce: the salt is fresh, so the key is used once, with a zero nonce. The caller keeps `log2_n` in `aad`.
    """
    salt = os.urandom(_SALT)
    return salt + AESGCM(_passphrase_key(passphrase, salt, log2_n)).encrypt(bytes(_NONCE), plaintext, aad)


def passphrase_open(passphrase: bytes, sealed: bytes, aad: bytes, *, log2_n: int = 17) -> bytes:
    """Inverse of `passphrase_seal`, or SealError. The caller bounds `log2_n` before it calls."""
    key = _passphrase_key(passphrase, sealed[:_SALT], log2_n)
    try:
        return AESGCM(key).decrypt(bytes(_NONCE), sealed[_SALT:], aad)
    except (InvalidTag, ValueError) as error:
        raise SealError from error
