"""HTML and dirty text become plain text, or are refused, and nothing takes long."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agencybus_producers import text


@pytest.mark.parametrize(
    ("html", "plain"),
    [
        ("<p>One.</p>\r\n<p>\u00a0</p>\r\n<p>Two.\u00a0 Three.</p>", "One.\n\nTwo. Three."),
        ("<p>A <a href='https://evil.example/'>name</a> &amp; more<br/>next</p>", "A name & more\nnext"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
        ("<div><img alt='no' src='x'/>text</div>", "text"),
        ("a<script>alert(1)</script>b<style>p{}</style>", "ab"),
        ("under 5' and < 150 pounds", "under 5' and < 150 pounds"),
        ("line\r\nbroken", "line broken"),
        ("<!-- hidden -->shown", "shown"),
        (None, ""),
    ],
)
def test_html_becomes_the_text_that_a_browser_would_show(html: str | None, plain: str) -> None:
    assert text.paragraphs(html) == plain


def test_characters_that_nobody_sees_are_gone() -> None:
    assert text.line("JO\u200bHN\ufeff \u202eELPMAXE\u202c \u00ad") == "JOHN ELPMAXE"


def test_one_name_has_one_spelling_in_bytes() -> None:
    assert text.line("Jose\u0301") == "Jos\u00e9"


@pytest.mark.parametrize("dirt", ["\x00", "\x1b", "\x7f", "\x85", "\ud800"])
def test_text_with_control_characters_or_half_characters_is_refused(dirt: str) -> None:
    with pytest.raises(ValueError, match=r"U\+[0-9A-F]{4} at position 2 is no text"):
        text.line(f"ab{dirt}c")


@pytest.mark.parametrize("reference", ["&#x202e;", "&#8203;"])
def test_a_character_reference_brings_nothing_in_that_the_text_must_not_have(reference: str) -> None:
    assert text.paragraphs(f"<p>a{reference}b</p>") == "ab"


@pytest.mark.parametrize("html", ["a <b", "<a href='x", "<![x[ y ]]>", "</"])
def test_broken_markup_is_refused_or_shown_but_never_swallows_the_rest(html: str) -> None:
    try:
        assert "seen" in text.paragraphs(f"seen {html}")
    except ValueError as error:
        assert "markup" in str(error)  # noqa: PT017 - either outcome is right


def test_text_beyond_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 32,768"):
        text.line("x" * (text.CHARACTERS + 1))


@pytest.mark.parametrize(
    "piece", ["<a ", "<!--", "<a b='", "<![CDATA[", "</", "&#", "<", "<!", "<?", "<p>", "<!-->", "<a>"]
)
def test_no_markup_takes_long(piece: str) -> None:
    begun = time.perf_counter()
    with suppress(ValueError):
        text.paragraphs(piece * (text.CHARACTERS // len(piece)))
    assert time.perf_counter() - begun < 2


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["<p>", "</p", "<![", "&#0;", "<!--", "-->", "a", "\x00", ">", "<a b='"])).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_any_text_becomes_plain_text_or_is_refused(anything: str) -> None:
    try:
        plain = text.paragraphs(anything)
    except ValueError:
        return
    assert plain == plain.strip()
    assert text.clean(plain) == plain
