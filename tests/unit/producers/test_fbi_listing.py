"""Page files: whatever is in them, the rest goes on, each fault has a place, and gaps are known."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agencybus_producers.fbi import listing, source
from agencybus_producers.stamp import codec
from producing import POSTERS, page, posters, read, stamp

GOOD = page(posters()[:2])


def test_pages_make_one_listing() -> None:
    items = posters()
    found = listing.read([("1.json", page(items[:20], total=33)), ("2.json", page(items[20:], total=33))])
    assert len(found.records) == 33
    assert found.complete


def test_a_plain_list_of_posters_is_read_but_is_never_the_whole_listing() -> None:
    found = listing.read([("top.json", json.dumps(posters()[:3]).encode())])
    assert len(found.records) == 3
    assert found.gaps == ["it does not say its total"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (POSTERS.read_bytes()[:5000], "truncated"),
        (b"{}", "missing required field `items`"),
        (b'"text"', "Expected `object | array`, got `str`"),
        (b"<html>503</html>", "malformed"),
        (b'{"total": "many", "items": []}', "Expected `int | null`, got `str`"),
        (b'{"items": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_page_is_refused_and_the_others_go_on(data: bytes, reason: str) -> None:
    found = listing.read([("broken.json", data), ("good.json", GOOD)])
    [refused] = found.refused
    assert refused.where == "broken.json"
    assert reason in refused.reason
    assert len(found.records) == 2
    assert "broken.json can't be read" in found.gaps


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"5", ""),
        (b"null", ""),
        (b"{}", ""),
        (b'{"uid": 7, "title": "x"}', "uid"),
        (b'{"uid": "", "title": "x"}', "uid"),
        (b'{"uid": "../../etc/passwd", "title": "x"}', "uid"),
        (b'{"uid": "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", "title": "x"}', "uid"),
        (b'{"uid": "0123456789", "title": "\xff"}', ""),
        (b'{"uid": "0123456789", "title": "' + b"x" * listing.ITEM_BYTES + b'"}', ""),
    ],
)
def test_a_broken_record_is_refused_with_its_place_and_the_others_go_on(raw: bytes, field: str) -> None:
    data = GOOD.replace(b'"items": [', b'"items": [' + raw + b", ")
    found = listing.read([("page.json", data)])
    [refused] = found.refused
    assert (refused.where, refused.field) == ("page.json items[0]", field)
    assert len(found.records) == 2


def test_a_refused_record_that_says_its_uid_leaves_no_gap() -> None:
    items = posters()[:3]
    items[1]["height_min"] = "tall"
    assert listing.read([("page.json", page(items))]).complete


def test_a_record_without_a_uid_could_be_anybody_so_nobody_is_gone() -> None:
    items = posters()[:3]
    del items[1]["uid"]
    assert not listing.read([("page.json", page(items))]).complete


def test_fewer_records_than_the_total_are_not_the_whole_listing() -> None:
    found = read(posters()[:30], total=33)
    assert found.listing.gaps == ["it has 30 of 33 records"]


def test_pages_that_disagree_about_the_total_are_not_the_whole_listing() -> None:
    items = posters()
    found = listing.read([("1.json", page(items[:20], total=33)), ("2.json", page(items[20:], total=32))])
    assert found.gaps == ["its pages name different totals"]


def test_the_same_record_twice_is_one() -> None:
    items = posters()[:3]
    found = read([*items, items[0]], total=3)
    assert len(found.alerts) == 3
    assert found.listing.repeated == 1
    assert not found.refused


def test_two_records_with_one_uid_and_different_content_are_told() -> None:
    items = posters()[:2]
    found = read([*items, items[0] | {"title": "SOMEBODY ELSE"}], total=2)
    [refused] = found.refused
    assert (refused.where, refused.field) == ("page.json items[2]", "uid")
    assert "page.json items[0]" in refused.reason
    assert [event.headline for event in found.alerts] == [item["title"] for item in items]


def test_a_page_beyond_the_limit_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_BYTES", 10)
    [refused] = listing.read([("page.json", GOOD)]).refused
    assert "larger than" in refused.reason


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_bytes_break_the_reading(data: bytes) -> None:
    listing.read([("page.json", data)])


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_poster_breaks_the_conversion_and_every_alert_is_one_that_the_codec_takes(data: st.DataObject) -> None:
    item = posters()[0]
    values = (
        st.none() | st.text(max_size=40) | st.integers() | st.booleans() | st.lists(st.text(max_size=20), max_size=3)
    )
    for name in data.draw(st.lists(st.sampled_from(sorted(item)), max_size=4)):
        item[name] = data.draw(values)
    found = source.read([("page.json", json.dumps({"total": 1, "items": [item]}).encode())], stamp())
    assert len(found.alerts) + len(found.refused) + found.left_out.total() == 1
    for event in found.alerts:
        codec().encode(event)
