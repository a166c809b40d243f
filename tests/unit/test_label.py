from __future__ import annotations

import pytest

from agencybus.errors import LabelError
from agencybus.label import POLICIES, Clearance, Equivalence, Label, Precedence, dominates

TABLE = Equivalence(
    1,
    {("US", "SECRET"): ("MX", "RESERVADA"), ("MX", "RESERVADA"): ("US", "SECRET")},
    {("US", "LES"): ("MX", "SIGILO")},
)


@pytest.mark.parametrize(
    "text",
    [
        "UNCLASSIFIED",
        "TOP SECRET",
        "SECRET//LES//REL TO USA, MEX",
        "SECRET//LES/ORCON//REL TO USA, CAN, MEX//TLP:AMBER+STRICT",
        "SECRET//NOFORN",
        "RESERVADA//SIGILO//REL TO MEX, USA",
        "PUBLICA//TLP:CLEAR",
    ],
)
def test_a_canonical_label_reads_back_to_its_own_text(text: str) -> None:
    assert str(Label.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no such classification"),
        ("secret", "no such classification"),
        ("SECRET ", "no such classification"),
        (" SECRET", "no such classification"),
        ("COSMIC", "no such classification"),
        ("TOP  SECRET", "no such classification"),
        ("SECRET//", "no such category"),
        ("SECRET//les", "no such category"),
        ("SECRET//SIGILO", "no such category"),
        ("RESERVADA//LES", "no such category"),
        ("SECRET//LES/", "no such category"),
        ("SECRET//ORCON/LES", "not canonical"),
        ("SECRET//LES//ORCON", "not canonical"),
        ("SECRET//LES//LES", "not canonical"),
        ("SECRET//REL TO USA, MEX//LES", "not canonical"),
        ("SECRET//REL TO MEX, USA", "not canonical"),
        ("SECRET//REL TO USA, MEX, CAN", "not canonical"),
        ("SECRET//REL TO USA, MEX, MEX", "not canonical"),
        ("SECRET//REL TO USA, MEX//REL TO USA, CAN", "not canonical"),
        ("SECRET//REL TO USA", "at least one more"),
        ("SECRET//REL TO MEX", "names USA"),
        ("RESERVADA//REL TO USA, MEX", "not canonical"),
        ("SECRET//REL TO USA,MEX", "three-letter"),
        ("SECRET//REL TO USA, mex", "three-letter"),
        ("SECRET//REL TO USA, MEX\n", "three-letter"),
        ("SECRET//REL TO ", "three-letter"),
        ("SECRET//NOFORN//REL TO USA, MEX", "contradicts REL TO"),
        ("SECRET//LES-NOFORN//REL TO USA, MEX", "contradicts REL TO"),
        ("SECRET//TLP:PINK", "TLP"),
        ("SECRET//TLP:RED//TLP:AMBER", "not canonical"),
        ("SECRET//TLP:AMBER//TLP:AMBER", "not canonical"),
        ("SECRET//REL TO USA, \uff2d\uff25\uff38", "three-letter"),
        ("SECRET//" + "LES/" * 100, "longer than"),
    ],
)
def test_any_other_spelling_is_refused(text: str, why: str) -> None:
    with pytest.raises(LabelError, match=why) as caught:
        Label.parse(text)
    assert caught.value.code == "label-invalid"


def test_a_refusal_repeats_a_hostile_text_short_and_escaped() -> None:
    with pytest.raises(LabelError) as caught:
        Label.parse("\x1b[2J\r\n" * 40)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_label_is_bounded_also_when_it_is_made_of_parts() -> None:
    many = frozenset(f"{a}{b}A" for a in "ABCDEFGHIJ" for b in "ABCDEFGHIJ") | {"USA"}
    with pytest.raises(LabelError, match="longer than"):
        Label("US", "SECRET", releasable=many)


def test_a_label_of_an_unknown_policy_can_not_be_made() -> None:
    with pytest.raises(LabelError, match="no such policy"):
        Label("XX", "SECRET")


def test_the_classification_alone_tells_the_policy() -> None:
    words = [level for policy in POLICIES.values() for level in policy.levels]
    assert len(words) == len(set(words))


def test_flash_and_immediate_take_the_urgent_lane() -> None:
    assert [precedence.lane for precedence in Precedence] == ["urgent", "urgent", "routine", "routine"]


@pytest.mark.parametrize("text", ["USA SECRET", "USA TOP SECRET//LES/NOFORN", "MEX RESERVADA//SIGILO", "CAN SECRET"])
def test_a_canonical_clearance_reads_back_to_its_own_text(text: str) -> None:
    assert str(Clearance.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SECRET",
        "usa SECRET",
        "USA  SECRET",
        "USA SECRET//",
        "USA SECRET//ORCON/LES",
        "USA SECRET//LES//NOFORN",
        "USA RESERVADA//LES",
        "USAA SECRET",
        "USA SECRET\n",
        "USA SECRET//REL TO USA, MEX",
        "USA " + "S" * 300,
    ],
)
def test_any_other_spelling_of_a_clearance_is_refused(text: str) -> None:
    with pytest.raises(LabelError) as caught:
        Clearance.parse(text)
    assert caught.value.code == "label-invalid"


@pytest.mark.parametrize(
    ("clearance", "label", "rule"),
    [
        ("USA SECRET//LES", "SECRET//LES", "cleared"),
        ("USA TOP SECRET//LES/ORCON", "SECRET//LES", "cleared"),
        ("USA CONFIDENTIAL//LES", "SECRET//LES", "level-too-high"),
        ("USA SECRET", "SECRET//LES", "category-not-held"),
        ("USA SECRET//LES", "SECRET//LES/ORCON", "category-not-held"),
        ("USA SECRET//NOFORN", "SECRET//NOFORN", "cleared"),
        ("MEX SECRETA//SIGILO", "SECRET//LES//REL TO USA, MEX", "cleared"),
        ("MEX RESERVADA//SIGILO", "SECRET//LES//REL TO USA, MEX", "cleared"),
        ("MEX CONFIDENCIAL//SIGILO", "SECRET//LES//REL TO USA, MEX", "level-too-high"),
        ("MEX RESERVADA", "SECRET//LES//REL TO USA, MEX", "category-not-held"),
        ("MEX SECRETA//SIGILO", "SECRET//LES", "not-releasable"),
        ("MEX SECRETA//SIGILO", "SECRET//LES//REL TO USA, CAN", "not-releasable"),
        ("MEX SECRETA//SIGILO", "TOP SECRET//LES//REL TO USA, MEX", "level-unmapped"),
        ("MEX SECRETA//SIGILO", "UNCLASSIFIED//REL TO USA, MEX", "level-unmapped"),
        ("MEX SECRETA//SIGILO", "SECRET//ORCON//REL TO USA, MEX", "category-unmapped"),
        ("MEX SECRETA//SIGILO", "SECRET//NOFORN", "national-only"),
        ("MEX SECRETA//SIGILO", "SECRET//LES-NOFORN", "national-only"),
        ("USA SECRET//LES", "RESERVADA//REL TO MEX, USA", "cleared"),
        ("USA SECRET//LES", "RESERVADA//SIGILO//REL TO MEX, USA", "category-unmapped"),
        ("USA SECRET//LES", "RESERVADA//SOLO-NACIONAL", "national-only"),
        # A third country that writes in US words is not the US.
        ("CAN SECRET//LES/NOFORN", "SECRET//NOFORN", "national-only"),
        ("CAN SECRET//LES", "SECRET//LES", "not-releasable"),
        ("CAN SECRET//LES", "SECRET//LES//REL TO USA, CAN", "cleared"),
    ],
)
def test_dominance_says_which_rule_decided(clearance: str, label: str, rule: str) -> None:
    verdict = dominates(Clearance.parse(clearance), Label.parse(label), TABLE)
    assert verdict.rule == rule
    assert bool(verdict) is (rule == "cleared")
    assert verdict.text


def test_a_ceiling_looks_at_level_and_categories_of_its_own_policy_only() -> None:
    ceiling = Clearance.parse("USA SECRET//LES")
    assert ceiling.covers(Label.parse("SECRET//LES//REL TO USA, MEX"))
    assert not ceiling.covers(Label.parse("TOP SECRET"))
    assert not ceiling.covers(Label.parse("SECRET//ORCON"))
    assert not ceiling.covers(Label.parse("PUBLICA"))


@pytest.mark.parametrize(
    ("levels", "categories", "why"),
    [
        ({("US", "SECRET"): ("US", "SECRET")}, {}, "another policy"),
        ({("US", "SECRETO"): ("MX", "RESERVADA")}, {}, "no such classification"),
        ({("US", "SECRET"): ("MX", "SECRET")}, {}, "no such classification"),
        ({("XX", "SECRET"): ("MX", "RESERVADA")}, {}, "no such policy"),
        ({}, {("US", "NOFORN"): ("MX", "SIGILO")}, "national-only"),
        ({}, {("MX", "SIGILO"): ("US", "NOFORN")}, "national-only"),
        ({}, {("US", "LES"): ("MX", "LES")}, "no such category"),
        ({}, {("US", "LES"): ("US", "ORCON")}, "another policy"),
        (
            {("US", "SECRET"): ("MX", "PUBLICA"), ("US", "CONFIDENTIAL"): ("MX", "CONFIDENCIAL")},
            {},
            "counts as less",
        ),
    ],
)
def test_a_table_that_breaks_a_rule_can_not_be_made(
    levels: dict[tuple[str, str], tuple[str, str]], categories: dict[tuple[str, str], tuple[str, str]], why: str
) -> None:
    with pytest.raises(LabelError, match=why):
        Equivalence(1, levels, categories)


def test_labels_of_two_policies_have_no_join() -> None:
    with pytest.raises(LabelError, match="two policies"):
        Label.parse("SECRET").join(Label.parse("RESERVADA"))
