"""What an alert says of a poster: every part that was published, in the event's units, nothing cut silently."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agencybus_producers.fbi.source import Conversion
from agencybus_producers.notes import Note
from agencybus_producers.stamp import codec
from agencybus_schemas.events import Alert, Severity, Sex, WantedPerson
from producing import DATA, alert, one, posters, read

GOLDEN = DATA / "golden" / "fbi"
IN_FULL = ("JASON DEREK BROWN", "LORRIE JOHN TRITES", "WILLIAM “GUILLERMO” MORALES", "IDALIA RAMOS-RANGEL")


def person(**changes: Any) -> WantedPerson:
    found = alert(**changes).person
    assert found is not None
    return found


def note(found: Conversion) -> Note:
    assert found.alerts
    [only] = found.notes
    return only


def summary(event: Alert) -> str:
    """An alert on one screen; of the description only how it begins."""
    assert event.person is not None
    plain = msgspec.to_builtins(event.person) | {"photos": len(event.person.photos)}
    lines = [
        event.headline,
        f"  {event.event}, severity {event.severity}, since {event.occurred_at:%Y-%m-%d %H:%M}, {event.contact}",
        f"  {event.web}",
        f"  warning: {event.instruction}",
        *(f"  {name}: {value}" for name, value in plain.items() if value not in ("", (), None) and name != "name"),
        f"  {len(event.description)} characters: {' '.join(event.description.split())[:60]}…",
    ]
    return "\n".join(lines)


def agrees(name: str, text: str) -> None:
    """Compare with a golden file; `GOLDEN=write` makes it, for a person to look at."""
    path = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_all_persons_of_the_sample_look_as_somebody_saw_and_approved() -> None:
    agrees("all.txt", "\n\n".join(summary(event) for event in read(posters()).alerts) + "\n")


@pytest.mark.parametrize("name", IN_FULL)
def test_some_alerts_are_to_the_letter_as_somebody_saw_and_approved(name: str) -> None:
    found = next(event for event in read(posters()).alerts if event.headline == name)
    file = "".join(char if char.isalpha() else "-" for char in name.casefold()) + ".json"
    agrees(file, msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")


def test_every_alert_of_the_sample_is_one_that_the_codec_takes() -> None:
    for event in read(posters()).alerts:
        assert codec().decode(codec().schema("alert").id, codec().encode(event)) == event


def test_the_same_poster_makes_the_same_alert() -> None:
    assert read(posters()).alerts == read(posters()).alerts


def test_lengths_and_weights_are_converted() -> None:
    found = person(height_min=66, height_max=67, weight_min=160, weight_max=165)
    assert (found.height_min_cm, found.height_max_cm) == (168, 170)
    assert (found.weight_min_kg, found.weight_max_kg) == (73, 75)


def test_one_end_of_a_range_stands_for_both() -> None:
    assert person(height_min=None, height_max=70).height_min_cm == 178


def test_zero_means_that_it_is_not_known() -> None:
    assert person(height_min=0, height_max=0).height_min_cm is None


def test_a_range_that_cannot_be_true_is_left_out_with_a_note_and_told_as_published() -> None:
    found = one(weight="143 pounds (65 kg)", weight_min=143, weight_max=65)
    assert note(found).field == "weight_max"
    [event] = found.alerts
    assert event.person is not None
    assert (event.person.weight_min_kg, event.person.weight_max_kg) == (None, None)
    assert "Weight as published: 143 pounds (65 kg)." in event.description


def test_an_impossible_height_costs_the_height_and_not_the_alert() -> None:
    assert note(one(height_min=72, height_max=2272)).field == "height_max"


def test_birth_dates_are_dates_and_what_is_none_is_told_in_words() -> None:
    dates = [
        "January 19, 1973",
        " August 8, 1962 ",
        "March 6, 1942 (True)",
        "",
        "Unknown",
        "Approximately 1960",
        "1936",
    ]
    found = alert(dates_of_birth_used=[*dates, "May 1, 2099", "January 19, 1973"])
    assert found.person is not None
    assert found.person.birth_dates == (date(1973, 1, 19), date(1962, 8, 8), date(1942, 3, 6))
    assert "Born: Approximately 1960; 1936; May 1, 2099." in found.description


@pytest.mark.parametrize(
    ("text", "most", "reward"),
    [
        ("<p>The FBI is offering a reward of up to $25,000 for …</p>", 99_999, 25_000),
        ("… up to $5 million …", 4_999_999, 5_000_000),
        ("… up to $2.5 Million … and an additional $10,000 …", 0, 2_500_000),
        ("The FBI is offering a monetary reward.", 0, None),
        (None, 10_000, None),
        ("… up to $25 million …", -1, 25_000_000),
    ],
)
def test_the_reward_is_the_greatest_sum_of_its_text_and_not_the_end_of_a_search_range(
    text: str | None, most: int, reward: int | None
) -> None:
    assert person(reward_text=text, reward_max=most).reward_usd == reward


def test_a_reward_beyond_all_reason_is_left_out_with_a_note() -> None:
    assert note(one(reward_text="$9,999,999,999,999")).field == "reward_text"


@pytest.mark.parametrize(
    ("given", "sex"), [("Male", Sex.MALE), ("Female", Sex.FEMALE), ("", Sex.UNKNOWN), ("X", Sex.OTHER)]
)
def test_sex_is_as_published(given: str, sex: Sex) -> None:
    assert person(sex=given).sex is sex


def test_offences_are_the_parts_between_semicolons() -> None:
    assert person(description="Murder;\r\nKidnapping; ").offences == ("Murder", "Kidnapping")


def test_a_very_long_offence_goes_on_in_the_next_and_loses_no_word() -> None:
    words = " ".join(f"word{n}" for n in range(100))
    assert " ".join(person(description=words).offences) == words


def test_what_says_that_nothing_is_known_is_left_out() -> None:
    found = person(scars_and_marks="None known", occupations=["Unknown", "Welder", None], nationality="Unknown")
    assert (found.marks, found.occupations, found.nationality) == ("", ("Welder",), "")


def test_what_is_too_long_for_its_field_goes_to_the_description() -> None:
    hair, trade = "Balding with a tufted spot on top, either brown or black " + "x" * 20, "y" * 200
    found = alert(hair_raw=hair, hair="bald", occupations=[trade, "Welder"])
    assert found.person is not None
    assert found.person.hair == "bald"
    assert found.person.occupations == ("Welder",)
    assert f"Hair: {hair}." in found.description
    assert f"Occupations: {trade}." in found.description


def test_of_two_ncic_numbers_the_second_is_told_in_words() -> None:
    found = alert(ncic="W105842105 / W258514859")
    assert found.person is not None
    assert found.person.ncic == "W105842105"
    assert "Other NCIC numbers: W258514859." in found.description


def test_more_members_than_an_alert_holds_are_left_out_with_a_note() -> None:
    found = one(aliases=[f"Name {n}" for n in range(70)])
    assert "6 of 70 left out" in note(found).reason


@pytest.mark.parametrize(
    "address",
    [
        "http://www.fbi.gov/x",
        "https://fbi.gov.evil.example/",
        "javascript:alert(1)",
        "https://[",
        "https://evilfbi.gov/",
    ],
)
def test_addresses_outside_of_the_fbis_web_site_are_left_out(address: str) -> None:
    found = one(url=address, images=[{"original": address}])
    assert {note.field for note in found.notes} == {"url", "images[0]"}
    [event] = found.alerts
    assert event.web == ""


def test_a_warning_decides_the_severity() -> None:
    assert alert(warning_message="SHOULD BE CONSIDERED ARMED AND\r\nEXTREMELY DANGEROUS").severity is Severity.EXTREME
    assert alert(warning_message="ARMED AND DANGEROUS").severity is Severity.SEVERE
    assert alert(warning_message="SHOULD BE CONSIDERED AN ESCAPE RISK").severity is Severity.UNKNOWN


def test_times_without_an_offset_are_utc_and_none_lies_in_the_future() -> None:
    assert alert(publication="2015-10-08T07:00:00").occurred_at == datetime(2015, 10, 8, 7, tzinfo=UTC)
    assert alert(publication="2099-01-01T00:00:00").occurred_at == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert note(one(publication="yesterday")).field == "publication"


def test_field_offices_are_named_as_people_name_them() -> None:
    assert alert(field_offices=["losangeles", "miami"]).contact == "FBI Los Angeles, FBI Miami"


def test_states_languages_and_build_are_told_in_words() -> None:
    said = alert(possible_states=["US-AZ", "US-TX"], languages=["English", "Spanish"], build="Slim").description
    assert "May be in the United States: AZ, TX. Build: Slim. Languages: English; Spanish." in said


def test_race_is_not_told() -> None:
    assert b"Hispanic" not in msgspec.json.encode(alert(race_raw="White (Hispanic)", race="hispanic"))


def test_a_poster_of_several_people_is_an_alert_without_a_person_and_keeps_the_charges() -> None:
    nothing = {"sex": None, "dates_of_birth_used": None, "height_max": None}
    found = alert(title="APT 41 GROUP", description="Wire Fraud; Money Laundering", **nothing)
    assert found.person is None
    assert found.event == "Wanted group"
    assert "Charges: Wire Fraud; Money Laundering." in found.description


def test_a_person_with_few_data_is_a_person_all_the_same() -> None:
    assert (
        person(title="ZHU HUA", sex=None, dates_of_birth_used=None, height_max=None, height_min=None).name == "ZHU HUA"
    )


@pytest.mark.parametrize(
    ("member", "value", "field"),
    [
        ("title", "", "title"),
        ("title", "x" * 200, "event.person.name"),
        ("title", "JOHN\x00DOE", "title"),
        ("aliases", ["ok", "b\x1b[2Jad"], "aliases[1]"),
        ("caution", "<p>not <a closed", "caution"),
        ("details", "word " * 5_000, "event.description"),
        ("remarks", "x" * 40_000, "remarks"),
        ("possible_countries", ["Mexico"], "possible_countries"),
        ("height_min", "tall", "height_min"),
        ("images", [{"original": 5}], "images[0].original"),
        ("subjects", "Murder", "subjects"),
    ],
)
def test_dirt_is_refused_with_its_place_and_without_quoting_it(member: str, value: Any, field: str) -> None:
    items = posters()[:3]
    items[1][member] = value
    found = read(items)
    [refused] = found.refused
    assert (refused.where, refused.field) == ("page.json items[1]", field)
    assert "JOHN" not in refused.reason
    assert len(found.alerts) == 2


def test_a_note_reads_as_a_path_into_the_file() -> None:
    [refused] = read([posters()[0] | {"height_min": "tall"}]).refused
    assert str(refused) == "page.json items[0].height_min: Expected `int | null`, got `str`"


def test_golden_files_hold_no_person_that_is_not_in_the_sample() -> None:
    assert {path.name for path in Path(GOLDEN).iterdir()} == {
        "all.txt",
        *("".join(char if char.isalpha() else "-" for char in name.casefold()) + ".json" for name in IN_FULL),
    }
