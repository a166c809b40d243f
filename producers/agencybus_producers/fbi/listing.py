"""A listing: page files in, records out, each with its position; and whether it is the whole listing. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from agencybus_producers.fbi.model import Item, Page
from agencybus_producers.notes import Note, RefusedError

PAGE_BYTES: Final = 64 * 1024 * 1024  # of one file; the API's largest answer, 1,000 records, has 5 MiB
ITEM_BYTES: Final = 256 * 1024  # of one record; the largest seen has 16 KiB, an event ends at 256 KiB

_T = TypeVar("_T")


class _Named(msgspec.Struct, frozen=True):
    """The one member that is needed even of a record that is refused."""

    uid: str


_page: Final[msgspec.json.Decoder[Page | list[msgspec.Raw]]] = msgspec.json.Decoder(Page | list[msgspec.Raw])
_item: Final = msgspec.json.Decoder(Item)
_named: Final = msgspec.json.Decoder(_Named)


@dataclass(frozen=True, slots=True)
class Found:
    """A record that was read.

    Attributes:
        where: file and position.
        item: the record.
    """

    where: str
    item: Item


@dataclass(slots=True)
class Listing:
    """All records of all pages.

    Attributes:
        records: those that could be read, by uid; of two with one uid the first.
        refused: what could not be read, with file and position.
        seen: uids of all records, the refused ones included.
        repeated: how many records came again with the same content, as they do when pages shift while they are read.
        total: what the pages say the whole listing has, None if they don't say or disagree.
        gaps: why records may be missing; empty for a complete listing.
    """

    records: dict[str, Found] = field(default_factory=dict)
    refused: list[Note] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    repeated: int = 0
    total: int | None = None
    gaps: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether who is not in it is gone, and not just out of sight."""
        return not self.gaps


def read(pages: Iterable[tuple[str, bytes]]) -> Listing:
    """Read page files.

    Args:
        pages: name and content of each file.
    """
    listing = Listing()
    totals: set[int | None] = set()
    for name, data in pages:
        try:
            page = _decode(data)
        except RefusedError as error:
            listing.refused.append(error.at(name))
            listing.gaps.append(f"{name} can't be read")
            continue
        items, total = (page, None) if isinstance(page, list) else (page.items, page.total)
        totals.add(total)
        for index, raw in enumerate(items):
            _add(listing, f"{name} items[{index}]", raw)
    _conclude(listing, totals)
    return listing


def _decode(data: bytes) -> Page | list[msgspec.Raw]:
    if len(data) > PAGE_BYTES:
        raise RefusedError("", f"larger than {PAGE_BYTES // 1024**2} MiB")
    return _parsed(_page, data)


def _parsed(decoder: msgspec.json.Decoder[_T], data: bytes | msgspec.Raw) -> _T:
    """Decode JSON; the reason why it can't be quotes nothing of it.

    Raises:
        RefusedError: it is broken, or not what is expected.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `")
        raise RefusedError(path.strip("`").removeprefix("$").removeprefix("."), reason) from None
    except msgspec.DecodeError as error:
        raise RefusedError("", str(error)) from None
    except UnicodeDecodeError:
        raise RefusedError("", "not UTF-8") from None
    except RecursionError:
        raise RefusedError("", "nested too deeply") from None


def _add(listing: Listing, where: str, raw: msgspec.Raw) -> None:
    try:
        item = _read(listing, raw)
    except RefusedError as error:
        listing.refused.append(error.at(where))
        _remember(listing, where, raw)
        return
    listing.repeated += item.uid in listing.records
    listing.seen.add(item.uid)
    listing.records.setdefault(item.uid, Found(where, item))


def _read(listing: Listing, raw: msgspec.Raw) -> Item:
    if len(memoryview(raw)) > ITEM_BYTES:
        raise RefusedError("", f"larger than {ITEM_BYTES // 1024} KiB")
    item = _parsed(_item, raw)
    if not _is_uid(item.uid):
        raise RefusedError("uid", "not a uid: 8 to 64 letters, digits and hyphens")
    known = listing.records.get(item.uid)
    if known and known.item != item:
        raise RefusedError("uid", f"given before, with other content: {known.where}")
    return item


def _is_uid(uid: str) -> bool:
    return 8 <= len(uid) <= 64 and uid.isascii() and uid.replace("-", "").isalnum()  # noqa: PLR2004 - as the message says


def _remember(listing: Listing, where: str, raw: msgspec.Raw) -> None:
    """A refused record is not gone: note its uid, or that somebody's uid is not known."""
    try:
        uid = _parsed(_named, raw).uid
    except RefusedError:
        uid = ""
    if _is_uid(uid):
        listing.seen.add(uid)
    else:
        listing.gaps.append(f"{where} has no uid that can be read")


def _conclude(listing: Listing, totals: set[int | None]) -> None:
    """Compare what came with what was announced."""
    listing.total = totals.pop() if len(totals) == 1 else None
    if listing.total is None:
        listing.gaps.append("its pages name different totals" if totals else "it does not say its total")
    elif len(listing.seen) < listing.total:
        listing.gaps.append(f"it has {len(listing.seen):,} of {listing.total:,} records")
