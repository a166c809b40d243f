from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from agencybus.directory import policy
from agencybus.directory.model import Deny, Receive, Release, Withdrawal
from agencybus.directory.spec import EndpointKeys, FederationSpec
from agencybus.errors import PolicyError
from agencybus.label import Label
from agencybus.seal.suite import KemPrivateKey
from agencybus.wire import ids
from federation import AT, DAY, Federation, sample, with_country, with_endpoint, with_programme

WANTED = "us.fbi/wanted"
FLOOR = "mx.fgr/watch-floor"
SHARED = Label.parse("SECRET//LES//REL TO USA, MEX")
Change = Callable[[FederationSpec], FederationSpec]


def rule_for(reader: str, federation: Federation, label: Label = SHARED, at: int = AT) -> str:
    return policy.may_read(federation.directory, reader, WANTED, "alert", label, "fugitives", at).rule


@pytest.mark.parametrize(
    ("label", "entitled"),
    [
        (
            "UNCLASSIFIED//REL TO USA, MEX",
            {
                "us.fbi/case-files",
                "us.usms/watch-floor",
                "mx.fgr/mandamientos",
                "mx.fgr/watch-floor",
                "mx.inm/fronteras",
            },
        ),
        (
            "SECRET//LES//REL TO USA, MEX",
            {"us.fbi/case-files", "us.usms/watch-floor", "mx.fgr/mandamientos", "mx.fgr/watch-floor"},
        ),
        ("SECRET//LES", {"us.fbi/case-files", "us.usms/watch-floor"}),
        ("SECRET//LES-NOFORN", {"us.fbi/case-files"}),
    ],
)
def test_the_audience_is_who_is_cleared_and_the_publisher(label: str, entitled: set[str]) -> None:
    audience = policy.audience(sample().directory, WANTED, "alert", Label.parse(label), "fugitives", AT)
    assert set(audience.endpoints) == entitled | {WANTED}
    assert list(audience.endpoints) == sorted(audience.endpoints)
    keys = sample().kem
    assert audience.digest == ids.audience_digest((name, keys[name].public.id) for name in audience.endpoints)
    assert audience.directory == sample().directory.digest


def test_another_key_of_a_reader_makes_another_audience() -> None:
    """So a key that was stolen or lost ends the epoch as soon as the directory has another."""
    federation, other = sample(), KemPrivateKey.generate().public
    newer = EndpointKeys.of(federation.signing[FLOOR].public, other, not_before=AT - 1)
    changed = federation.changed(keys=lambda keys: keys | {FLOOR: newer})
    asked = (WANTED, "alert", Label.parse("UNCLASSIFIED//REL TO USA, MEX"), "fugitives", AT)
    before, after = policy.audience(federation.directory, *asked), policy.audience(changed.directory, *asked)
    assert before.endpoints == after.endpoints
    assert before.digest != after.digest


def test_a_label_of_the_other_country_is_read_by_equivalence() -> None:
    label = Label.parse("RESERVADA//SIGILO//REL TO MEX, USA")
    rulings = policy.explain(sample().directory, FLOOR, "fugitive_sighting", label, "fugitives", AT)
    assert {ruling.endpoint for ruling in rulings if ruling.allowed} == {
        FLOOR,
        "mx.fgr/mandamientos",
        WANTED,
        "us.fbi/case-files",
        "us.usms/watch-floor",
    }


def test_explain_answers_for_every_endpoint_with_a_rule_and_a_sentence() -> None:
    federation = sample()
    rulings = policy.explain(federation.directory, WANTED, "alert", SHARED, "fugitives", AT)
    assert [ruling.endpoint for ruling in rulings] == sorted(federation.directory.endpoints)
    assert {ruling.endpoint: ruling.rule for ruling in rulings} == {
        "mx.anam/aduanas": "not-a-party",
        "mx.fgr/mandamientos": "entitled",
        "mx.fgr/watch-floor": "entitled",
        "mx.inm/fronteras": "level-too-high",
        "us.cbp/ntc-cargo": "not-reading",
        "us.fbi/case-files": "entitled",
        "us.fbi/wanted": "publisher",
        "us.usms/watch-floor": "entitled",
    }
    assert all(ruling.text for ruling in rulings)


def test_explain_may_read_and_audience_agree() -> None:
    directory = sample().directory
    rulings = policy.explain(directory, WANTED, "alert", SHARED, "fugitives", AT)
    audience = policy.audience(directory, WANTED, "alert", SHARED, "fugitives", AT)
    assert tuple(ruling.endpoint for ruling in rulings if ruling.allowed) == audience.endpoints
    for ruling in rulings:
        assert policy.may_read(directory, ruling.endpoint, WANTED, "alert", SHARED, "fugitives", AT) == ruling


def test_an_endpoint_that_is_not_in_the_directory_reads_nothing() -> None:
    assert rule_for("us.dea/desk", sample()) == "endpoint-unknown"


# --- what a publisher may not


PUBLISHING: list[tuple[str, dict[str, object], Change, str]] = [
    ("an unknown endpoint", {"endpoint": "us.dea/desk"}, lambda spec: spec, "endpoint-unknown"),
    ("an unknown programme", {"programme": "railway-xray"}, lambda spec: spec, "programme-unknown"),
    ("before the programme", {}, lambda s: with_programme(s, "fugitives", not_before=AT + 1), "programme-not-in-force"),
    ("after the programme", {}, lambda s: with_programme(s, "fugitives", not_after=AT), "programme-not-in-force"),
    ("another type", {"event_type": "cargo_hold"}, lambda spec: spec, "programme-type-refused"),
    (
        "no party",
        {},
        lambda s: with_programme(s, "fugitives", parties=("us.usms", "mx.fgr")),
        "programme-party-missing",
    ),
    (
        "a type that its country did not give it",
        {"event_type": "fugitive_sighting"},
        lambda spec: spec,
        "right-missing",
    ),
    ("no right at all", {}, lambda s: with_endpoint(s, WANTED, publishes={}), "right-missing"),
    ("words of Mexico", {"label": "RESERVADA//SIGILO//REL TO MEX, USA"}, lambda s: s, "label-policy-foreign"),
    ("above the programme", {"label": "TOP SECRET"}, lambda spec: spec, "ceiling-exceeded"),
    ("a category above the programme", {"label": "SECRET//ORCON"}, lambda spec: spec, "ceiling-exceeded"),
    (
        "a programme without a ceiling for its policy",
        {},
        lambda s: with_programme(s, "fugitives", ceilings_text={"MX": "MEX RESERVADA"}),
        "ceiling-exceeded",
    ),
    (
        "above its own clearance",
        {},
        lambda s: with_endpoint(s, WANTED, clearance_text="USA CONFIDENTIAL//LES"),
        "clearance-exceeded",
    ),
    (
        "withdrawn",
        {},
        lambda s: with_country(s, "us", withdrawals=(Withdrawal(endpoint=WANTED, at=AT),)),
        "endpoint-withdrawn",
    ),
]


@pytest.mark.parametrize(
    ("given", "change", "code"), [row[1:] for row in PUBLISHING], ids=[row[0] for row in PUBLISHING]
)
def test_a_publisher_without_the_right_is_refused_and_nobody_may_read(
    given: dict[str, str], change: Change, code: str
) -> None:
    directory = sample().changed(spec=change).directory
    way = {"endpoint": WANTED, "event_type": "alert", "label": str(SHARED), "programme": "fugitives"} | given
    arguments = (way["endpoint"], way["event_type"], Label.parse(way["label"]), way["programme"], AT)
    with pytest.raises(PolicyError) as caught:
        policy.may_publish(directory, *arguments)
    assert caught.value.rule == code
    with pytest.raises(PolicyError) as caught:
        policy.audience(directory, *arguments)
    assert caught.value.code == code
    rulings = policy.explain(directory, *arguments)
    assert {(ruling.allowed, ruling.rule) for ruling in rulings} == {(False, code)}
    assert len(rulings) == len(directory.endpoints)
    assert policy.may_read(directory, FLOOR, *arguments).rule == code


def test_a_withdrawal_counts_from_its_moment_on() -> None:
    federation = sample().changed(
        spec=lambda s: with_country(s, "us", withdrawals=(Withdrawal(endpoint=WANTED, at=AT + 10),))
    )
    policy.may_publish(federation.directory, WANTED, "alert", SHARED, "fugitives", AT + 9)
    with pytest.raises(PolicyError, match="endpoint-withdrawn"):
        policy.may_publish(federation.directory, WANTED, "alert", SHARED, "fugitives", AT + 10)


# --- what a reader may not


def without_keys(name: str) -> Callable[[dict[str, EndpointKeys]], dict[str, EndpointKeys]]:
    return lambda keys: keys | {name: EndpointKeys(keys[name].signers, ())}


def rules(country: str, **changes: object) -> Change:
    def change(spec: FederationSpec) -> FederationSpec:
        own = spec.national[country].rules
        return with_country(spec, country, rules=msgspec.structs.replace(own, **changes))

    return change


def deny(country: str, **parts: str) -> Change:
    return lambda spec: rules(country, deny=(*spec.national[country].rules.deny, Deny(**parts)))(spec)


READING: list[tuple[str, Change, str]] = [
    ("withdrawn", lambda s: with_country(s, "mx", withdrawals=(Withdrawal(endpoint=FLOOR, at=AT),)), "withdrawn"),
    ("denied by its own country", deny("mx", reader=FLOOR), "denied"),
    ("denied by the publisher's country", deny("us", reader=FLOOR), "denied"),
    ("agency denied", deny("us", reader="mx.fgr"), "denied"),
    ("country denied", deny("us", reader="mx"), "denied"),
    ("publisher denied by the reader's country", deny("mx", publisher=WANTED), "denied"),
    ("publisher's agency denied", deny("mx", publisher="us.fbi"), "denied"),
    ("publisher's country denied", deny("mx", publisher="us"), "denied"),
    ("programme denied", deny("mx", programme="fugitives"), "denied"),
    ("type denied", deny("us", type="alert"), "denied"),
    ("all denied", deny("mx"), "denied"),
    ("denied in every part", deny("mx", programme="fugitives", type="alert", publisher="us", reader="mx"), "denied"),
    ("another programme denied", deny("mx", programme="cargo-targeting"), "entitled"),
    ("another type denied", deny("mx", type="fugitive_sighting"), "entitled"),
    ("another reader denied", deny("mx", reader="mx.inm"), "entitled"),
    ("another publisher denied", deny("mx", publisher="us.usms"), "entitled"),
    ("one part of two does not match", deny("mx", programme="fugitives", reader="mx.inm"), "entitled"),
    ("the way back denied", deny("us", publisher="mx"), "entitled"),
    ("no party", lambda s: with_programme(s, "fugitives", parties=("us.fbi", "mx.inm")), "not-a-party"),
    ("not given the programme", lambda s: with_endpoint(s, FLOOR, reads=("cargo-targeting",)), "not-reading"),
    ("the wrong direction", lambda s: with_programme(s, "fugitives", directions=(("mx", "us"),)), "direction"),
    ("not released", rules("us", releases=()), "not-released"),
    (
        "released to others",
        rules("us", releases=(Release(programme="fugitives", types=("alert",), to=("ca",)),)),
        "not-released",
    ),
    (
        "another type released",
        rules("us", releases=(Release(programme="fugitives", types=("fugitive_sighting",), to=("mx",)),)),
        "not-released",
    ),
    (
        "another programme released",
        rules("us", releases=(Release(programme="cargo-targeting", types=("alert",), to=("mx",)),)),
        "not-released",
    ),
    ("not received", rules("mx", receives=()), "not-received"),
    (
        "received from others",
        rules("mx", receives=(Receive(programme="fugitives", types=("alert",), from_=("ca",)),)),
        "not-received",
    ),
    (
        "another type received",
        rules("mx", receives=(Receive(programme="fugitives", types=("fugitive_sighting",), from_=("us",)),)),
        "not-received",
    ),
    (
        "another programme received",
        rules("mx", receives=(Receive(programme="cargo-targeting", types=("alert",), from_=("us",)),)),
        "not-received",
    ),
    ("too low", lambda s: with_endpoint(s, FLOOR, clearance_text="MEX CONFIDENCIAL//SIGILO"), "level-too-high"),
    ("category", lambda s: with_endpoint(s, FLOOR, clearance_text="MEX RESERVADA"), "category-not-held"),
    (
        "no equivalence",
        lambda s: msgspec.structs.replace(s, equivalence=msgspec.structs.replace(s.equivalence, levels=())),
        "level-unmapped",
    ),
    ("its agency gone", lambda s: with_country(s, "mx", agencies=()), "endpoint-unknown"),
    ("nothing in the way", lambda spec: spec, "entitled"),
]


@pytest.mark.parametrize(("change", "rule"), [row[1:] for row in READING], ids=[row[0] for row in READING])
def test_each_rule_alone_decides(change: Change, rule: str) -> None:
    federation = sample().changed(spec=change)
    assert rule_for(FLOOR, federation) == rule


def test_a_reader_without_a_key_for_the_moment_is_not_in_the_audience() -> None:
    assert rule_for(FLOOR, sample().changed(keys=without_keys(FLOOR))) == "no-key"
    assert rule_for(FLOOR, sample(), at=AT + 35 * DAY) == "no-key"
    assert rule_for(FLOOR, sample(), at=AT - DAY) == "entitled"
    assert rule_for(FLOOR, sample(), at=AT - DAY - 1) == "no-key"


def test_a_publisher_without_a_key_is_not_in_its_own_audience() -> None:
    federation = sample().changed(keys=without_keys(WANTED))
    audience = policy.audience(federation.directory, WANTED, "alert", SHARED, "fugitives", AT)
    assert WANTED not in audience.endpoints


def test_a_country_that_is_not_concerned_can_not_deny() -> None:
    """Mexico says nothing about what stays in the United States."""
    federation = sample().changed(spec=deny("mx"))
    assert rule_for("us.usms/watch-floor", federation) == "entitled"


def test_within_a_country_neither_direction_nor_release_is_asked() -> None:
    federation = sample().changed(
        spec=lambda s: rules("us", releases=(), receives=())(with_programme(s, "fugitives", directions=()))
    )
    assert rule_for("us.usms/watch-floor", federation) == "entitled"


def test_deny_wins_over_every_other_rule() -> None:
    """Whatever else would say no, the sovereign's no is the one that is told."""
    federation = sample().changed(
        spec=lambda s: deny("mx", reader=FLOOR)(rules("us", releases=())(with_endpoint(s, FLOOR, reads=())))
    )
    assert rule_for(FLOOR, federation) == "denied"


def test_the_reason_of_a_deny_is_told() -> None:
    ruling = policy.may_read(
        sample().directory,
        FLOOR,
        "us.cbp/ntc-cargo",
        "alert",
        Label.parse("SECRET//LES//REL TO USA, MEX"),
        "cargo-targeting",
        AT,
    )
    assert ruling.rule == "denied"
    assert "customs only" in ruling.text


def test_nobody_but_the_publisher_is_an_error_never_everybody() -> None:
    federation = sample().changed(spec=lambda s: deny("mx")(deny("us")(s)))
    with pytest.raises(PolicyError) as caught:
        policy.audience(federation.directory, WANTED, "alert", SHARED, "fugitives", AT)
    assert caught.value.code == "audience-empty"


# --- until


def test_until_is_the_next_moment_at_which_time_alone_may_change_the_answer() -> None:
    directory = sample().directory
    end = AT - DAY + 35 * DAY
    assert policy.audience(directory, WANTED, "alert", SHARED, "fugitives", AT).until == end
    with pytest.raises(PolicyError, match="audience-empty"):
        policy.audience(directory, WANTED, "alert", SHARED, "fugitives", end)


def test_until_knows_of_withdrawals_and_of_the_end_of_the_programme() -> None:
    withdrawn = sample().changed(
        spec=lambda s: with_country(s, "mx", withdrawals=(Withdrawal(endpoint=FLOOR, at=AT + 5),))
    )
    assert policy.audience(withdrawn.directory, WANTED, "alert", SHARED, "fugitives", AT).until == AT + 5
    ended = sample().changed(spec=lambda s: with_programme(s, "fugitives", not_after=AT + 7))
    assert policy.audience(ended.directory, WANTED, "alert", SHARED, "fugitives", AT).until == AT + 7


def test_of_two_valid_keys_the_younger_is_wrapped_to() -> None:
    federation = sample()
    old, other = federation.keys[FLOOR].kems[0], federation.keys[WANTED].kems[0]
    young = msgspec.structs.replace(other, not_before=AT - 5, not_after=AT + DAY)

    def two(keys: dict[str, EndpointKeys]) -> dict[str, EndpointKeys]:
        mine = EndpointKeys(keys[FLOOR].signers, (old, young))
        return keys | {FLOOR: mine, WANTED: EndpointKeys(keys[WANTED].signers, ())}

    endpoint = federation.changed(keys=two).directory.endpoints[FLOOR]
    assert endpoint.kem_at(AT) == young
    assert endpoint.kem_at(AT - 6) == old
    assert endpoint.kem_at(AT + 2 * DAY) == old
    assert endpoint.kem(old.id) == old
    assert endpoint.kem(bytes(48)) is None
    assert endpoint.signer(federation.signing[FLOOR].public.id) == federation.keys[FLOOR].signers[0]
    assert endpoint.signer(federation.signing[WANTED].public.id) is None
