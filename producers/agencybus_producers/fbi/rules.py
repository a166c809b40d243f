"""Whether a poster is about a wanted person. Everybody else on the FBI's list is a victim, missing, or unknown.

`person_classification` alone is not enough: of the posters of June 2021, 59 children and adults who had disappeared
were "Main", as was a kidnapped girl whose poster stands below that of the parent who took her. So a poster must pass
every rule here, and what the rules don't know is refused and shown, never guessed:

1. `person_classification` is `Main` or `Accomplice`; `Victim` is left out.
2. The section of the web site, the first part of `path` after `/wanted/`, is one of those for fugitives, and the poster
   stands directly in it, not below somebody else's.
3. `poster_classification`, which the API has had since 2022, is one of those for fugitives, if it is there.
4. No word of `subjects` speaks of victims, missing or unidentified persons, or of seeking information.
5. `status` is `na`: not captured, surrendered, located, recovered or dead.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from agencybus_producers.fbi.model import Item
from agencybus_producers.notes import RefusedError


class LeftOut(StrEnum):
    """Why a poster is no alert."""

    VICTIM = "victim"
    MISSING = "missing or unidentified person"
    INFORMATION = "seeking information"
    NO_LONGER = "no longer wanted"


_WANTED: Final = None
_SECTIONS: Final[dict[str, LeftOut | None]] = {
    "additional": _WANTED,
    "cac": _WANTED,  # crimes against children
    "cei": _WANTED,  # criminal enterprise investigations
    "counterintelligence": _WANTED,
    "cyber": _WANTED,
    "dt": _WANTED,  # domestic terrorism
    "human-trafficking": _WANTED,
    "known-bank-robbers": _WANTED,
    "law-enforcement-assistance": _WANTED,  # wanted by another authority, with charges
    "murders": _WANTED,
    "parental-kidnappings": _WANTED,  # the parent; children's posters stand below
    "topten": _WANTED,
    "wanted_terrorists": _WANTED,
    "wcc": _WANTED,  # white-collar crime
    "ecap": LeftOut.INFORMATION,  # unknown persons who may know an abused child
    "kidnap": LeftOut.MISSING,
    "seeking-info": LeftOut.INFORMATION,
    "terrorinfo": LeftOut.INFORMATION,
    "vicap": LeftOut.MISSING,
}
_POSTERS: Final[dict[str, LeftOut | None]] = {
    "default": _WANTED,
    "ten": _WANTED,
    "terrorist": _WANTED,
    "law-enforcement-assistance": _WANTED,
    "ecap": LeftOut.INFORMATION,
    "information": LeftOut.INFORMATION,
    "kidnapping": LeftOut.MISSING,
    "missing": LeftOut.MISSING,
    "vicap": LeftOut.MISSING,
}
_SUBJECTS: Final = (
    (re.compile(r"victim|exploited child", re.IGNORECASE), LeftOut.VICTIM),
    (re.compile(r"missing|unidentified|vicap", re.IGNORECASE), LeftOut.MISSING),
    (re.compile(r"seeking info|ecap|endangered child", re.IGNORECASE), LeftOut.INFORMATION),
)
_STANDING: Final = frozenset({"", "na"})
_DIRECT: Final = 3  # parts of the path of a poster that stands directly in a section: wanted, section, name


def judge(item: Item) -> LeftOut | None:
    """Why the poster is left out, or None for a wanted person.

    Raises:
        RefusedError: the rules don't know a word of it, so a person must decide.
    """
    kind = (item.person_classification or "").strip().casefold()
    if kind == "victim":
        return LeftOut.VICTIM
    reasons = [_section(item), _poster(item), *_subjects(item)]
    if found := [reason for reason in reasons if reason]:
        return min(found, key=list(LeftOut).index)
    if kind not in {"main", "accomplice"}:
        raise RefusedError(
            "person_classification", "neither Main nor Accomplice nor Victim: nobody is taken for wanted"
        )
    if (item.status or "").strip().casefold() not in _STANDING:
        return LeftOut.NO_LONGER
    return None


def _section(item: Item) -> LeftOut | None:
    path = item.path or urlsplit(item.url or "").path
    parts = path.strip("/").split("/")
    if len(parts) < _DIRECT or parts[0] != "wanted" or parts[1] not in _SECTIONS:
        raise RefusedError("path", "not in a section of the web site that the rules know (fbi/rules.py)")
    reason = _SECTIONS[parts[1]]
    return LeftOut.VICTIM if reason is None and len(parts) > _DIRECT else reason


def _poster(item: Item) -> LeftOut | None:
    poster = (item.poster_classification or "default").strip().casefold()
    if poster not in _POSTERS:
        raise RefusedError("poster_classification", "not a word that the rules know (fbi/rules.py)")
    return _POSTERS[poster]


def _subjects(item: Item) -> list[LeftOut]:
    return [reason for subject in item.subjects or () for pattern, reason in _SUBJECTS if pattern.search(subject)]
