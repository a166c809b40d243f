"""Dominance is a lattice within a policy, and the table between policies never widens."""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from agencybus.label import POLICIES, Clearance, Equivalence, Label, dominates

COUNTRIES = ("USA", "MEX", "CAN", "GTM")
TLP = ("TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED")
POLICY = st.sampled_from(sorted(POLICIES))


def subset(draw: st.DrawFn, words: Collection[str]) -> frozenset[str]:
    """Any subset, drawn as one number: much faster than a set of draws."""
    bits = draw(st.integers(0, 2 ** len(words) - 1))
    return frozenset(word for place, word in enumerate(sorted(words)) if bits >> place & 1)


@st.composite
def labels(draw: st.DrawFn, policy: str | None = None) -> Label:
    name = policy or draw(POLICY)
    known = POLICIES[name]
    categories = subset(draw, known.categories)
    others = subset(draw, [country for country in COUNTRIES if country != known.trigraph])
    releasable = others | {known.trigraph} if others and not categories & known.national else frozenset[str]()
    informative = frozenset({*TLP}) & {draw(st.sampled_from(("", *TLP)))}
    return Label(name, draw(st.sampled_from(known.levels)), categories, releasable, informative)


@st.composite
def same_policy(draw: st.DrawFn, count: int) -> tuple[Label, ...]:
    policy = draw(POLICY)
    return tuple(draw(labels(policy)) for _ in range(count))


@st.composite
def clearances(draw: st.DrawFn) -> Clearance:
    name = draw(POLICY)
    known = POLICIES[name]
    return Clearance(
        draw(st.sampled_from(COUNTRIES)), name, draw(st.sampled_from(known.levels)), subset(draw, known.categories)
    )


@st.composite
def tables(draw: st.DrawFn) -> Equivalence:
    """Any table that is allowed: partial, order-keeping, without national-only categories."""
    levels: dict[tuple[str, str], tuple[str, str]] = {}
    categories: dict[tuple[str, str], tuple[str, str]] = {}
    for source, target in (("US", "MX"), ("MX", "US")):
        own, other = POLICIES[source], POLICIES[target]
        ranks = sorted(draw(st.lists(st.integers(0, len(other.levels) - 1), min_size=len(own.levels), max_size=4)))
        mapped = subset(draw, own.levels)
        for level, rank in zip(own.levels, ranks, strict=True):
            if level in mapped:
                levels[source, level] = (target, other.levels[rank])
        targets = sorted(other.categories - other.national)
        for category in sorted(subset(draw, own.categories - own.national)):
            categories[source, category] = (target, draw(st.sampled_from(targets)))
    return Equivalence(1, levels, categories)


@given(labels())
def test_the_text_form_loses_nothing(label: Label) -> None:
    assert Label.parse(str(label)) == label


@given(clearances())
def test_the_text_form_of_a_clearance_loses_nothing(clearance: Clearance) -> None:
    assert Clearance.parse(str(clearance)) == clearance


@given(labels())
def test_the_order_is_reflexive(label: Label) -> None:
    assert label <= Label.parse(str(label))


@given(same_policy(2))
def test_the_order_is_antisymmetric(pair: tuple[Label, ...]) -> None:
    a, b = pair
    if a <= b <= a:
        assert a == b


@given(same_policy(3))
def test_the_order_is_transitive(three: tuple[Label, ...]) -> None:
    # Joins make a chain out of any three labels, so the premise always holds.
    a, b, c = three[0], three[0].join(three[1]), three[0].join(three[1]).join(three[2])
    assert a <= b
    assert b <= c
    assert a <= c
    if three[0] <= three[1] <= three[2]:
        assert three[0] <= three[2]


@given(same_policy(3))
def test_the_join_is_the_least_upper_bound(three: tuple[Label, ...]) -> None:
    a, b, other = three
    join = a.join(b)
    assert a <= join
    assert b <= join
    upper = join.join(other)  # any upper bound of both is the join of the join with something
    assert join <= upper
    if a <= other and b <= other:
        assert join <= other


@given(same_policy(3))
def test_the_join_is_a_semilattice(three: tuple[Label, ...]) -> None:
    a, b, c = three
    assert a.join(a) == a
    assert a.join(b) == b.join(a)
    assert a.join(b).join(c) == a.join(b.join(c))
    assert (a <= b) == (a.join(b) == b)


@given(labels("US"), labels("MX"))
def test_labels_of_two_policies_are_not_comparable(us: Label, mx: Label) -> None:
    assert not us <= mx
    assert not mx <= us


@given(same_policy(2), clearances(), tables())
def test_who_may_read_the_join_may_read_both_parts_within_a_policy(
    pair: tuple[Label, ...], clearance: Clearance, table: Equivalence
) -> None:
    a, b = pair
    if clearance.policy == a.policy and dominates(clearance, a.join(b), table):
        assert dominates(clearance, a, table)
        assert dominates(clearance, b, table)


@given(labels(), clearances(), clearances(), tables())
def test_more_clearance_never_reads_less(label: Label, low: Clearance, extra: Clearance, table: Equivalence) -> None:
    if low.policy != extra.policy:
        return
    rank = POLICIES[low.policy].rank
    level = max(low.classification, extra.classification, key=rank)
    high = Clearance(low.country, low.policy, level, low.restrictive | extra.restrictive)
    if dominates(low, label, table):
        assert dominates(high, label, table)


@given(labels(), clearances(), tables())
def test_national_only_never_leaves_whatever_the_table_and_the_clearance(
    label: Label, clearance: Clearance, table: Equivalence
) -> None:
    if label.national and clearance.country != label.origin:
        assert dominates(clearance, label, table).rule == "national-only"


@given(labels(), clearances())
def test_without_a_table_no_word_crosses_policies(label: Label, clearance: Clearance) -> None:
    if label.policy != clearance.policy:
        assert not dominates(clearance, label, Equivalence(1))


@given(labels(), clearances(), tables(), st.data())
def test_dropping_a_row_of_the_table_never_widens(
    label: Label, clearance: Clearance, table: Equivalence, data: st.DataObject
) -> None:
    keep = {key: value for key, value in table.levels.items() if data.draw(st.booleans())}
    keep_categories = {key: value for key, value in table.categories.items() if data.draw(st.booleans())}
    smaller = Equivalence(1, keep, keep_categories)
    if dominates(clearance, label, smaller):
        assert dominates(clearance, label, table)
