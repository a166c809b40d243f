from __future__ import annotations

import base64
import copy
import itertools
import json
import logging
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agencybus.errors import KeyringError
from agencybus.keyring import Keyring, Passphrase
from agencybus.keyring.keyring import FILE_BYTES
from agencybus.seal import suite
from agencybus.seal.suite import KemPrivateKey, SigningKey

ENDPOINT = "us.cbp/ntc-cargo"
PASSPHRASE = Passphrase(b"canary-correct horse battery staple")


@pytest.fixture(scope="module")
def ring() -> Keyring:
    return Keyring.generate(ENDPOINT)


@pytest.fixture(scope="module")
def stored(ring: Keyring, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound key file; scrypt takes its time, so it is made once."""
    path = tmp_path_factory.mktemp("sound") / "keys" / "keyring.json"
    ring.save(path, PASSPHRASE)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, stored: bytes) -> Path:
    """The key file, in a place of its own."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    return put(folder / "keyring.json", stored)


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def changed(stored: bytes, **fields: Any) -> bytes:
    return json.dumps(json.loads(stored) | fields).encode()


def code_of_loading(path: Path, passphrase: Passphrase = PASSPHRASE, **named: Any) -> str:
    with pytest.raises(KeyringError) as error:
        Keyring.load(path, passphrase, **named)
    assert "canary" not in str(error.value) + repr(error.value)
    return error.value.code


def same(one: Keyring, other: Keyring) -> bool:
    """The same keys: what one wraps or signs, the other opens or verifies."""
    return (
        one.endpoint == other.endpoint
        and [key.seeds for key in one.signers] == [key.seeds for key in other.signers]
        and [key.seeds for key in one.kems] == [key.seeds for key in other.kems]
        and one.storage_key == other.storage_key
    )


def secrets_of(ring: Keyring) -> list[bytes]:
    pairs = [key.seeds for key in ring.signers] + [key.seeds for key in ring.kems]
    return [*itertools.chain(*pairs), ring.storage_key]


def test_what_was_saved_is_loaded(ring: Keyring, path: Path) -> None:
    loaded = Keyring.load(path, PASSPHRASE)
    assert same(loaded, ring)
    message = b"message"
    mldsa, p384 = loaded.signer.sign(message)
    ring.signer.public.verify_mldsa(message, mldsa)
    ring.signer.public.verify_p384(message, p384)
    wrapped = ring.kem.public.wrap(bytes(32), b"info")
    assert loaded.kem.unwrap(wrapped, b"info") == bytes(32)


def test_a_rotation_keeps_the_older_keys_and_uses_the_newest(ring: Keyring, tmp_path: Path) -> None:
    signer, kem = SigningKey.generate(), KemPrivateKey.generate()
    rotated = Keyring(ENDPOINT, [*ring.signers, signer], [*ring.kems, kem], ring.storage_key)
    path = tmp_path / "keys" / "keyring.json"
    rotated.save(path, PASSPHRASE)
    loaded = Keyring.load(path, PASSPHRASE)
    assert same(loaded, rotated)
    assert [key.public.id for key in loaded.signers] == [ring.signer.public.id, signer.public.id]
    assert (loaded.signer.public.id, loaded.kem.public.id) == (signer.public.id, kem.public.id)


def test_the_file_and_its_folder_are_private(tmp_path: Path, ring: Keyring) -> None:
    path = tmp_path / "keys" / "keyring.json"
    ring.save(path, PASSPHRASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [found.name for found in path.parent.iterdir()] == ["keyring.json"]


def test_the_file_shows_no_secret(ring: Keyring, stored: bytes) -> None:
    shown = stored + base64.b64decode(json.loads(stored)["sealed"])
    for secret in secrets_of(ring):
        assert secret not in shown
        assert base64.b64encode(secret)[:20] not in shown
        assert secret.hex().encode() not in shown


def test_two_files_of_one_ring_have_nothing_sealed_in_common(ring: Keyring, stored: bytes, tmp_path: Path) -> None:
    ring.save(tmp_path / "keys" / "again.json", PASSPHRASE)
    one, other = (
        base64.b64decode(json.loads(data)["sealed"])
        for data in (stored, (tmp_path / "keys" / "again.json").read_bytes())
    )
    assert not {one[i : i + 8] for i in range(len(one))} & {other[i : i + 8] for i in range(len(other))}


def test_a_file_is_not_overwritten_by_chance(path: Path, stored: bytes) -> None:
    with pytest.raises(KeyringError) as error:
        Keyring.generate("us.cbp/other").save(path, PASSPHRASE)
    assert error.value.code == "keyring-exists"
    assert path.read_bytes() == stored
    assert [found.name for found in path.parent.iterdir()] == ["keyring.json"]


def test_a_file_is_replaced_when_that_is_asked_for(path: Path) -> None:
    other = Keyring.generate("us.cbp/other")
    other.save(path, PASSPHRASE, replace=True)
    assert same(Keyring.load(path, PASSPHRASE), other)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_wrong_passphrase_is_told(path: Path) -> None:
    assert code_of_loading(path, Passphrase(b"wrong")) == "keyring-locked"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert code_of_loading(tmp_path / "keyring.json") == "keyring-missing"


def test_the_ring_of_another_endpoint_is_refused_if_one_is_expected(path: Path) -> None:
    assert code_of_loading(path, endpoint="us.fbi/wanted") == "keyring-invalid"
    assert Keyring.load(path, PASSPHRASE, endpoint=ENDPOINT).endpoint == ENDPOINT


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644])
def test_a_file_that_others_may_touch_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert code_of_loading(path) == "keyring-permissions"


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o711, 0o770, 0o755])
def test_a_folder_that_others_may_touch_is_refused(path: Path, mode: int) -> None:
    path.parent.chmod(mode)
    assert code_of_loading(path) == "keyring-permissions"
    with pytest.raises(KeyringError) as error:
        Keyring.generate(ENDPOINT).save(path.with_name("second.json"), PASSPHRASE)
    assert error.value.code == "keyring-permissions"


def test_a_link_does_not_hide_where_it_leads(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(path)
    tmp_path.chmod(0o700)
    assert Keyring.load(link, PASSPHRASE).endpoint == ENDPOINT
    tmp_path.chmod(0o777)
    assert code_of_loading(link) == "keyring-permissions", "somebody could lead the link elsewhere"
    tmp_path.chmod(0o700)
    path.chmod(0o644)
    assert code_of_loading(link) == "keyring-permissions"


def test_a_folder_or_a_pipe_in_its_place_is_no_key_file(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    (folder / "folder").mkdir(mode=0o700)
    os.mkfifo(folder / "pipe", 0o600)
    assert code_of_loading(folder / "folder") == "keyring-missing"
    assert code_of_loading(folder / "pipe") == "keyring-missing"


# --- hostile and damaged files


def test_nothing_outside_of_the_seal_can_be_changed(path: Path, stored: bytes) -> None:
    put(path, changed(stored, endpoint="us.fbi/wanted"))
    assert code_of_loading(path) == "keyring-locked"
    put(path, changed(stored, scrypt={"log2_n": 18, "r": 8, "p": 1}))
    assert code_of_loading(path) == "keyring-locked"


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 2},
        {"version": "1"},
        {"extra": 1},
        {"scrypt": {"log2_n": 17, "r": 9, "p": 1}},
        {"scrypt": {"log2_n": 17, "r": 8, "p": 2}},
        {"scrypt": {"log2_n": 17, "r": 8, "p": 1, "more": 0}},
        {"scrypt": {"log2_n": 17.0, "r": 8, "p": 1}},
        {"scrypt": {}},
        {"sealed": "not base64!"},
        {"sealed": 5},
        {"endpoint": None},
    ],
    ids=str,
)
def test_a_field_of_another_form_is_refused(path: Path, stored: bytes, fields: dict[str, Any]) -> None:
    put(path, changed(stored, **fields))
    assert code_of_loading(path) == "keyring-invalid"


@pytest.mark.parametrize("log2_n", [-1, 0, 14, 16, 20, 30, 63, 1 << 40])
def test_a_cost_that_is_too_low_or_would_eat_the_machine_is_refused_unspent(
    path: Path, stored: bytes, log2_n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[int] = []
    monkeypatch.setattr(suite, "passphrase_open", lambda *_, **named: spent.append(named["log2_n"]))
    put(path, changed(stored, scrypt={"log2_n": log2_n, "r": 8, "p": 1}))
    assert code_of_loading(path) == "keyring-invalid"
    assert spent == []


@pytest.mark.parametrize("log2_n", [16, 20])
def test_a_file_of_such_a_cost_is_not_written_either(ring: Keyring, tmp_path: Path, log2_n: int) -> None:
    with pytest.raises(KeyringError) as error:
        ring.save(tmp_path / "keys" / "keyring.json", PASSPHRASE, log2_n=log2_n)
    assert error.value.code == "keyring-invalid"
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    "data", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 10_000, b"{" * (FILE_BYTES + 1)], ids=len
)
def test_a_file_that_is_no_key_file_is_refused(path: Path, data: bytes) -> None:
    put(path, data)
    assert code_of_loading(path) == "keyring-invalid"


@pytest.mark.parametrize("keep", [0, 1, 15, 16, 17, 40])
def test_a_seal_that_was_cut_does_not_open(path: Path, stored: bytes, keep: int) -> None:
    sealed = base64.b64decode(json.loads(stored)["sealed"])[:keep]
    put(path, changed(stored, sealed=base64.b64encode(sealed).decode()))
    assert code_of_loading(path) in {"keyring-locked", "keyring-invalid"}


@pytest.mark.parametrize(
    "seeds",
    [
        {"signers": [], "kems": [], "storage_key": bytes(32)},
        {"signers": [(bytes(31), bytes(48))], "kems": [], "storage_key": bytes(32)},
        {"signers": [(bytes(32), bytes(48))], "kems": [], "storage_key": bytes(32)},
        {"signers": [(bytes(32), b"\xff" * 48)], "kems": [], "storage_key": bytes(32)},
        {"signers": [(bytes(32), bytes(47) + b"\x01")], "kems": [(bytes(63), bytes(48))], "storage_key": bytes(32)},
        {"signers": 5},
        b"canary",
    ],
    ids=["none", "short", "zero scalar", "scalar too large", "short kem", "number", "bytes"],
)
def test_seeds_that_are_none_are_refused_without_being_named(path: Path, seeds: object) -> None:
    header = {"version": 1, "endpoint": ENDPOINT, "scrypt": {"log2_n": 17, "r": 8, "p": 1}}
    aad = b"agencybus/v1/keyring\x00" + json.dumps(header, separators=(",", ":")).encode()
    sealed = suite.passphrase_seal(PASSPHRASE.reveal(), msgspec.msgpack.encode(seeds), aad)
    put(path, json.dumps(header | {"sealed": base64.b64encode(sealed).decode()}).encode())
    assert code_of_loading(path) == "keyring-invalid"


@pytest.mark.parametrize("wrong", ["no signer", "no kem", "signer twice", "kem twice", "short storage key"])
def test_a_ring_is_complete(ring: Keyring, wrong: str) -> None:
    signers, kems, storage_key = list(ring.signers), list(ring.kems), ring.storage_key
    match wrong:
        case "no signer":
            signers = []
        case "no kem":
            kems = []
        case "signer twice":
            signers *= 2
        case "kem twice":
            kems *= 2
        case _:
            storage_key = storage_key[:31]
    with pytest.raises(KeyringError) as error:
        Keyring(ENDPOINT, signers, kems, storage_key)
    assert error.value.code == "keyring-invalid"


# --- leaks


@pytest.mark.parametrize("secret", ["ring", "passphrase", "signer", "kem"])
@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_secrets_are_not_copied(ring: Keyring, secret: str, take: Any) -> None:
    thing = {"ring": ring, "passphrase": PASSPHRASE, "signer": ring.signer, "kem": ring.kem}[secret]
    with pytest.raises(TypeError):
        take(thing)


def test_secrets_are_not_printed(ring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").error("%s %r %s %r %s", ring, ring, PASSPHRASE, [PASSPHRASE], vars)
    shown = caplog.text + repr([ring, ring.signers, ring.kems, PASSPHRASE]) + f"{ring} {PASSPHRASE}"
    assert "canary" not in shown
    for secret in secrets_of(ring):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
    assert "us.cbp/ntc-cargo" in repr(ring)
