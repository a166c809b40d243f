from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from agencybus.directory.keys import KEM_LIFE_US, KemKey, SignerKey
from agencybus.directory.model import CountryRules, Directory, decode_file, encode_file, parse_directory
from agencybus.directory.spec import country_files, joint_files, load_spec
from agencybus.directory.views import DirectoryView, MemoryHistory
from agencybus.errors import ConfigError, DirectoryError
from agencybus.seal.suite import KemPublicKey, VerifyKey
from federation import AT, REALM, sample

Files = dict[str, dict[str, bytes]]


def files() -> Files:
    federation = sample()
    joint = joint_files(federation.spec, {"us": b"root of us", "mx": b"root of mx"})
    return {"joint": joint} | {code: country_files(federation.spec, code, federation.keys) for code in ("us", "mx")}


def parse(given: Files) -> Directory:
    countries = {name: content for name, content in given.items() if name != "joint"}
    return parse_directory(digest=bytes(48), realm=REALM, joint=given["joint"], countries=countries, expires_at=AT)


def edited(repository: str, path: str, change: Callable[[Any], None]) -> Files:
    """The sample's files, one of them changed and written in canonical form again."""
    given = files()
    content = json.loads(given[repository][path])
    change(content)
    given[repository][path] = json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"
    return given


def test_files_read_back_to_what_was_written() -> None:
    directory = parse(files())
    assert directory.endpoints == sample().directory.endpoints
    assert set(directory.agencies) == {"us.cbp", "us.fbi", "us.usms", "mx.anam", "mx.inm", "mx.fgr"}
    assert len(directory.endpoints) == 8
    assert directory.expires_at == AT
    endpoint = directory.endpoints["us.fbi/wanted"]
    assert (endpoint.agency, endpoint.country) == ("us.fbi", "us")
    assert directory.agencies["us.fbi"].country == "us"


def test_keys_of_the_directory_are_those_of_the_endpoints() -> None:
    federation = sample()
    for name, endpoint in federation.directory.endpoints.items():
        (signer,), (kem,) = endpoint.signers, endpoint.kems
        assert VerifyKey(signer.mldsa, signer.p384) == federation.signing[name].public
        assert KemPublicKey(kem.mlkem, kem.p384) == federation.kem[name].public
        assert signer.id == federation.signing[name].public.id
        assert kem.id == federation.kem[name].public.id


def first(content: Any) -> Any:
    return content["endpoints"][0]


def put(**values: Any) -> Callable[[Any], None]:
    return lambda content: content.update(values)


def swap_keys(content: Any) -> None:
    endpoint = first(content)
    endpoint["kems"][0]["p384"] = endpoint["signers"][0]["p384"]


def signer_twice(content: Any) -> None:
    first(content)["signers"] *= 2


def off_the_curve(content: Any) -> None:
    key = first(content)["signers"][0]
    key["p384"] = key["p384"][:60] + ("B" if key["p384"][60] == "A" else "A") + key["p384"][61:]


GONE = {"endpoint": "mx.inm/fronteras", "at": 5, "reason": ""}
CBP = "agencies/us.cbp.json"
INCONSISTENT: list[tuple[str, str, Callable[[Any], None], str]] = [
    ("joint", "countries.json", lambda c: c.append(c[0]), "country twice"),
    ("joint", "countries.json", lambda c: c[0].update(code="usa"), "regex"),
    ("joint", "countries.json", lambda c: c[0].update(policy="MX"), "not this country's"),
    ("joint", "countries.json", lambda c: c[0].update(policy="XX"), "not known"),
    ("joint", "countries.json", lambda c: c.pop(), "does not belong here"),
    ("joint", "countries.json", lambda c: c[0].update(king="?"), "unknown field `king`"),
    ("joint", "programmes.json", lambda c: c.append(c[0]), "programme twice"),
    ("joint", "programmes.json", lambda c: c[0]["parties"].append("ca.cbsa"), "no country ca"),
    ("joint", "programmes.json", lambda c: c[0]["directions"].append(["ca", "us"]), "no country ca"),
    ("joint", "programmes.json", lambda c: c[0]["parties"].append("us.cbp"), "party twice"),
    ("joint", "programmes.json", lambda c: c[0]["types"].append("alert"), "type twice"),
    ("joint", "programmes.json", lambda c: c[0].update(not_after=5), "not_before"),
    ("joint", "programmes.json", lambda c: c[0].update(name="a.b"), "regex"),
    ("joint", "programmes.json", lambda c: c[0].update(name="a\n"), "regex"),
    ("joint", "programmes.json", lambda c: c[0]["ceilings"].update(US="MEX RESERVADA"), "words of MX"),
    ("joint", "programmes.json", lambda c: c[0]["ceilings"].update(US="USA HIGH"), "no such classification"),
    ("joint", "programmes.json", lambda c: c[0].update(partitions=0), ">= 1"),
    ("joint", "programmes.json", lambda c: c[0].update(not_before=1.5), "int"),
    ("joint", "equivalence.json", lambda c: c["levels"].append(c["levels"][0]), "word twice"),
    ("joint", "equivalence.json", lambda c: c["levels"][0].update(as_word="RESERVADA"), "counts as less"),
    ("joint", "equivalence.json", lambda c: c["categories"][0].update(word="NOFORN"), "national-only"),
    ("us", CBP, put(name="us.fbi"), "does not belong here"),
    ("us", CBP, put(name="mx.cbp"), "does not belong here"),
    ("us", CBP, lambda c: first(c).update(name="us.fbi/x"), "does not belong to us.cbp"),
    ("us", CBP, lambda c: first(c).update(name="us.cbp/X"), "regex"),
    ("us", CBP, lambda c: first(c).update(clearance="MEX RESERVADA"), "not in the words of us"),
    ("us", CBP, lambda c: first(c).update(clearance="CAN SECRET"), "not in the words of us"),
    ("us", CBP, lambda c: first(c).update(clearance="USA SECRET//"), "not canonical"),
    ("us", CBP, lambda c: first(c).update(withdrawn_at=5), "a file of their own"),
    ("us", CBP, lambda c: c["endpoints"].append(first(c)), "endpoint twice"),
    ("us", CBP, swap_keys, "a key value comes twice"),
    ("us", CBP, signer_twice, "a key value comes twice"),
    ("us", CBP, off_the_curve, "not an uncompressed point"),
    ("us", CBP, lambda c: first(c)["signers"][0].update(mldsa="AAAA"), "length"),
    ("us", CBP, lambda c: first(c)["signers"][0].update(mldsa="!"), "base64"),
    (
        "us",
        CBP,
        lambda c: first(c)["kems"][0].update(mlkem="/" * 2088 + "////"[:3] + "="),
        "encapsulation|length|base64",
    ),
    ("us", CBP, lambda c: first(c)["kems"][0].update(not_after=first(c)["kems"][0]["not_before"]), "below"),
    ("us", CBP, lambda c: first(c)["kems"][0].update(not_after=AT * 2), "35 days"),
    (
        "us",
        "withdrawals.json",
        lambda c: c.append({"endpoint": "mx.inm/fronteras", "at": 5}),
        "another country's|canonical",
    ),
    ("us", "rules.json", put(deny=[{"reader": "*"}]), "regex"),
    ("us", "rules.json", put(admit=[]), "unknown field"),
]


@pytest.mark.parametrize(
    ("repository", "path", "change", "why"), INCONSISTENT, ids=[f"{row[1]}: {row[3]}" for row in INCONSISTENT]
)
def test_an_inconsistent_file_is_named_with_the_reason(
    repository: str, path: str, change: Callable[[Any], None], why: str
) -> None:
    with pytest.raises(DirectoryError, match=why) as caught:
        parse(edited(repository, path, change))
    assert caught.value.code == "directory-invalid"
    assert caught.value.where.startswith((f"{repository}:{path}", "joint:roots/"))


def test_a_key_of_another_endpoint_is_refused_and_both_are_named() -> None:
    given = files()
    stolen = json.loads(given["mx"]["agencies/mx.anam.json"])["endpoints"][0]["signers"]
    given = edited("us", CBP, lambda content: first(content).update(signers=stolen))
    with pytest.raises(DirectoryError, match=r"the other is of mx\.anam/aduanas") as caught:
        parse(given)
    assert "us.cbp/ntc-cargo" in caught.value.where


@pytest.mark.parametrize(
    ("repository", "path"),
    [
        ("joint", "countries.json"),
        ("joint", "programmes.json"),
        ("joint", "equivalence.json"),
        ("joint", "roots/us.json"),
        ("us", "rules.json"),
        ("mx", "withdrawals.json"),
    ],
)
def test_a_missing_file_is_named(repository: str, path: str) -> None:
    given = files()
    del given[repository][path]
    with pytest.raises(DirectoryError, match="missing") as caught:
        parse(given)
    assert caught.value.where == f"{repository}:{path}"


@pytest.mark.parametrize(
    ("repository", "path"), [("joint", "note.json"), ("us", "note.json"), ("us", "agencies/x.json")]
)
def test_a_file_too_many_is_named(repository: str, path: str) -> None:
    given = files()
    given[repository][path] = b"{}\n"
    with pytest.raises(DirectoryError) as caught:
        parse(given)
    assert caught.value.where == f"{repository}:{path}"


def test_the_repositories_at_hand_must_be_those_of_the_file() -> None:
    given = files()
    del given["mx"]
    with pytest.raises(DirectoryError, match="are not those of the file"):
        parse(given)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b"null\n",
        b"[]\n",
        b'{"deny": []}',
        b'{\n "releases": [],\n "receives": [],\n "deny": [],\n "deny": []\n}\n',
        b'{\n "releases": [],\n "receives": [],\n "deny": []\n}',
        b'{\n "releases": [],\n "receives": [],\n "deny": []\n}\n\n',
        b'{\n "deny": [],\n "releases": [],\n "receives": []\n}\n',
        b"[" * 100_000,
    ],
)
def test_a_file_has_one_spelling_and_no_other_is_read(data: bytes) -> None:
    with pytest.raises(DirectoryError) as caught:
        decode_file(data, CountryRules, where="us:rules.json")
    assert (caught.value.code, caught.value.where) == ("directory-invalid", "us:rules.json")
    assert decode_file(encode_file(CountryRules()), CountryRules, where="us:rules.json") == CountryRules()


def test_what_another_authority_took_out_is_no_error() -> None:
    """A country that drops an agency, or a rule that names what is gone, makes nothing invalid."""
    given = files()
    del given["mx"]["agencies/mx.fgr.json"]
    directory = parse(given)
    assert "mx.fgr" in directory.programmes["fugitives"].parties
    assert "mx.fgr" not in directory.agencies
    no_programmes = edited("joint", "programmes.json", lambda content: content.clear())
    no_programmes["joint"]["programmes.json"] = encode_file(())
    assert parse(no_programmes).programmes == {}


def test_the_earliest_of_two_withdrawals_counts() -> None:
    def twice(content: Any) -> None:
        entry = {"endpoint": "us.cbp/ntc-cargo", "at": 7, "reason": ""}
        content += [entry, entry | {"at": 5}, entry | {"endpoint": "us.cbp/gone"}]

    assert parse(edited("us", "withdrawals.json", twice)).endpoints["us.cbp/ntc-cargo"].withdrawn_at == 5


def test_representations_are_short_and_show_no_key() -> None:
    directory = sample().directory
    endpoint = directory.endpoints["us.fbi/wanted"]
    assert len(repr(directory)) < 100
    assert len(repr(endpoint)) < 600
    assert len(repr(endpoint.kems[0])) < 40


def test_a_kem_key_lives_at_most_35_days() -> None:
    key = sample().keys["us.fbi/wanted"].kems[0]
    assert key.not_after - key.not_before == KEM_LIFE_US
    with pytest.raises(ValueError, match="35 days"):
        KemKey(mlkem=key.mlkem, p384=key.p384, not_before=0, not_after=KEM_LIFE_US + 1)


def test_a_coefficient_beyond_q_makes_no_encapsulation_key() -> None:
    key = sample().keys["us.fbi/wanted"].kems[0]
    for position in (0, 3, 1533):
        bad = bytearray(key.mlkem)
        bad[position : position + 2] = b"\xff\x0f"
        with pytest.raises(ValueError, match="encapsulation"):
            KemKey(mlkem=bytes(bad), p384=key.p384, not_before=0, not_after=1)
        with pytest.raises(ValueError, match="ML-KEM"):  # and no library takes it either
            KemPublicKey(bytes(bad), key.p384)


@pytest.mark.parametrize("first_byte", [b"\x02", b"\x03", b"\x00"])
def test_only_an_uncompressed_point_is_a_key(first_byte: bytes) -> None:
    key = sample().keys["us.fbi/wanted"].signers[0]
    with pytest.raises(ValueError, match="uncompressed point"):
        SignerKey(mldsa=key.mldsa, p384=first_byte + key.p384[1:], not_before=0, not_after=1)


def test_a_coordinate_beyond_the_field_is_no_point() -> None:
    """x + p names the same point to a lax reader, and would make two values of one key."""
    p = 2**384 - 2**128 - 2**96 + 2**32 - 1
    b = int("b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef", 16)
    x, y = next(
        (x, root)
        for x in range(100)
        if (root := pow(square := (x**3 - 3 * x + b) % p, (p + 1) // 4, p)) ** 2 % p == square
    )
    mldsa = sample().keys["us.fbi/wanted"].signers[0].mldsa

    def key(x: int, y: int) -> SignerKey:
        point = b"\x04" + x.to_bytes(48, "big") + y.to_bytes(48, "big")
        return SignerKey(mldsa=mldsa, p384=point, not_before=0, not_after=1)

    assert key(x, y).p384
    with pytest.raises(ValueError, match="uncompressed point"):
        key(x + p, y)


def test_a_history_in_memory_knows_what_came_before() -> None:
    old, new = sample().directory, sample().changed().directory
    new = parse_directory(**{**_parts(), "digest": b"n" * 48})
    history: DirectoryView = MemoryHistory((old, 5), (new, 9))
    assert history.get(old.digest) is old
    assert history.get(new.digest) is new
    assert history.get(bytes(48)) is None
    assert history.superseded_at(old.digest) == 9
    assert history.superseded_at(new.digest) is None
    assert [history.in_force(at) for at in (4, 5, 8, 9, 10**18)] == [None, old, old, new, new]


def _parts() -> dict[str, Any]:
    given = files()
    joint = given.pop("joint")
    return {"realm": REALM, "joint": joint, "countries": given, "expires_at": AT}


PROGRAMME_WITHOUT_OFFSET = """
national = {}
countries = []
equivalence = {version = 1, note = "", levels = [], categories = []}
[[programmes]]
name = "p"
parties = []
types = []
directions = []
ceilings = {}
not_before = 2026-01-01T00:00:00
not_after = 2027-01-01T00:00:00Z
"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("countries = 5", "Expected `array`"),
        ("countries = [", "Unclosed|Invalid"),
        ("kings = []", "unknown field|missing required"),
        (PROGRAMME_WITHOUT_OFFSET, "no offset"),
    ],
)
def test_a_wrong_specification_names_the_field(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        load_spec(text, where="federation.toml")
    assert (caught.value.code, caught.value.where) == ("config-invalid", "federation.toml")
