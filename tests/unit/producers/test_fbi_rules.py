"""Only wanted persons become alerts: never victims, missing or unknown persons, whatever one member says."""

from __future__ import annotations

from typing import Any

import pytest

from agencybus_producers.fbi.rules import LeftOut
from producing import one, posters, read

PATH = "/wanted/{}/somebody"


def left_out(**changes: Any) -> LeftOut:
    found = one(**changes)
    assert not found.alerts
    assert not found.refused
    [reason] = found.left_out
    return reason


def refused(**changes: Any) -> str:
    found = one(**changes)
    assert not found.alerts
    [note] = found.refused
    return note.field


def test_every_person_of_the_sample_is_wanted() -> None:
    found = read(posters())
    assert len(found.alerts) == 33
    assert not found.refused
    assert not found.left_out


def test_a_victim_is_left_out_even_if_all_else_speaks_of_a_fugitive() -> None:
    assert left_out(person_classification="Victim") is LeftOut.VICTIM


def test_a_child_whose_poster_stands_below_the_kidnappers_is_left_out_although_it_is_called_main() -> None:
    path = "/wanted/parental-kidnappings/some-parent/some-child"
    assert left_out(path=path, subjects=[], person_classification="Main") is LeftOut.VICTIM


@pytest.mark.parametrize("section", ["kidnap", "vicap/missing-persons", "vicap/unidentified-persons"])
def test_missing_and_unidentified_persons_are_left_out_although_they_are_called_main(section: str) -> None:
    assert left_out(path=PATH.format(section)) is LeftOut.MISSING


@pytest.mark.parametrize("section", ["seeking-info", "terrorinfo", "ecap"])
def test_posters_that_seek_information_are_left_out(section: str) -> None:
    assert left_out(path=PATH.format(section)) is LeftOut.INFORMATION


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ("Parental Kidnapping Victim", LeftOut.VICTIM),
        ("Exploited Children", LeftOut.VICTIM),
        ("VICAP Missing Persons", LeftOut.MISSING),
        ("Kidnappings and Missing Persons", LeftOut.MISSING),
        ("ViCAP Homicides and Sexual Assaults", LeftOut.MISSING),
        ("seeking information", LeftOut.INFORMATION),
        ("Endangered Child Alert Program", LeftOut.INFORMATION),
    ],
)
def test_one_word_among_the_subjects_is_enough_to_leave_a_poster_out(subject: str, reason: LeftOut) -> None:
    assert left_out(subjects=["Violent Crime - Murders", subject]) is reason


@pytest.mark.parametrize("poster", ["missing", "kidnapping", "information", "ecap", "vicap"])
def test_the_poster_classification_of_newer_answers_leaves_posters_out(poster: str) -> None:
    left_out(poster_classification=poster)


@pytest.mark.parametrize("poster", ["default", "ten", "terrorist", "law-enforcement-assistance", None])
def test_a_poster_classification_for_fugitives_lets_a_poster_pass(poster: str | None) -> None:
    assert one(poster_classification=poster).alerts


@pytest.mark.parametrize("status", ["captured", "Captured", "located", "surrendered", "deceased", "anything new"])
def test_who_has_another_status_than_na_is_not_wanted(status: str) -> None:
    assert left_out(status=status) is LeftOut.NO_LONGER


def test_the_worst_reason_is_the_one_that_is_counted() -> None:
    subjects = ["Seeking Information", "Parental Kidnapping Victim"]
    assert left_out(path=PATH.format("kidnap"), subjects=subjects) is LeftOut.VICTIM


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("path", "/wanted/a-new-section/somebody"),
        ("path", "/news/murders/somebody"),
        ("path", "/wanted/murders"),
        ("person_classification", None),
        ("person_classification", "Witness"),
        ("poster_classification", "a-new-word"),
    ],
)
def test_what_the_rules_do_not_know_is_refused_and_not_guessed(member: str, value: str | None) -> None:
    assert refused(**{member: value}) == member


def test_without_a_path_the_address_says_the_section() -> None:
    assert one(path=None, url="https://www.fbi.gov/wanted/murders/somebody").alerts
    assert left_out(path=None, url="https://www.fbi.gov/wanted/kidnap/somebody") is LeftOut.MISSING
    assert refused(path=None, url=None) == "path"


def test_an_accomplice_of_a_kidnapping_parent_is_wanted() -> None:
    assert one(person_classification="Accomplice", path=PATH.format("parental-kidnappings"), subjects=[]).alerts
