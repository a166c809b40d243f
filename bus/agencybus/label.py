"""Labels, clearances and dominance: who may read what, as far as the marking alone decides.

The shape is STANAG 4774's: a policy (whose rules), a classification (ordered), restrictive categories (a reader
holds them all), a permissive category (REL TO: a reader's country is one of them) and informative markings (they
bind people, not this program). The text form is strict: one label has one spelling.

    SECRET//LES//REL TO USA, MEX            RESERVADA//SIGILO//REL TO MEX, USA//TLP:AMBER

Labels of one policy form a lattice (tests/property/test_label_lattice.py). Between policies only a signed
equivalence table speaks, and what it does not map is not readable. The words of the two policies below are
modelled on public marking rules; a real federation brings its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from agencybus.errors import LabelError

_TEXT_BYTES: Final = 256  # bytes of a label's text; the bound of every header string
_TRIGRAPH: Final = re.compile(r"[A-Z]{3}", re.ASCII)  # ISO 3166-1 alpha-3, by shape
_SHOWN: Final = 80  # characters of a refused text that an error repeats


class Precedence(StrEnum):
    """How soon an event must move (ACP 121); decides the lane, nothing else."""

    FLASH = "FLASH"
    IMMEDIATE = "IMMEDIATE"
    PRIORITY = "PRIORITY"
    ROUTINE = "ROUTINE"

    @property
    def lane(self) -> str:
        """The lane of a channel, `urgent` or `routine`."""
        return "urgent" if self in (Precedence.FLASH, Precedence.IMMEDIATE) else "routine"


@dataclass(frozen=True, slots=True)
class Policy:
    """The marking words of one country.

    Attributes:
        name: short name, as in `Label.policy`.
        trigraph: the country whose policy it is, ISO 3166-1 alpha-3.
        levels: classifications, lowest first; no word is in two policies.
        categories: restrictive categories.
        national: those categories that never leave the country, whatever a table says.
    """

    name: str
    trigraph: str
    levels: tuple[str, ...]
    categories: frozenset[str]
    national: frozenset[str]

    def rank(self, level: str) -> int:
        """Place of a classification, 0 the lowest; ValueError if it is not of this policy."""
        return self.levels.index(level)


POLICIES: Final[Mapping[str, Policy]] = MappingProxyType(
    {
        "US": Policy(
            name="US",
            trigraph="USA",
            levels=("UNCLASSIFIED", "CONFIDENTIAL", "SECRET", "TOP SECRET"),
            categories=frozenset({"LES", "LES-NOFORN", "NOFORN", "ORCON", "SI", "SSI", "TK"}),
            national=frozenset({"LES-NOFORN", "NOFORN"}),
        ),
        "MX": Policy(
            name="MX",
            trigraph="MEX",
            levels=("PUBLICA", "CONFIDENCIAL", "RESERVADA", "SECRETA"),
            categories=frozenset({"DATOS-PERSONALES", "INTELIGENCIA", "SIGILO", "SOLO-NACIONAL"}),
            national=frozenset({"SOLO-NACIONAL"}),
        ),
    }
)
_POLICY_OF_LEVEL: Final = {level: policy.name for policy in POLICIES.values() for level in policy.levels}

_TLP: Final = ("TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED")  # FIRST TLP 2.0, mildest first


def _refuse(text: str, why: str) -> LabelError:
    """The error for a refused text: the text cut short and escaped, since it comes from outside."""
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return LabelError("label-invalid", f"{shown!r}: {why}")


def _check_words(text: str, policy: str, classification: str, restrictive: frozenset[str]) -> None:
    """Refuse words that the policy does not have."""
    known = POLICIES.get(policy)
    if known is None:
        raise _refuse(text, "no such policy")
    if classification not in known.levels:
        raise _refuse(text, f"no such classification in policy {policy}")
    if not restrictive <= known.categories:
        raise _refuse(text, f"no such category in policy {policy}")


@dataclass(frozen=True, slots=True)
class Label:
    """What one event or frame is marked with. An instance is always valid.

    Attributes:
        policy: whose words they are, a key of `POLICIES`.
        classification: one of the policy's levels.
        restrictive: categories of which a reader must hold every one.
        releasable: countries that may read, with the originator's own; empty means the originator's country only.
        informative: at most one TLP marking; carried and joined, never decided upon.

    Raises:
        LabelError: `label-invalid`, if the parts are unknown or contradict each other.
    """

    policy: str
    classification: str
    restrictive: frozenset[str] = frozenset()
    releasable: frozenset[str] = frozenset()
    informative: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        text = str(self)
        _check_words(text, self.policy, self.classification, self.restrictive)
        if not all(_TRIGRAPH.fullmatch(trigraph) for trigraph in self.releasable):
            raise _refuse(text, "REL TO takes three-letter country codes")
        if self.releasable and (self.origin not in self.releasable or len(self.releasable) == 1):
            raise _refuse(text, f"REL TO names {self.origin} and at least one more country, or is left out")
        if self.releasable and self.national:
            raise _refuse(text, "a national-only category contradicts REL TO")
        if len(self.informative) > 1 or not self.informative <= set(_TLP):
            raise _refuse(text, "at most one TLP marking, nothing else, is informative")
        if len(text.encode()) > _TEXT_BYTES:
            raise _refuse(text, f"longer than {_TEXT_BYTES} bytes")

    @classmethod
    def parse(cls, text: str) -> Label:
        """Read the canonical text form; `str()` is its inverse.

        Args:
            text: `CLASSIFICATION[//CATEGORY[/CATEGORY…]][//REL TO AAA, BBB][//TLP:…]`.

        Returns:
            The label.

        Raises:
            LabelError: `label-invalid`, also if the text is right but not canonical (order, spaces, case).
        """
        if len(text) > _TEXT_BYTES:
            raise _refuse(text, f"longer than {_TEXT_BYTES} bytes")
        level, *sections = text.split("//")
        if level not in _POLICY_OF_LEVEL:
            raise _refuse(text, "no such classification in any policy")
        restrictive: frozenset[str] = frozenset()
        releasable: frozenset[str] = frozenset()
        informative: frozenset[str] = frozenset()
        for section in sections:
            if section.startswith("REL TO "):
                releasable = frozenset(section.removeprefix("REL TO ").split(", "))
            elif section.startswith("TLP:"):
                informative = frozenset({section})
            else:
                restrictive = frozenset(section.split("/"))
        label = cls(_POLICY_OF_LEVEL[level], level, restrictive, releasable, informative)
        # A repeated section, a wrong order or a second spelling can only show up here, and always does.
        if str(label) != text:
            raise _refuse(text, f"not canonical; write {str(label)!r}")
        return label

    def __str__(self) -> str:
        sections = [self.classification]
        if self.restrictive:
            sections.append("/".join(sorted(self.restrictive)))
        if self.releasable:
            others = sorted(self.releasable - {self.origin})
            sections.append("REL TO " + ", ".join([self.origin, *others]))
        sections.extend(sorted(self.informative))
        return "//".join(sections)

    @property
    def origin(self) -> str:
        """Trigraph of the country whose policy marks the label."""
        return POLICIES[self.policy].trigraph if self.policy in POLICIES else ""

    @property
    def national(self) -> frozenset[str]:
        """Its categories that never leave the country of origin."""
        return self.restrictive & POLICIES[self.policy].national

    @property
    def countries(self) -> frozenset[str]:
        """Trigraphs of all countries that it may be released to, the origin among them."""
        return self.releasable or frozenset({self.origin})

    @property
    def _order(self) -> tuple[int, int]:
        """Its two chains as ranks: classification, TLP."""
        tlp = max((_TLP.index(mark) for mark in self.informative), default=-1)
        return POLICIES[self.policy].rank(self.classification), tlp

    def __le__(self, other: Label) -> bool:
        """The lattice's order: `other` is at least as strict in every part. Labels of two policies are incomparable."""
        return (
            self.policy == other.policy
            and all(mine <= theirs for mine, theirs in zip(self._order, other._order, strict=True))
            and self.restrictive <= other.restrictive
            and self.countries >= other.countries
        )

    def join(self, other: Label) -> Label:
        """Return the mildest label that is at least as strict as both: what a summary of two events carries.

        Raises:
            LabelError: `label-invalid`, if the labels are of two policies: no table makes one of the other.
        """
        if self.policy != other.policy:
            raise LabelError("label-invalid", "labels of two policies have no join; send two events")
        level, tlp = (max(pair) for pair in zip(self._order, other._order, strict=True))
        policy = POLICIES[self.policy]
        restrictive = self.restrictive | other.restrictive
        common = self.countries & other.countries
        # Only the origin left, or a national-only category: both are written by leaving REL TO out.
        releasable = common if len(common) > 1 and not restrictive & policy.national else frozenset[str]()
        informative = frozenset({_TLP[tlp]}) if tlp >= 0 else frozenset[str]()
        return Label(self.policy, policy.levels[level], restrictive, releasable, informative)


@dataclass(frozen=True, slots=True)
class Clearance:
    """What an endpoint may read; also the shape of a programme's ceiling. An instance is always valid.

    Attributes:
        country: trigraph of the reader's country.
        policy: whose words they are, a key of `POLICIES`.
        classification: the highest level it may read.
        restrictive: the categories it holds.

    Raises:
        LabelError: `label-invalid`, if a word is unknown.
    """

    country: str
    policy: str
    classification: str
    restrictive: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _check_words(str(self), self.policy, self.classification, self.restrictive)
        if not _TRIGRAPH.fullmatch(self.country):
            raise _refuse(str(self), "begin with the reader's three-letter country code")

    @classmethod
    def parse(cls, text: str) -> Clearance:
        """Read the canonical text form, `USA SECRET//LES/NOFORN`; `str()` is its inverse.

        Raises:
            LabelError: `label-invalid`.
        """
        if len(text) > _TEXT_BYTES:
            raise _refuse(text, f"longer than {_TEXT_BYTES} bytes")
        country, _, rest = text.partition(" ")
        level, _, categories = rest.partition("//")
        if level not in _POLICY_OF_LEVEL:
            raise _refuse(text, "no such classification in any policy")
        restrictive = frozenset(categories.split("/")) if categories else frozenset[str]()
        clearance = cls(country, _POLICY_OF_LEVEL[level], level, restrictive)
        if str(clearance) != text:
            raise _refuse(text, f"not canonical; write {str(clearance)!r}")
        return clearance

    def __str__(self) -> str:
        categories = "//" + "/".join(sorted(self.restrictive)) if self.restrictive else ""
        return f"{self.country} {self.classification}{categories}"

    def covers(self, label: Label) -> bool:
        """Whether level and categories suffice, within one policy and whatever the countries: a ceiling's test."""
        return self.policy == label.policy and bool(
            _compare(self, label.policy, label.classification, label.restrictive)
        )


@dataclass(frozen=True, slots=True)
class Equivalence:
    """A signed table that says what another policy's words count as. What it does not map is not readable.

    Attributes:
        version: number of the table.
        levels: (policy, level) → (policy, level) of another policy; never turns the order around.
        categories: (policy, category) → (policy, category); never holds a national-only category.

    Raises:
        LabelError: `label-invalid`, if the table breaks one of these rules.
    """

    version: int
    levels: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    categories: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for (policy, level), (to_policy, to_level) in self.levels.items():
            _check_words(f"{policy} {level}", policy, level, frozenset())
            _check_words(f"{to_policy} {to_level}", to_policy, to_level, frozenset())
            if policy == to_policy:
                raise _refuse(f"{policy} {level}", "an equivalence maps to another policy")
        for (policy, category), (to_policy, to_category) in self.categories.items():
            for name, word in ((policy, category), (to_policy, to_category)):
                known = POLICIES.get(name)
                if known is None or word not in known.categories:
                    raise _refuse(f"{name} {word}", "no such category")
                if word in known.national:
                    raise _refuse(f"{name} {word}", "a national-only category can't be mapped")
            if policy == to_policy:
                raise _refuse(f"{policy} {category}", "an equivalence maps to another policy")
        self._check_order()

    def _check_order(self) -> None:
        """Refuse a table by which a higher level would count as less than a lower one."""
        for (policy, level), (to_policy, to_level) in self.levels.items():
            for (policy_2, level_2), (to_policy_2, to_level_2) in self.levels.items():
                if (policy, to_policy) != (policy_2, to_policy_2):
                    continue
                higher = POLICIES[policy].rank(level) > POLICIES[policy].rank(level_2)
                if higher and POLICIES[to_policy].rank(to_level) < POLICIES[to_policy].rank(to_level_2):
                    raise _refuse(f"{policy} {level}", f"counts as less than {level_2}, which is lower")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A yes or no with its reason; true if yes.

    Attributes:
        readable: the answer.
        rule: short stable name of the rule that decided.
        text: a sentence for people.
    """

    readable: bool
    rule: str
    text: str

    def __bool__(self) -> bool:
        return self.readable


def _no(rule: str, text: str) -> Verdict:
    return Verdict(readable=False, rule=rule, text=text)


def _compare(clearance: Clearance, policy: str, level: str, categories: frozenset[str]) -> Verdict:
    """Compare level and categories, all in the clearance's own policy."""
    rank = POLICIES[policy].rank
    if rank(level) > rank(clearance.classification):
        return _no("level-too-high", f"{level} is above {clearance.classification}")
    if missing := categories - clearance.restrictive:
        return _no("category-not-held", "does not hold " + ", ".join(sorted(missing)))
    return Verdict(readable=True, rule="cleared", text=f"{clearance} covers the label")


def dominates(clearance: Clearance, label: Label, equivalence: Equivalence) -> Verdict:
    """Whether a reader with this clearance may read what carries this label.

    Args:
        clearance: the reader's.
        label: the event's.
        equivalence: the signed table, asked only if the two are of different policies.

    Returns:
        The answer with its rule: `cleared`, or `national-only`, `not-releasable`, `level-unmapped`,
        `category-unmapped`, `level-too-high`, `category-not-held`.
    """
    if clearance.country != label.origin and label.national:
        return _no("national-only", "/".join(sorted(label.national)) + f" never leaves {label.origin}")
    if clearance.country not in label.countries:
        return _no("not-releasable", f"the label is not releasable to {clearance.country}")
    if clearance.policy == label.policy:
        return _compare(clearance, label.policy, label.classification, label.restrictive)

    policy, level = equivalence.levels.get((label.policy, label.classification), ("", ""))
    if policy != clearance.policy:
        text = f"no equivalent of {label.classification} in policy {clearance.policy} was agreed"
        return _no("level-unmapped", text)
    mapped = {category: equivalence.categories.get((label.policy, category)) for category in label.restrictive}
    if unmapped := sorted(name for name, to in mapped.items() if to is None or to[0] != clearance.policy):
        text = f"no equivalent of {', '.join(unmapped)} in policy {clearance.policy} was agreed"
        return _no("category-unmapped", text)
    return _compare(clearance, policy, level, frozenset(to[1] for to in mapped.values() if to is not None))
