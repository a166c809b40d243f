"""Only changes are published: a new person, a changed one, one who is wanted no longer, each under its own name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agencybus_producers.changes import Change, Entry, Plan
from agencybus_producers.fbi import source
from agencybus_producers.stamp import codec
from agencybus_schemas.events import Alert, CorrelationKind, Urgency
from producing import AT, DAY, PROFILE, entries, page, posters, read, stamp

HOUR = DAY // 24


def planned(items: list[dict[str, Any]], known: dict[str, Entry], *, at: int = AT, total: int | None = None) -> Plan:
    common = stamp(at=at)
    return source.plan(source.read([("page.json", page(items, total=total))], common), known, common)


@pytest.fixture
def known() -> dict[str, Entry]:
    """All 33 persons, as they were published a day ago."""
    return entries(planned(posters(), {}, at=AT - DAY).messages)


def test_everybody_is_new_at_first() -> None:
    plan = planned(posters(), {})
    assert [message.change for message in plan.messages] == [Change.NEW] * 33
    assert len({message.entry.event.reference for message in plan.messages}) == 33
    assert all(message.entry.event.correlation is None for message in plan.messages)


def test_nobody_is_published_again_when_nothing_changed(known: dict[str, Entry]) -> None:
    plan = planned(posters(), known)
    assert not plan.messages
    assert plan.unchanged == 33


def test_a_change_of_the_time_alone_or_of_what_no_alert_says_is_no_change(known: dict[str, Entry]) -> None:
    items = posters()
    items[0] |= {"modified": "2026-01-01T00:00:00+00:00", "files": [], "coordinates": [1], "a_new_member": True}
    assert not planned(items, known).messages


def test_a_changed_person_is_an_update_that_says_what_changed_and_what_it_follows(known: dict[str, Entry]) -> None:
    items = posters()
    items[3]["reward_text"] = "The FBI is offering a reward of up to $75,000."
    [message] = planned(items, known).messages
    before = known[items[3]["uid"]].event
    assert message.change is Change.UPDATED
    assert message.fields == ("description", "person.reward_usd")
    assert message.entry.event.correlation is not None
    assert message.entry.event.correlation.kind is CorrelationKind.UPDATES
    assert message.entry.event.correlation.event_id == before.event_id
    assert message.entry.event.correlation.root == before.event_id


def test_the_root_of_a_story_stays_and_every_message_has_a_reference_of_its_own(known: dict[str, Entry]) -> None:
    items, root = posters(), known[posters()[0]["uid"]].event.event_id
    references = {known[items[0]["uid"]].event.reference}
    for number, nationality in enumerate(("Mexican", "American", "Mexican", None), 2):
        items[0]["nationality"] = nationality
        [message] = planned(items, known, at=AT + number).messages
        assert message.entry.root == root
        assert message.entry.serial == number
        references.add(message.entry.event.reference)
        known |= entries([message])
    assert len(references) == 5  # the person looks as at first, twice, and that is told


def test_a_captured_person_is_cancelled_with_the_reason(known: dict[str, Entry]) -> None:
    items = posters()
    items[5] |= {"status": "captured", "modified": "2026-01-30T10:00:00+00:00"}
    [message] = planned(items, known).messages
    event = message.entry.event
    assert message.change is Change.CANCELLED
    assert isinstance(event, Alert)
    assert event.correlation is not None
    assert event.correlation.kind is CorrelationKind.CANCELS
    assert event.description == "Captured."
    assert event.urgency is Urgency.PAST
    assert event.occurred_at.isoformat() == "2026-01-30T10:00:00+00:00"
    assert event.person is None  # to stop looking takes a name, not a description
    codec().encode(event)


@pytest.mark.parametrize(
    "change",
    [{"person_classification": "Victim"}, {"subjects": ["Seeking Information"]}, {"status": "a new word"}],
)
def test_whose_poster_is_no_longer_one_of_a_wanted_person_is_cancelled(
    change: dict[str, Any], known: dict[str, Entry]
) -> None:
    items = posters()
    items[0] |= change
    [message] = planned(items, known).messages
    assert message.change is Change.CANCELLED


def test_who_is_gone_from_a_complete_listing_is_cancelled(known: dict[str, Entry]) -> None:
    [message] = planned(posters()[1:], known).messages
    assert message.change is Change.CANCELLED
    assert message.entry.key == posters()[0]["uid"]


def test_nobody_is_gone_from_an_incomplete_listing(known: dict[str, Entry]) -> None:
    items = posters()[1:]
    assert not planned(items, known, total=33).messages
    assert source.absent(read(items, total=33), known) == 1


def test_whose_record_is_broken_is_neither_updated_nor_gone(known: dict[str, Entry]) -> None:
    items = posters()
    items[0]["height_min"] = "tall"
    items[1]["path"] = "/wanted/a-section-that-nobody-knows/x"
    assert not planned(items, known).messages


def test_a_cancelled_person_is_not_cancelled_again(known: dict[str, Entry]) -> None:
    items = posters()
    items[5]["status"] = "captured"
    known |= entries(planned(items, known).messages)
    assert not planned(items, known, at=AT + 1).messages
    del items[5]
    assert not planned(items, known, at=AT + 2).messages


def test_who_is_wanted_again_begins_a_new_story_under_a_new_reference(known: dict[str, Entry]) -> None:
    items = posters()
    known |= entries(planned(items[1:], known).messages)
    [message] = planned(items, known, at=AT + 1).messages
    assert message.change is Change.NEW
    assert message.entry.event.correlation is None
    assert message.entry.serial == 3


def test_a_cancellation_goes_under_the_label_of_what_it_cancels(known: dict[str, Entry]) -> None:
    items = posters()
    items[5]["status"] = "captured"
    narrower = msgspec.structs.replace(PROFILE, label="UNCLASSIFIED//LES")
    common = stamp(profile=narrower)
    plan = source.plan(source.read([("page.json", page(items))], common), known, common)
    [cancelled] = [message for message in plan.messages if message.change is Change.CANCELLED]
    assert cancelled.entry.event.label == PROFILE.label
    updated = [message for message in plan.messages if message.change is Change.UPDATED]
    assert {message.fields for message in updated} == {("label",)}
    assert len(updated) == 32


def test_an_alert_is_renewed_before_recipients_delete_it(known: dict[str, Entry]) -> None:
    assert not planned(posters(), known, at=AT + 300 * DAY).messages
    plan = planned(posters(), known, at=AT + 340 * DAY)
    assert {(message.change, message.fields) for message in plan.messages} == {
        (Change.UPDATED, ("handling.retain_until",))
    }
    assert len(plan.messages) == 33


def test_a_lost_cursor_repeats_the_references_and_contents_of_the_same_month() -> None:
    first, again = planned(posters(), {}, at=AT - HOUR), planned(posters(), {}, at=AT)
    for one, two in zip(first.messages, again.messages, strict=True):
        assert one.entry.event.reference == two.entry.event.reference
        assert one.entry.event.event_id != two.entry.event.event_id


def test_a_lost_cursor_makes_new_references_where_contents_differ() -> None:
    first = {message.entry.event.reference for message in planned(posters(), {}, at=AT).messages}
    later = {message.entry.event.reference for message in planned(posters(), {}, at=AT + 40 * DAY).messages}
    assert not first & later  # another retention: the publisher would refuse the old reference
