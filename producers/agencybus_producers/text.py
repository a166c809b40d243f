"""Text of a source made plain: markup gone, white space settled, invisible characters out, dirt refused."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser
from typing import Final

CHARACTERS: Final = 32_768  # of a text before its markup goes; an event's longest field holds 16,384

# They change how a text looks without being seen: an order of letters, a name that matches no list.
_INVISIBLE: Final = dict.fromkeys(
    (0xAD, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
)
_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_TAG_OPENS: Final = re.compile(r"<[A-Za-z/!?]")
_TAG: Final = re.compile(r"<[A-Za-z/!?][^<>]*>")
_BLOCKS: Final = frozenset({"p", "div", "ul", "ol", "table", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote"})
_LINES: Final = frozenset({"br", "li", "tr"})
_UNREADABLE: Final = frozenset({"script", "style"})


def clean(text: str) -> str:
    """The text without invisible characters; its line breaks stay.

    Raises:
        ValueError: it is too long, or has control characters or halves of characters in it.
    """
    if len(text) > CHARACTERS:
        raise ValueError(f"longer than {CHARACTERS:,} characters")
    if dirt := _NO_TEXT.search(text):
        raise ValueError(f"character U+{ord(dirt.group()):04X} at position {dirt.start()} is no text")
    return unicodedata.normalize("NFC", text.translate(_INVISIBLE))


def line(text: str | None) -> str:
    """The text as one line.

    Raises:
        ValueError: as `clean`.
    """
    return " ".join(clean(text or "").split())


def paragraphs(html: str | None) -> str:
    """The text of a piece of HTML: paragraphs with an empty line between them, addresses of links left out.

    Raises:
        ValueError: as `clean`, or a tag is not closed. The parser of Python 3.11 takes a minute for 64 KiB of open
            tags (CVE-2025-6069), so they don't reach it; no real input has them.
    """
    html = clean(html or "")
    if len(_TAG_OPENS.findall(html)) != len(_TAG.findall(html)):
        raise ValueError("a tag of its markup is not closed")
    reader = _Reader()
    try:
        reader.feed(html)
        reader.close()
    except AssertionError:  # how the parser says that a marked section, `<![x[`, is not HTML
        raise ValueError("its markup is not HTML") from None
    # Once more: a character reference may have named what the text itself must not have.
    return _settle(clean("".join(reader.found)))


def _settle(text: str) -> str:
    """One space between words, one empty line between paragraphs."""
    lines = (" ".join(part.split()) for part in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    """Collects what a browser would show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        if tag in _UNREADABLE:
            self._hidden += 1
        elif tag in _BLOCKS:
            self.found.append("\n\n")
        elif tag in _LINES:
            self.found.append("\n- " if tag == "li" else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNREADABLE:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _BLOCKS:
            self.found.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            # In HTML a line break is a space; our own are made of tags.
            self.found.append(" ".join(re.split(r"[\r\n\t]+", data)))
