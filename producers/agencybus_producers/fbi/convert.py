"""A poster of a wanted person as an alert. Pure: what it says depends on the poster, the profile and the time.

Nothing is cut silently: what does not fit its own field goes to the description in words, and what contradicts itself
is left out with a note. Lengths become centimetres, weights kilograms, a reward the greatest sum of its text (the
API's `reward_max` is the upper end of a search range, 99,999 for $25,000).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

from agencybus_producers import text
from agencybus_producers.fbi.model import Item
from agencybus_producers.notes import Note, RefusedError
from agencybus_producers.stamp import Stamp, checked
from agencybus_schemas.events import Alert, AlertCategory, AlertStatus, Certainty, Severity, Sex, WantedPerson

_T = TypeVar("_T")

SOURCE: Final = "fbi-wanted"
_EVENT: Final = "Wanted person"
_GROUP: Final = "Wanted group"

_CM_PER_INCH: Final = 2.54
_KG_PER_POUND: Final = 0.45359237
_HEIGHT_IN: Final = (36, 96)  # beyond is a slip of the pen: 2,272 and 92 stand in the list of June 2021
_WEIGHT_LB: Final = (60, 700)  # the same: 1976, and 65 where kilograms were meant
_SHORT: Final = 64  # characters of hair, eyes and nationality in an alert
_MEMBER: Final = 128  # characters of one alias or occupation in an alert
_OFFENCE: Final = 256  # characters of one offence in an alert
_MOST: Final = {"aliases": 64, "birth_dates": 16, "occupations": 16, "countries": 32, "offences": 32, "photos": 16}
_REWARD_MOST: Final = 1_000_000_000

_NOTHING: Final = frozenset({"", "unknown", "none", "none known", "n/a", "na"})
_MONEY: Final = re.compile(r"\$\s?(\d[\d,]*(?:\.\d+)?)(?:\s+(thousand|million|billion))?", re.IGNORECASE)
_TIMES: Final = {"": 1, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_COUNTRY: Final = re.compile(r"[A-Z]{3}")
_GROUPS: Final = re.compile(
    r"\b(GROUP|HACKERS|ACTORS|SUBJECTS|SUSPECTS|MEMBERS|INDIVIDUALS|ATTACKS|INTERFERENCE|HACKING|CHARGES)\b",
    re.IGNORECASE,
)
_OFFICES: Final = {  # names of field offices that are not one word
    "elpaso": "El Paso",
    "kansascity": "Kansas City",
    "lasvegas": "Las Vegas",
    "littlerock": "Little Rock",
    "losangeles": "Los Angeles",
    "newhaven": "New Haven",
    "neworleans": "New Orleans",
    "newyork": "New York",
    "oklahomacity": "Oklahoma City",
    "saltlakecity": "Salt Lake City",
    "sanantonio": "San Antonio",
    "sandiego": "San Diego",
    "sanfrancisco": "San Francisco",
    "sanjuan": "San Juan",
    "stlouis": "St. Louis",
    "washingtondc": "Washington, D.C.",
}


def alert(item: Item, stamp: Stamp, where: str) -> tuple[Alert, list[Note]]:
    """The alert on a wanted person.

    Args:
        item: a poster that `rules.judge` lets pass.
        stamp: time, label, programme and handling.
        where: file and position, for notes.

    Returns:
        The alert as the first one about the person, and what was left out of it.

    Raises:
        RefusedError: it has dirt in it, or does not fit an alert.
    """
    return _Poster(item, stamp, where).alert()


def changed(item: Item, at: datetime) -> datetime:
    """When the poster was changed last, or now if it does not say."""
    try:
        return min(_utc(datetime.fromisoformat(item.modified or "")), at)
    except ValueError:
        return at


class _Poster:
    """One conversion: the poster, and what is noted on the way."""

    def __init__(self, item: Item, stamp: Stamp, where: str) -> None:
        self.item = item
        self.stamp = stamp
        self.where = where
        self.notes: list[Note] = []
        self.besides: list[str] = []  # what has no field of its own

    def alert(self) -> tuple[Alert, list[Note]]:
        """As the function of this name."""
        title = self._line("title")
        if not title:
            raise RefusedError("title", "empty: an alert needs a name")
        group = self._is_group(title)
        person = None if group else self._person(title)
        if group:
            self.besides.append(_sentence("Charges", self._offences()))
        warning = self._line("warning_message")
        made = Alert(
            **self.stamp.common(SOURCE, self.published()),  # the reference is made when it is planned
            status=AlertStatus.ACTUAL,
            category=AlertCategory.SECURITY,
            event=_GROUP if group else _EVENT,
            severity=_severity(warning),
            certainty=Certainty.OBSERVED,  # that the person is wanted, not that the person did it
            headline=title,
            description=self._description(),
            instruction=warning,
            contact=self._contact(),
            web=self._address("url", self.item.url),
            person=person,
        )
        checked(made)
        return made, self.notes

    def published(self) -> datetime:
        """When the poster was published; the API gives it without an offset."""
        return self._time("publication") or self._time("modified") or self.stamp.now

    # --- parts

    def _person(self, title: str) -> WantedPerson:
        heights = self._range("height", _HEIGHT_IN, _CM_PER_INCH)
        weights = self._range("weight", _WEIGHT_LB, _KG_PER_POUND)
        return WantedPerson(
            name=title,
            aliases=self._lines("aliases", "aliases"),
            birth_dates=self._birth_dates(),
            birth_place=self._line("place_of_birth"),
            nationality=self._short("nationality"),
            sex=self._sex(),
            height_min_cm=heights[0],
            height_max_cm=heights[1],
            weight_min_kg=weights[0],
            weight_max_kg=weights[1],
            hair=self._short("hair_raw", "hair"),
            eyes=self._short("eyes_raw", "eyes"),
            marks=self._known("scars_and_marks"),
            occupations=self._lines("occupations", "occupations"),
            countries=self._countries(),
            offences=self._offences(),
            ncic=self._ncic(),
            reward_usd=self._reward(),
            photos=self._photos(),
        )

    def _description(self) -> str:
        """The poster's own paragraphs, then what has no field of its own."""
        own = (self._html(name) for name in ("details", "caution", "remarks", "additional_information", "reward_text"))
        build, complexion, age = (self._known(name) for name in ("build", "complexion", "age_range"))
        states = [state.removeprefix("US-") for state in self._lines("possible_states")]
        facts = [
            f"May be in the United States: {', '.join(states)}." if states else "",
            f"Build: {build}." if build else "",
            f"Complexion: {complexion}." if complexion else "",
            f"Age: {age}." if age else "",
            _sentence("Languages", self._lines("languages")),
        ]
        return "\n\n".join(filter(None, (*own, " ".join(filter(None, (*facts, *self.besides))))))

    def _is_group(self, title: str) -> bool:
        """Whether the poster shows several people: no data of one person, and a title that is no name."""
        item = self.item
        return not (item.sex or item.dates_of_birth_used or item.height_max) and bool(_GROUPS.search(title))

    def _sex(self) -> Sex:
        words = {"male": Sex.MALE, "female": Sex.FEMALE}
        return words.get(word, Sex.OTHER) if (word := self._known("sex").casefold()) else Sex.UNKNOWN

    def _birth_dates(self) -> tuple[date, ...]:
        """Dates; what is none, such as a year alone, is told in words."""
        found: dict[date, None] = {}
        others: list[str] = []
        for given in self._lines("dates_of_birth_used"):
            try:
                born = datetime.strptime(given.removesuffix("(True)").strip(), "%B %d, %Y").date()  # noqa: DTZ007 - a day
            except ValueError:
                others.append(given)
                continue
            if born > self.stamp.now.date():
                others.append(given)
            else:
                found[born] = None
        if others:
            self.besides.append(_sentence("Born", others))
        return self._first("birth_dates", "dates_of_birth_used", found)

    def _range(self, name: str, limits: tuple[int, int], unit: float) -> tuple[int | None, int | None]:
        """Least and greatest, converted; both left out if they can't be true."""
        given = [getattr(self.item, f"{name}_min"), getattr(self.item, f"{name}_max")]
        low, high = (value or None for value in given)  # the API writes 0 for what it does not know
        if low is None and high is None:
            return None, None
        low, high = low or high, high or low
        if low is None or high is None or not limits[0] <= low <= high <= limits[1]:
            self._note(f"{name}_max", f"{name} left out: not a range within {limits[0]} to {limits[1]}")
            if published := self._known("weight") if name == "weight" else "":
                self.besides.append(f"Weight as published: {published}.")
            return None, None
        return round(low * unit), round(high * unit)

    def _countries(self) -> tuple[str, ...]:
        countries = self._lines("possible_countries")
        if not all(_COUNTRY.fullmatch(country) for country in countries):
            raise RefusedError("possible_countries", "not ISO 3166-1 alpha-3 codes")
        return self._first("countries", "possible_countries", countries)

    def _offences(self) -> tuple[str, ...]:
        """One for each part between semicolons; a longer one goes on in the next."""
        parts = (part.strip(" .") for part in self._line("description").split(";"))
        pieces = (piece for part in parts for piece in textwrap.wrap(part, _OFFENCE))
        return self._first("offences", "description", pieces)

    def _ncic(self) -> str:
        numbers = [number.strip() for number in re.split(r"[;,/]", self._known("ncic")) if number.strip()]
        if others := numbers[1:]:
            self.besides.append(_sentence("Other NCIC numbers", others))
        return numbers[0] if numbers else ""

    def _reward(self) -> int | None:
        sums = [
            float(digits.replace(",", "")) * _TIMES[word.casefold()]
            for digits, word in _MONEY.findall(self._html("reward_text"))
        ]
        most = round(max(sums, default=0))
        if most > _REWARD_MOST:
            self._note("reward_text", "reward left out: greater than a billion dollars")
            return None
        return most or None

    def _photos(self) -> tuple[str, ...]:
        images = self.item.images or ()
        addresses = [self._address(f"images[{i}]", image.original or image.large) for i, image in enumerate(images)]
        return self._first("photos", "images", filter(None, addresses))

    def _contact(self) -> str:
        return ", ".join(f"FBI {_OFFICES.get(office, office.title())}" for office in self._lines("field_offices"))

    # --- values

    def _line(self, name: str) -> str:
        return self._plain(name, text.line, getattr(self.item, name))

    def _html(self, name: str) -> str:
        return self._plain(name, text.paragraphs, getattr(self.item, name))

    def _plain(self, name: str, make: Callable[[str | None], str], value: str | None) -> str:
        try:
            return make(value)
        except ValueError as error:
            raise RefusedError(name, str(error)) from None

    def _known(self, name: str) -> str:
        """A line, empty if it says that nothing is known."""
        found = self._line(name)
        return "" if found.casefold().strip(".") in _NOTHING else found

    def _short(self, name: str, instead: str = "") -> str:
        """A line that fits a short field: else the other field's word, and the line in the description."""
        found = self._known(name)
        if found and len(found) <= _SHORT:
            return found
        if found:
            self.besides.append(f"{name.removesuffix('_raw').capitalize()}: {found.strip('.')}.")
        return self._known(instead) if instead else ""

    def _lines(self, name: str, target: str = "") -> tuple[str, ...]:
        """The members of a list that say something, each once."""
        members: Iterable[str | None] = getattr(self.item, name) or ()
        lines = (self._plain(f"{name}[{i}]", text.line, member) for i, member in enumerate(members))
        found = dict.fromkeys(member for member in lines if member.casefold() not in _NOTHING)
        if not target:
            return tuple(found)
        if others := [member for member in found if len(member) > _MEMBER]:
            self.besides.append(_sentence(name.capitalize(), others))
        return self._first(target, name, (member for member in found if len(member) <= _MEMBER))

    def _first(self, target: str, name: str, values: Iterable[_T]) -> tuple[_T, ...]:
        """As many as the alert holds."""
        found = tuple(values)
        if len(found) > _MOST[target]:
            self._note(name, f"{len(found) - _MOST[target]} of {len(found)} left out: an alert holds {_MOST[target]}")
        return found[: _MOST[target]]

    def _address(self, name: str, value: str | None) -> str:
        """An address of the FBI's own web site; others are left out, a reader might follow them."""
        address = self._plain(name, text.line, value)
        try:
            parts = urlsplit(address)
        except ValueError:
            parts = urlsplit("")
        host = parts.hostname or ""
        if address and (parts.scheme != "https" or not (host == "fbi.gov" or host.endswith(".fbi.gov"))):
            self._note(name, "address left out: not https, or not of fbi.gov")
            return ""
        return address

    def _time(self, name: str) -> datetime | None:
        """A time that is not in the future, UTC if it has no offset."""
        given = self._line(name)
        if not given:
            return None
        try:
            time = datetime.fromisoformat(given)
        except ValueError:
            self._note(name, "left out: not a time")
            return None
        return min(_utc(time), self.stamp.now)

    def _note(self, field: str, reason: str) -> None:
        self.notes.append(Note(self.where, field, reason))


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _severity(warning: str) -> Severity:
    """How dangerous the warning says the person is."""
    if re.search(r"EXTREMELY DANGEROUS", warning, re.IGNORECASE):
        return Severity.EXTREME
    if re.search(r"\bARMED\b|\bDANGEROUS\b|\bVIOLENT\b", warning, re.IGNORECASE):
        return Severity.SEVERE
    return Severity.UNKNOWN


def _sentence(name: str, values: Iterable[str]) -> str:
    joined = "; ".join(value.strip(" .") for value in values)
    return f"{name}: {joined}." if joined else ""
