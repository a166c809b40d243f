"""It takes two to share, one to stop: whatever one side takes away, nobody reads more than before."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from agencybus.directory import policy
from agencybus.directory.model import Deny, Directory, Withdrawal
from agencybus.directory.spec import FederationSpec
from agencybus.label import Label
from federation import AT, sample, with_country, with_endpoint, with_programme

LABELS = [
    Label.parse(text)
    for text in (
        "UNCLASSIFIED//REL TO USA, MEX",
        "SECRET//LES//REL TO USA, MEX",
        "SECRET//LES",
        "PUBLICA//REL TO MEX, USA",
        "RESERVADA//SIGILO//REL TO MEX, USA",
    )
]
TYPES = ("alert", "cargo_hold", "fugitive_sighting")
Change = Callable[[FederationSpec], FederationSpec]


def ways(directory: Directory) -> set[tuple[str, str, str, str, str]]:
    """Every (publisher, reader, type, label, programme) that is allowed."""
    return {
        (publisher, ruling.endpoint, event_type, str(label), programme)
        for publisher in directory.endpoints
        for programme in directory.programmes
        for event_type in TYPES
        for label in LABELS
        for ruling in policy.explain(directory, publisher, event_type, label, programme, AT)
        if ruling.allowed
    }


BEFORE = ways(sample().directory)
NAMES = sample().spec.endpoints
PARTS = st.sampled_from([None, "us", "mx", "us.fbi", "mx.fgr", *NAMES])


@st.composite
def denials(draw: st.DrawFn, code: str) -> Change:
    rule = Deny(
        programme=draw(st.sampled_from([None, "fugitives", "cargo-targeting"])),
        type=draw(st.sampled_from([None, *TYPES])),
        publisher=draw(PARTS),
        reader=draw(PARTS),
    )

    def change(spec: FederationSpec) -> FederationSpec:
        own = spec.national[code].rules
        return with_country(spec, code, rules=msgspec.structs.replace(own, deny=(*own.deny, rule)))

    return change


@st.composite
def narrowings_of(draw: st.DrawFn, code: str) -> Change:
    """Something that one country may do in its own file to share less."""
    own = [name for name in NAMES if name.startswith(code)]
    name, index = draw(st.sampled_from(own)), draw(st.integers(0, 1))

    def without_rule(field: str) -> Change:
        def change(spec: FederationSpec) -> FederationSpec:
            rules = spec.national[code].rules
            left = tuple(rule for number, rule in enumerate(getattr(rules, field)) if number != index)
            return with_country(spec, code, rules=msgspec.structs.replace(rules, **{field: left}))

        return change

    def withdraw(spec: FederationSpec) -> FederationSpec:
        gone = (*spec.national[code].withdrawals, Withdrawal(endpoint=name, at=AT))
        return with_country(spec, code, withdrawals=gone)

    def without_agency(spec: FederationSpec) -> FederationSpec:
        left = tuple(a for a in spec.national[code].agencies if a.name != name.partition("/")[0])
        return with_country(spec, code, agencies=left)

    return draw(
        st.one_of(
            st.sampled_from(
                [
                    without_rule("releases"),
                    without_rule("receives"),
                    withdraw,
                    without_agency,
                    lambda spec: with_endpoint(spec, name, reads=()),
                    lambda spec: with_endpoint(spec, name, publishes={}),
                ]
            ),
            denials(code),
        )
    )


def apply(changes: list[Change]) -> Directory:
    spec = sample().spec
    for change in changes:
        spec = change(spec)
    return sample().changed(spec=lambda _: spec).directory


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(narrowings_of("us"), narrowings_of("mx")), min_size=1, max_size=3))
def test_what_a_country_takes_away_lets_nobody_read_more(changes: list[Change]) -> None:
    assert ways(apply(changes)) <= BEFORE


@settings(max_examples=15, deadline=None)
@given(st.lists(narrowings_of("us"), min_size=1, max_size=3))
def test_what_a_country_takes_away_does_not_touch_what_stays_within_the_other(changes: list[Change]) -> None:
    def mexican(all_ways: set[tuple[str, str, str, str, str]]) -> set[tuple[str, str, str, str, str]]:
        return {way for way in all_ways if way[0].startswith("mx") and way[1].startswith("mx")}

    assert mexican(ways(apply(changes))) == mexican(BEFORE)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_what_both_take_out_of_the_agreement_lets_nobody_read_more(data: st.DataObject) -> None:
    programme = data.draw(st.sampled_from(sample().spec.programmes))
    keep: dict[str, tuple[object, ...]] = {
        field: tuple(value for value in getattr(programme, field) if data.draw(st.booleans()))
        for field in ("parties", "types", "directions")
    }
    assert ways(apply([lambda spec: with_programme(spec, programme.name, **keep)])) <= BEFORE


def test_one_country_alone_can_not_widen() -> None:
    """Mexico lets its own customs read what only the agreement of both could give it."""

    def all_it_can(spec: FederationSpec) -> FederationSpec:
        spec = with_endpoint(spec, "mx.anam/aduanas", reads=("cargo-targeting", "fugitives"))
        return with_endpoint(spec, "mx.anam/aduanas", publishes={"fugitives": ("alert",)})

    assert {way for way in ways(apply([all_it_can])) if way[4] == "fugitives"} <= BEFORE
