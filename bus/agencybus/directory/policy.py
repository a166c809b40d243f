"""Who may publish and who may read: pure functions of (directory, endpoint, type, label, programme, time).

Permitted = what the joint directory allows ∩ what the file of every country concerned allows; deny wins. The
publisher, every reader and every auditor call the same functions with the same values and get the same answer.

A reader gets an event if none of these rules says no, asked in this order:

| rule | says no if |
|---|---|
| `withdrawn` | the reader's country withdrew it |
| `denied` | a country concerned denies this way |
| `not-a-party` | the reader's agency is no party to the programme |
| `not-reading` | the reader's country did not give it the programme to read |
| `direction` | the programme does not cross the border in this direction |
| `not-released` | the publisher's country does not release this type to the reader's country |
| `not-received` | the reader's country does not receive this type from the publisher's country |
| a rule of `label.dominates` | the reader's clearance does not dominate the label: `national-only`, … |
| `no-key` | the reader has no encapsulation key for this moment |

The yes is `entitled`, or `publisher` for the publishing endpoint itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from agencybus.directory.model import Directory, Endpoint, Programme
from agencybus.errors import PolicyError
from agencybus.label import Label, dominates
from agencybus.wire import ids

FOREVER: Final = 2**63 - 1  # microseconds; "no boundary ahead"


class Audience(msgspec.Struct, frozen=True):
    """The endpoints that may read, the publisher among them.

    Attributes:
        endpoints: names, sorted.
        digest: of them with their encapsulation keys at that moment, 48 bytes (wire.ids.audience_digest).
        directory: digest of the directory that says so, 48 bytes.
        until: first moment after the asked one at which the passing of time alone may change the answer, microseconds.
    """

    endpoints: tuple[str, ...]
    digest: bytes
    directory: bytes
    until: int


class Ruling(msgspec.Struct, frozen=True):
    """Yes or no for one endpoint.

    Attributes:
        endpoint: its name.
        allowed: whether it may read.
        rule: short stable name of the rule that decided: one of this module's table, or a code of `may_publish`.
        text: a sentence for people.
    """

    endpoint: str
    allowed: bool
    rule: str
    text: str


def may_publish(  # noqa: PLR0917 - the six values are all that the rules depend on
    d: Directory, endpoint: str, event_type: str, label: Label, programme: str, at: int
) -> None:
    """Refuse what an endpoint may not publish.

    Args:
        d: the directory.
        endpoint: the publisher's name.
        event_type: such as `cargo_hold`.
        label: of the events.
        programme: its name.
        at: the moment of sealing, microseconds.

    Raises:
        PolicyError: `endpoint-unknown`, `endpoint-withdrawn`, `programme-unknown`, `programme-not-in-force`,
            `programme-type-refused`, `programme-party-missing`, `right-missing`, `label-policy-foreign`,
            `ceiling-exceeded`, `clearance-exceeded`.
    """
    publisher, agreement = _parties(d, endpoint, programme)
    if publisher.withdrawn(at):
        raise PolicyError("endpoint-withdrawn", f"{publisher.country} withdrew {endpoint}")
    if not agreement.in_force(at):
        raise PolicyError("programme-not-in-force", f"{programme} has not begun or has ended")
    if event_type not in agreement.types:
        raise PolicyError("programme-type-refused", f"{programme} does not carry {event_type}")
    if publisher.agency not in agreement.parties:
        raise PolicyError("programme-party-missing", f"{publisher.agency} is no party to {programme}")
    if event_type not in publisher.publishes.get(programme, ()):
        raise PolicyError("right-missing", f"{endpoint} has no right to publish {event_type} in {programme}")
    own_policy = d.countries[publisher.country].policy
    if label.policy != own_policy:
        raise PolicyError("label-policy-foreign", f"{endpoint} labels in policy {own_policy} only")
    ceiling = agreement.ceilings.get(label.policy)
    if ceiling is None or not ceiling.covers(label):
        raise PolicyError("ceiling-exceeded", f"{label} is above what {programme} carries")
    if not publisher.clearance.covers(label):
        raise PolicyError("clearance-exceeded", f"{label} is above the clearance of {endpoint}")


def may_read(  # noqa: PLR0917 - as may_publish
    d: Directory, reader: str, publisher: str, event_type: str, label: Label, programme: str, at: int
) -> Ruling:
    """Whether an endpoint may read what another published.

    Args:
        d: the directory.
        reader: the name of the endpoint that asks.
        publisher: the name of the endpoint that published.
        event_type: such as `cargo_hold`.
        label: of the events.
        programme: its name.
        at: the moment of sealing, microseconds.

    Returns:
        The ruling. A publisher that has no right is a no for every reader, under the code of `may_publish`.
    """
    try:
        may_publish(d, publisher, event_type, label, programme, at)
    except PolicyError as error:
        return Ruling(reader, allowed=False, rule=error.rule, text=error.what)
    target = d.endpoints.get(reader)
    if target is None:
        return Ruling(reader, allowed=False, rule="endpoint-unknown", text="not in the directory")
    return _Way(d, publisher, event_type, label, programme, at).ruling(target)


def explain(  # noqa: PLR0917 - as may_publish
    d: Directory, publisher: str, event_type: str, label: Label, programme: str, at: int
) -> list[Ruling]:
    """Every endpoint of the directory with a yes or no and the rule that said so, sorted by name.

    Args:
        d: the directory.
        publisher: the name of the endpoint that would publish.
        event_type: such as `cargo_hold`.
        label: of the events.
        programme: its name.
        at: the moment of sealing, microseconds.

    Returns:
        One ruling per endpoint. If the publisher may not publish, every one is a no that says why.
    """
    try:
        may_publish(d, publisher, event_type, label, programme, at)
    except PolicyError as error:
        return [Ruling(name, allowed=False, rule=error.rule, text=error.what) for name in sorted(d.endpoints)]
    way = _Way(d, publisher, event_type, label, programme, at)
    return [way.ruling(d.endpoints[name]) for name in sorted(d.endpoints)]


def audience(  # noqa: PLR0917 - as may_publish
    d: Directory, publisher: str, event_type: str, label: Label, programme: str, at: int
) -> Audience:
    """Return the endpoints that may read.

    Args:
        d: the directory.
        publisher: the name of the endpoint that publishes.
        event_type: such as `cargo_hold`.
        label: of the events.
        programme: its name.
        at: the moment of sealing, microseconds.

    Returns:
        The audience, never empty and never only the publisher.

    Raises:
        PolicyError: as `may_publish`, or `audience-empty` if nobody but the publisher may read.
    """
    may_publish(d, publisher, event_type, label, programme, at)
    way = _Way(d, publisher, event_type, label, programme, at)
    keys = {name: d.endpoints[name].kem_at(at) for name in sorted(d.endpoints)}
    members = {name: key.id for name, key in keys.items() if key and way.refusal(d.endpoints[name]) is None}
    names = tuple(members)
    if not set(names) - {publisher}:
        raise PolicyError("audience-empty", f"nobody but {publisher} may read {event_type} {label} in {programme}")
    until = min((moment for moment in _boundaries(d, programme) if moment > at), default=FOREVER)
    return Audience(names, ids.audience_digest(members.items()), d.digest, until)


def _parties(d: Directory, endpoint: str, programme: str) -> tuple[Endpoint, Programme]:
    publisher = d.endpoints.get(endpoint)
    if publisher is None:
        raise PolicyError("endpoint-unknown", f"{endpoint} is not in the directory")
    agreement = d.programmes.get(programme)
    if agreement is None:
        raise PolicyError("programme-unknown", f"{programme} is not in the directory")
    return publisher, agreement


@dataclass(frozen=True, slots=True)
class _Way:
    """The way of an event whose publisher has the right, before it is known who reads."""

    d: Directory
    publisher: str
    event_type: str
    label: Label
    programme: str
    at: int

    def ruling(self, reader: Endpoint) -> Ruling:
        refusal = self.refusal(reader)
        if refusal is not None:
            rule, text = refusal
            return Ruling(reader.name, allowed=False, rule=rule, text=text)
        if reader.name == self.publisher:
            return Ruling(reader.name, allowed=True, rule="publisher", text="a publisher reads what it published")
        text = f"reads {self.programme}, and {reader.clearance} dominates {self.label}"
        return Ruling(reader.name, allowed=True, rule="entitled", text=text)

    def refusal(self, reader: Endpoint) -> tuple[str, str] | None:
        """Return the first rule of the module's table that says no, with its sentence."""
        if reader.name != self.publisher:
            no = self._refused_reader(reader) or self._refused_border(reader.country)
            if no is not None:
                return no
            verdict = dominates(reader.clearance, self.label, self.d.equivalence)
            if not verdict:
                return verdict.rule, verdict.text
        if reader.kem_at(self.at) is None:
            return "no-key", "has no encapsulation key for this moment"
        return None

    def _refused_reader(self, reader: Endpoint) -> tuple[str, str] | None:
        if reader.withdrawn(self.at):
            return "withdrawn", f"{reader.country} withdrew it"
        for code in sorted({self.publisher[:2], reader.country}):
            for rule in self.d.rules[code].deny:
                if rule.matches(
                    programme=self.programme,
                    event_type=self.event_type,
                    publisher=self.publisher,
                    reader=reader.name,
                ):
                    return "denied", f"{code} denies it" + (f": {rule.reason}" if rule.reason else "")
        if reader.agency not in self.d.programmes[self.programme].parties:
            return "not-a-party", f"{reader.agency} is no party to {self.programme}"
        if self.programme not in reader.reads:
            return "not-reading", f"{reader.country} did not give it {self.programme} to read"
        return None

    def _refused_border(self, target: str) -> tuple[str, str] | None:
        """Ask what only concerns events that leave their country."""
        source = self.publisher[:2]
        if source == target:
            return None
        if (source, target) not in self.d.programmes[self.programme].directions:
            return "direction", f"{self.programme} does not cross from {source} to {target}"
        what = f"{self.event_type} of {self.programme}"
        if not any(
            rule.programme == self.programme and self.event_type in rule.types and target in rule.to
            for rule in self.d.rules[source].releases
        ):
            return "not-released", f"{source} does not release {what} to {target}"
        if not any(
            rule.programme == self.programme and self.event_type in rule.types and source in rule.from_
            for rule in self.d.rules[target].receives
        ):
            return "not-received", f"{target} does not receive {what} from {source}"
        return None


def _boundaries(d: Directory, programme: str) -> Iterator[int]:
    """Every moment at which time alone may change an audience of this programme, microseconds, unsorted."""
    agreement = d.programmes[programme]
    yield agreement.not_before
    yield agreement.not_after
    for endpoint in d.endpoints.values():
        if endpoint.withdrawn_at is not None:
            yield endpoint.withdrawn_at
        for key in endpoint.kems:
            yield key.not_before
            yield key.not_after
