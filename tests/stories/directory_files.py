"""Attacks on the files of a directory and on their way: size, place, form, content. Each does it to those of the US."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, Targets

from agencybus.directory.profile import TIMESTAMP_BYTES
from repositories import World

US = "us.cbp/ntc-cargo"


def target_file(world: World) -> Path:
    """The one target file of the US that is new after a withdrawal."""
    world.withdraw(US)
    targets = Metadata[Targets].from_bytes((world.metadata("us") / "2.targets.json").read_bytes()).signed
    digest = targets.targets["withdrawals.json"].hashes["sha384"]
    return world.folder / "us" / "targets" / f"{digest}.withdrawals.json"


def altered_target(world: World) -> None:
    path = target_file(world)
    path.write_bytes(path.read_bytes().replace(b"ntc-cargo", b"ntc-carga"))


def longer_target(world: World) -> None:
    path = target_file(world)
    path.write_bytes(path.read_bytes() + b" ")


def shorter_target(world: World) -> None:
    path = target_file(world)
    path.write_bytes(path.read_bytes()[:-1])


def target_missing(world: World) -> None:
    target_file(world).unlink()


def endless_timestamp(world: World) -> None:
    with (world.metadata("us") / "timestamp.json").open("wb") as file:
        file.truncate(1 << 40)


def endless_root(world: World) -> None:
    with (world.metadata("us") / "2.root.json").open("wb") as file:
        file.truncate(1 << 40)


def a_timestamp_one_byte_too_long(world: World) -> None:
    path = world.metadata("us") / "timestamp.json"
    path.write_bytes(path.read_bytes().ljust(TIMESTAMP_BYTES + 1))


def a_pipe_in_place_of_a_file(world: World) -> None:
    (world.metadata("us") / "timestamp.json").unlink()
    os.mkfifo(world.metadata("us") / "timestamp.json")


def nothing_there(world: World) -> None:
    (world.metadata("us") / "timestamp.json").unlink()


def not_json(world: World) -> None:
    (world.metadata("us") / "timestamp.json").write_bytes(b"\xff\xfe{")


def deep_json(world: World) -> None:
    (world.metadata("us") / "timestamp.json").write_bytes(b"[" * 60_000)


def json_of_another_shape(world: World) -> None:
    (world.metadata("us") / "timestamp.json").write_bytes(b'{"signed": {"_type": 5}, "signatures": {}}')


def weaker_hash(world: World) -> None:
    def sha256(snapshot: Any) -> None:
        data = world.newest("us", "targets").read_bytes()
        version = snapshot.meta["targets.json"].version
        snapshot.meta["targets.json"] = MetaFile.from_data(version, data, ["sha256"])

    world.forge("us", snapshot=sha256)


def a_second_hash(world: World) -> None:
    def both(targets: Any) -> None:
        targets.targets["rules.json"].hashes["sha256"] = "0" * 64

    world.forge("us", targets=both)


def no_length(world: World) -> None:
    world.forge("us", snapshot=lambda s: setattr(s.meta["targets.json"], "length", None))


def delegation_to_strangers(world: World) -> None:
    def delegate(targets: Any) -> None:
        key = CryptoSigner.generate_ecdsa(scheme="ecdsa-sha2-nistp384").public_key
        role = DelegatedRole("strangers", [key.keyid], 1, terminating=False, paths=["*"])
        targets.delegations = Delegations({key.keyid: key}, {"strangers": role})

    world.forge("us", targets=delegate)


def a_path_out_of_the_folder(world: World) -> None:
    world.forge("us", targets=world.add_target("us", "agencies/../../../etc/x.json", b"{}"))


def an_absolute_path(world: World) -> None:
    world.forge("us", targets=lambda targets: targets.targets.update({"/etc/passwd": targets.targets["rules.json"]}))


def an_enormous_target(world: World) -> None:
    world.forge("us", targets=lambda targets: setattr(targets.targets["rules.json"], "length", 1 << 40))


def thousands_of_targets(world: World) -> None:
    world.forge(
        "us",
        targets=lambda targets: targets.targets.update(
            {f"agencies/us.a{number}.json": targets.targets["rules.json"] for number in range(1100)}
        ),
    )


def issued_in_the_future(world: World) -> None:
    later = time.time_ns() // 1000 + 3_600_000_000
    world.forge("us", snapshot=lambda s: s.unrecognized_fields.update(issued_at=later))


def issued_before_its_predecessor(world: World) -> None:
    world.forge("us", snapshot=lambda s: s.unrecognized_fields.update(issued_at=1))


def a_predecessor_that_is_not_older(world: World) -> None:
    world.forge("us", snapshot=lambda s: s.unrecognized_fields["previous"].update(version=2))


def a_predecessor_of_another_shape(world: World) -> None:
    world.forge("us", snapshot=lambda s: s.unrecognized_fields.update(previous=[1]))


def no_date_of_issue(world: World) -> None:
    world.forge("us", snapshot=lambda s: s.unrecognized_fields.pop("issued_at"))


def an_unknown_field(world: World) -> None:
    world.forge("us", snapshot=lambda s: s.unrecognized_fields.update(note="?"))


def another_agency_of_mexico(world: World) -> None:
    data = next((world.folder / "mx" / "targets" / "agencies").glob("*.mx.anam.json")).read_bytes()
    world.forge("us", targets=world.add_target("us", "agencies/mx.anam.json", data))


def a_key_of_mexico(world: World) -> None:
    """A hostile country copies a foreign public key, so that no view of both would parse."""
    folder = world.folder / "us" / "targets" / "agencies"
    data = next(folder.glob("*.us.cbp.json")).read_bytes()
    foreign = next((world.folder / "mx" / "targets" / "agencies").glob("*.mx.anam.json")).read_bytes()

    def field(text: bytes, name: bytes) -> bytes:
        return text.split(b'"' + name + b'": "')[1].split(b'"')[0]

    copied = data.replace(field(data, b"mldsa"), field(foreign, b"mldsa"))
    world.forge("us", targets=world.add_target("us", "agencies/us.cbp.json", copied))


def a_file_of_another_shape(world: World) -> None:
    world.forge("us", targets=world.add_target("us", "rules.json", b'{"releases": 5}'))


def a_file_not_canonical(world: World) -> None:
    data = b'{\n "releases": [],\n "receives": [],\n "deny": [],\n "deny": []\n}\n'
    world.forge("us", targets=world.add_target("us", "rules.json", data))


def a_file_missing(world: World) -> None:
    world.forge("us", targets=lambda targets: targets.targets.pop("rules.json"))
