"""Attacks on the directory's metadata: versions, roles, thresholds, roots. Each does it to the repository of the US."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile, Root

from agencybus.directory.authoring import Authority
from repositories import World, edit_json, unchanged

US = "us.cbp/ntc-cargo"


def timestamp_rollback(world: World) -> None:
    stamp = world.metadata("us") / "timestamp.json"
    old = stamp.read_bytes()
    world.withdraw(US)
    world.client(world.folder.parent / "home").refresh()  # the client has seen the new one
    stamp.write_bytes(old)


def snapshot_rollback(world: World) -> None:
    old = (world.metadata("us") / "1.snapshot.json").read_bytes()
    world.withdraw(US)
    world.client(world.folder.parent / "home").refresh()

    def point_back(stamp: Any) -> None:
        stamp.version += 1
        stamp.snapshot_meta = MetaFile.from_data(1, old, ["sha384"])

    world.resign(world.metadata("us") / "timestamp.json", point_back, world.signers("us", "timestamp"))


def targets_rollback(world: World) -> None:
    world.withdraw(US)
    world.client(world.folder.parent / "home").refresh()
    old = (world.metadata("us") / "1.targets.json").read_bytes()
    world.forge("us", snapshot=lambda s: s.meta.update({"targets.json": MetaFile.from_data(1, old, ["sha384"])}))


def a_second_history(world: World) -> None:
    def no_past(snapshot: Any) -> None:
        del snapshot.unrecognized_fields["previous"]

    world.forge("us", snapshot=no_past)


def a_history_that_ends_elsewhere(world: World) -> None:
    fork = world.metadata("us") / "1.snapshot.json"
    original = fork.read_bytes()
    data = world.resign(fork, lambda s: s.unrecognized_fields.update(issued_at=1), world.signers("us", "snapshot"))
    world.forge("us")
    assert data != original


def history_missing_at_the_mirror(world: World) -> None:
    world.withdraw(US)
    world.publish_country("us", withdrawals=())
    (world.metadata("us") / "2.snapshot.json").unlink()


def history_altered_at_the_mirror(world: World) -> None:
    world.withdraw(US)
    world.publish_country("us", withdrawals=())
    path = world.metadata("us") / "2.snapshot.json"
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"issued_at":1', b'"issued_at":2'))
    assert path.read_bytes() != data


def freeze(world: World) -> None:
    world.publish_country("us", now=datetime.now(UTC) - timedelta(days=30))


def mix_and_match(world: World) -> None:
    world.withdraw(US)
    folder = world.metadata("us")
    old, new = (folder / "1.targets.json").read_bytes(), (folder / "2.targets.json").read_bytes()
    (folder / "2.targets.json").write_bytes(old.ljust(len(new))[: len(new)])


def mix_and_match_of_snapshots(world: World) -> None:
    world.withdraw(US)
    (world.metadata("us") / "2.snapshot.json").write_bytes((world.metadata("us") / "1.snapshot.json").read_bytes())


def another_repository_in_its_place(world: World) -> None:
    for name in ("timestamp.json", "1.snapshot.json", "1.targets.json"):
        (world.metadata("us") / name).write_bytes((world.metadata("mx") / name).read_bytes())
    edit_json(world.metadata("us") / "timestamp.json", lambda content: content["signed"].update(version=9))


def timestamp_of_another_role(world: World) -> None:
    (world.metadata("us") / "timestamp.json").write_bytes((world.metadata("us") / "1.snapshot.json").read_bytes())


def unsigned_timestamp(world: World) -> None:
    edit_json(
        world.metadata("us") / "timestamp.json",
        lambda content: content.update(signatures=[], signed=content["signed"] | {"version": 2}),
    )


def altered_timestamp(world: World) -> None:
    edit_json(world.metadata("us") / "timestamp.json", lambda content: content["signed"].update(version=2))


def only(scheme: int, role: str) -> Callable[[World], None]:
    """Signed with one algorithm alone: 0 is ML-DSA-87, 1 is P-384."""

    def attack(world: World) -> None:
        world.withdraw(US)
        path = world.newest("us", role)
        signer = world.signers("us", role)[scheme]
        if role == "root":
            world.next_root("us", unchanged, [signer])
        else:
            world.resign(path, unchanged, [signer])
            repin(world, role)

    attack.__name__ = f"{role}_signed_with_{('ml_dsa', 'p384')[scheme]}_alone"
    return attack


def repin(world: World, role: str) -> None:
    """Make everything above a changed file right again, so that its own signatures are all that is wrong."""
    if role == "targets":
        data = world.newest("us", "targets").read_bytes()
        path = world.newest("us", "snapshot")
        version = int(world.newest("us", "targets").name.split(".")[0])
        world.resign(
            path,
            lambda s: s.meta.update({"targets.json": MetaFile.from_data(version, data, ["sha384"])}),
            world.signers("us", "snapshot"),
        )
    if role in ("targets", "snapshot"):
        path = world.newest("us", "snapshot")
        meta = MetaFile.from_data(int(path.name.split(".")[0]), path.read_bytes(), ["sha384"])
        world.resign(
            world.metadata("us") / "timestamp.json",
            lambda stamp: setattr(stamp, "snapshot_meta", meta),
            world.signers("us", "timestamp"),
        )


def one_signature_twice(world: World) -> None:
    def twice(content: dict[str, Any]) -> None:
        content["signed"]["version"] = 2
        content["signatures"] = [content["signatures"][0]] * 2

    edit_json(world.metadata("us") / "timestamp.json", twice)


def strange_signers(world: World) -> None:
    thief = Authority.generate("us")
    world.resign(
        world.metadata("us") / "timestamp.json", lambda stamp: setattr(stamp, "version", 2), thief.own["timestamp"]
    )


def root_with_a_lower_threshold(world: World) -> None:
    world.next_root("us", lambda root: setattr(root.roles["timestamp"], "threshold", 1))


def root_with_one_algorithm(world: World) -> None:
    def drop(root: Any) -> None:
        key_id = world.signers("us", "snapshot")[0].public_key.keyid
        root.revoke_key(key_id, "snapshot")
        root.roles["snapshot"].threshold = 1

    world.next_root("us", drop)


def root_with_a_key_under_two_ids(world: World) -> None:
    """One pair of keys that python-tuf counts as two: every signature comes once under each id."""
    signers = world.signers("us", "timestamp")
    again = [
        CryptoSigner(signer._private_key, type(signer.public_key)("f" * 62 + str(number), **plain(signer.public_key)))
        for number, signer in enumerate(signers, start=10)
        if isinstance(signer, CryptoSigner)
    ]
    more_timestamp_keys(world, again)


def root_with_a_key_in_another_spelling(world: World) -> None:
    """The same P-384 key as a compressed point: other text, other bytes, the same signer."""
    (_, signer) = world.signers("us", "timestamp")
    assert isinstance(signer, CryptoSigner)
    lines = signer.public_key.keyval["public"].splitlines()
    point = base64.b64decode("".join(lines[1:-1]))[-97:]
    compressed = bytes.fromhex("3046301006072a8648ce3d020106052b81040022033200")
    compressed += bytes([2 + point[-1] % 2]) + point[1:49]
    text = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(compressed).decode()}\n-----END PUBLIC KEY-----\n"
    key = type(signer.public_key)("e" * 64, **plain(signer.public_key) | {"keyval": {"public": text}})
    again = CryptoSigner(signer._private_key, key)
    more_timestamp_keys(world, [CryptoSigner.generate_mldsa(scheme="ml-dsa-87/1"), again])


def root_with_a_weak_key(world: World) -> None:
    more_timestamp_keys(
        world,
        [
            CryptoSigner.generate_mldsa(scheme="ml-dsa-44/1"),
            CryptoSigner.generate_ecdsa(scheme="ecdsa-sha2-nistp384"),
        ],
    )


def root_with_a_key_of_another_kind(world: World) -> None:
    more_timestamp_keys(world, [CryptoSigner.generate_ed25519(), CryptoSigner.generate_rsa(size=2048)])


def root_with_three_of_four_keys(world: World) -> None:
    """More P-384 than ML-DSA: whoever breaks the one needs less of the other."""
    more_timestamp_keys(world, [CryptoSigner.generate_ecdsa(scheme="ecdsa-sha2-nistp384")])


def plain(key: Any) -> dict[str, Any]:
    return {"keytype": key.keytype, "scheme": key.scheme, "keyval": key.keyval}


def more_timestamp_keys(world: World, more: list[CryptoSigner]) -> None:
    """A root with more keys for the timestamp, and a timestamp that all of them sign: python-tuf is content."""

    def add(root: Any) -> None:
        for signer in more:
            root.add_key(signer.public_key, "timestamp")
        root.roles["timestamp"].threshold = 2 + len(more)

    world.next_root("us", add)
    signers = [*world.signers("us", "timestamp"), *more]
    world.resign(world.metadata("us") / "timestamp.json", lambda stamp: setattr(stamp, "version", 2), signers)


def root_without_consistent_snapshots(world: World) -> None:
    world.next_root("us", lambda root: setattr(root, "consistent_snapshot", False))


def a_weak_root_in_between(world: World) -> None:
    """All keys sign a root for which one key suffices; that one key then hands over to strangers, in good form."""
    first = world.signers("us", "root")[0]

    def weaken(root: Any) -> None:
        root.roles["root"].threshold = 1

    world.next_root("us", weaken)
    thief = Authority.generate("us")

    def hand_over(root: Any) -> None:
        strange = Root(root.version, root.spec_version, root.expires, consistent_snapshot=True)
        for role, signers in thief.own.items():
            for signer in signers:
                strange.add_key(signer.public_key, role)
            strange.roles[role].threshold = 2
        root.keys, root.roles = strange.keys, strange.roles

    world.next_root("us", hand_over, [first, *thief.own["root"]])
    folder = world.metadata("us")
    world.resign(folder / "1.targets.json", unchanged, thief.own["targets"])
    data = (folder / "1.targets.json").read_bytes()

    def snapshot(signed: Any) -> None:
        signed.version = 2
        signed.meta["targets.json"] = MetaFile.from_data(1, data, ["sha384"])

    (folder / "2.snapshot.json").write_bytes((folder / "1.snapshot.json").read_bytes())
    data_2 = world.resign(folder / "2.snapshot.json", snapshot, thief.own["snapshot"])

    def stamp(signed: Any) -> None:
        signed.version = 2
        signed.snapshot_meta = MetaFile.from_data(2, data_2, ["sha384"])

    world.resign(folder / "timestamp.json", stamp, thief.own["timestamp"])


def root_signed_by_the_new_keys_alone(world: World) -> None:
    thief = Authority.generate("us")

    def replace(root: Any) -> None:
        for old in world.signers("us", "root"):
            root.revoke_key(old.public_key.keyid, "root")
        for signer in thief.own["root"]:
            root.add_key(signer.public_key, "root")

    world.next_root("us", replace, thief.own["root"])


def root_signed_by_the_old_keys_alone(world: World) -> None:
    thief = Authority.generate("us")

    def replace(root: Any) -> None:
        for old in world.signers("us", "root"):
            root.revoke_key(old.public_key.keyid, "root")
        for signer in thief.own["root"]:
            root.add_key(signer.public_key, "root")

    world.next_root("us", replace)


def root_that_skips_a_version(world: World) -> None:
    world.next_root("us", lambda root: setattr(root, "version", 3)).rename(world.metadata("us") / "2.root.json")


def expired_root(world: World) -> None:
    world.next_root("us", lambda root: setattr(root, "expires", datetime.now(UTC) - timedelta(days=1)))


def expired_snapshot(world: World) -> None:
    world.forge("us", snapshot=lambda s: setattr(s, "expires", datetime.now(UTC) - timedelta(days=1)))


def expired_targets(world: World) -> None:
    world.forge("us", targets=lambda t: setattr(t, "expires", datetime.now(UTC) - timedelta(days=1)))
