"""Typed classes of all events, made from the `.avsc` files. Do not edit: run `python -m agencybus_schemas.generate`."""

# No `from __future__ import annotations`: msgspec reads the annotations when a class is made.

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final
from uuid import UUID

from msgspec import Meta, Struct

from agencybus.label import Precedence

__all__ = [
    "TYPES",
    "Alert",
    "AlertCategory",
    "AlertStatus",
    "Answer",
    "Area",
    "CargoHold",
    "CargoLine",
    "Certainty",
    "CodeSystem",
    "Container",
    "Correlation",
    "CorrelationKind",
    "DocumentKind",
    "Event",
    "FugitiveSighting",
    "Handling",
    "HoldAction",
    "IdentificationMethod",
    "Inspection",
    "Instant",
    "Movement",
    "Permission",
    "Position",
    "Precedence",
    "RequestedAction",
    "Severity",
    "Sex",
    "SourceGrading",
    "TransportMode",
    "TravelDocument",
    "Urgency",
    "Vehicle",
    "WantedPerson",
]

Instant = Annotated[datetime, Meta(tz=True)]
"""A point in time with its offset from UTC; microseconds count."""


class Permission(StrEnum):
    """Whether the originator allows a use: not at all, after it was asked, or without asking."""

    FORBIDDEN = "FORBIDDEN"
    WITH_CONSENT = "WITH_CONSENT"
    PERMITTED = "PERMITTED"


class SourceGrading(StrEnum):
    """Reliability of the source on the 4x4 scale.

    A: no doubt. B: mostly reliable. C: mostly unreliable. D: can't be judged (Europol writes X).
    """

    A = "A"
    B = "B"
    C = "C"
    D = "D"


class Handling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a recipient may do with the event, and how good the information is.

    Attributes:
        purpose: Purpose for which it is shared; use for another needs the originator's consent.
        legal_basis: Law, treaty or agreement that allows sharing, with article.
        retain_until: Recipients delete it after this time: microseconds since the Unix epoch, UTC. Later than
            reported_at.
        onward_release: Whether a recipient may pass it on to an authority outside of the audience.
        court_use: Whether it may be used as evidence in court.
        source_grading: Reliability of the source, 4x4 scale.
        information_grading: Quality of the information on the 4x4 scale. 1: certain. 2: known to the source itself. 3:
            hearsay, corroborated. 4: hearsay, not corroborated.
        personal_data: Whether it contains data about an identified or identifiable person.
    """

    purpose: Annotated[str, Meta(min_length=1, max_length=256)]
    legal_basis: Annotated[str, Meta(min_length=1, max_length=256)]
    retain_until: Instant
    onward_release: Permission
    court_use: Permission
    source_grading: SourceGrading
    information_grading: Annotated[int, Meta(ge=1, le=4)]
    personal_data: bool


class CorrelationKind(StrEnum):
    """What an event does to an earlier one.

    UPDATES: takes its place. CANCELS: the earlier one no longer holds.
    """

    UPDATES = "UPDATES"
    CANCELS = "CANCELS"


class Correlation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this event changes an earlier one.

    Attributes:
        kind: What this event does to the earlier one.
        event_id: event_id of the event that is meant, 16 bytes.
        root: event_id of the first event of the story, 16 bytes. Everything about one story has the same root.
    """

    kind: CorrelationKind
    event_id: UUID
    root: UUID


class AlertStatus(StrEnum):
    """Whether an alert is meant in earnest (CAP alert.status).

    ACTUAL: act on it. EXERCISE: for participants of an exercise. SYSTEM: for machines. TEST: ignore it.
    """

    ACTUAL = "ACTUAL"
    EXERCISE = "EXERCISE"
    SYSTEM = "SYSTEM"
    TEST = "TEST"


class AlertCategory(StrEnum):
    """Kind of subject (CAP info.category)."""

    OTHER = "OTHER"
    GEO = "GEO"
    MET = "MET"
    SAFETY = "SAFETY"
    SECURITY = "SECURITY"
    RESCUE = "RESCUE"
    FIRE = "FIRE"
    HEALTH = "HEALTH"
    ENV = "ENV"
    TRANSPORT = "TRANSPORT"
    INFRA = "INFRA"
    CBRNE = "CBRNE"


class Urgency(StrEnum):
    """CAP info.urgency: when to act.

    IMMEDIATE: now. EXPECTED: within the hour. FUTURE: soon. PAST: no longer.
    """

    UNKNOWN = "UNKNOWN"
    IMMEDIATE = "IMMEDIATE"
    EXPECTED = "EXPECTED"
    FUTURE = "FUTURE"
    PAST = "PAST"


class Severity(StrEnum):
    """CAP info.severity: threat to life or property."""

    UNKNOWN = "UNKNOWN"
    EXTREME = "EXTREME"
    SEVERE = "SEVERE"
    MODERATE = "MODERATE"
    MINOR = "MINOR"


class Certainty(StrEnum):
    """CAP info.certainty.

    LIKELY: more than 50 percent.
    """

    UNKNOWN = "UNKNOWN"
    OBSERVED = "OBSERVED"
    LIKELY = "LIKELY"
    POSSIBLE = "POSSIBLE"
    UNLIKELY = "UNLIKELY"


class Sex(StrEnum):
    """Sex as published."""

    UNKNOWN = "UNKNOWN"
    FEMALE = "FEMALE"
    MALE = "MALE"
    OTHER = "OTHER"


class WantedPerson(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person who is wanted; never a victim or a missing person.

    Attributes:
        name: Name as published.
        aliases: Other names.
        birth_dates: Dates of birth used: days since 1970-01-01.
        birth_place: Place of birth as published.
        nationality: Nationality as published.
        sex: Sex as published.
        height_min_cm: Least height in centimetres.
        height_max_cm: Greatest height in centimetres.
        weight_min_kg: Least weight in kilograms.
        weight_max_kg: Greatest weight in kilograms.
        hair: Hair as published.
        eyes: Eyes as published.
        marks: Scars, marks and tattoos as published, plain text.
        occupations: Occupations as published.
        countries: Where the person may be: ISO 3166-1 alpha-3.
        offences: What the person is wanted for.
        warrant: Number of the warrant or mandamiento and the court, if known.
        ncic: NCIC number, if known.
        reward_usd: Greatest reward offered in whole US dollars.
        photos: Addresses of photographs.
    """

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    aliases: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...], Meta(max_length=64)] = ()
    birth_dates: Annotated[tuple[date, ...], Meta(max_length=16)] = ()
    birth_place: Annotated[str, Meta(max_length=128)] = ""
    nationality: Annotated[str, Meta(max_length=128)] = ""
    sex: Sex = Sex.UNKNOWN
    height_min_cm: Annotated[int, Meta(ge=30, le=300)] | None = None
    height_max_cm: Annotated[int, Meta(ge=30, le=300)] | None = None
    weight_min_kg: Annotated[int, Meta(ge=1, le=500)] | None = None
    weight_max_kg: Annotated[int, Meta(ge=1, le=500)] | None = None
    hair: Annotated[str, Meta(max_length=128)] = ""
    eyes: Annotated[str, Meta(max_length=128)] = ""
    marks: Annotated[str, Meta(max_length=2048)] = ""
    occupations: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(max_length=16)] = ()
    countries: Annotated[
        tuple[Annotated[str, Meta(min_length=3, max_length=3, pattern="^[A-Z]{3}\\Z")], ...], Meta(max_length=32)
    ] = ()
    offences: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(max_length=32)] = ()
    warrant: Annotated[str, Meta(max_length=128)] = ""
    ncic: Annotated[str, Meta(max_length=16)] = ""
    reward_usd: Annotated[int, Meta(ge=0, le=1000000000)] | None = None
    photos: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=512)], ...], Meta(max_length=16)] = ()


class Area(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """CAP info.area: where it holds.

    Attributes:
        description: The area in words.
        latitude_deg: Centre of the circle: WGS 84 latitude in degrees, north positive.
        longitude_deg: Centre of the circle: WGS 84 longitude in degrees, east positive.
        radius_km: Radius of the circle in kilometres.
        polygon: CAP polygon: pairs latitude,longitude in WGS 84 degrees, separated by spaces, first equals last.
        geocodes: Codes of the area with their system, such as SAME=006037.
    """

    description: Annotated[str, Meta(min_length=1, max_length=256)]
    latitude_deg: Annotated[float, Meta(ge=-90.0, le=90.0)] | None = None
    longitude_deg: Annotated[float, Meta(ge=-180.0, le=180.0)] | None = None
    radius_km: Annotated[float, Meta(ge=0.0, le=20038.0)] | None = None
    polygon: Annotated[str, Meta(max_length=8192)] = ""
    geocodes: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=128)] = ()


class HoldAction(StrEnum):
    """What happens to the hold."""

    SET = "SET"
    CHANGED = "CHANGED"
    RELEASED = "RELEASED"


class CodeSystem(StrEnum):
    """Whose code lists are meant.

    CBP: disposition codes of CAMIR appendix D, port codes of Schedule D. ANAM: its own, with aduanas of SAT's c_Aduana.
    """

    CBP = "CBP"
    ANAM = "ANAM"


class Inspection(StrEnum):
    """Inspection that the hold waits for."""

    NONE = "NONE"
    DOCUMENTS = "DOCUMENTS"
    NON_INTRUSIVE = "NON_INTRUSIVE"
    TAILGATE = "TAILGATE"
    INTENSIVE = "INTENSIVE"
    AGRICULTURE = "AGRICULTURE"
    OTHER = "OTHER"


class TransportMode(StrEnum):
    """Mode of transport (X12 309 M10-02)."""

    OTHER = "OTHER"
    OCEAN = "OCEAN"
    TRUCK = "TRUCK"
    RAIL = "RAIL"
    AIR = "AIR"


class Container(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of equipment (X12 309 VID).

    Attributes:
        number: Container number (ISO 6346) or trailer number, without separators.
        size_type: Size and type, ISO 6346, such as 45G1.
        seals: Seal numbers.
    """

    number: Annotated[str, Meta(min_length=1, max_length=17, pattern="^[0-9A-Z]+\\Z")]
    size_type: Annotated[str, Meta(max_length=4)] = ""
    seals: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=15)], ...], Meta(max_length=8)] = ()


class CargoLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of goods (X12 309 N10).

    Attributes:
        hs_code: Harmonized System code, 4 to 10 digits without points.
        quantity: Number of packages.
        unit: Unit of quantity: X12 355 or UN/ECE Rec 20 code, such as PKG.
        gross_weight_kg: Gross weight in kilograms.
        description: Goods as manifested.
    """

    hs_code: Annotated[str, Meta(min_length=4, max_length=10, pattern="^[0-9]{4,10}\\Z")]
    quantity: Annotated[int, Meta(ge=0, le=1000000000)]
    unit: Annotated[str, Meta(min_length=1, max_length=3)]
    gross_weight_kg: Annotated[float, Meta(ge=0.0, le=1000000000.0)] | None = None
    description: Annotated[str, Meta(max_length=512)] = ""


class IdentificationMethod(StrEnum):
    """How the person was recognised."""

    OTHER = "OTHER"
    OFFICER = "OFFICER"
    DOCUMENT = "DOCUMENT"
    BIOMETRIC = "BIOMETRIC"
    PLATE_READER = "PLATE_READER"
    CAMERA = "CAMERA"
    WITNESS = "WITNESS"
    INFORMANT = "INFORMANT"


class Position(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point on the ground.

    Attributes:
        latitude_deg: WGS 84 latitude in degrees, north positive.
        longitude_deg: WGS 84 longitude in degrees, east positive.
        accuracy_m: Radius in metres that holds the true point with 95 percent; null if not known.
    """

    latitude_deg: Annotated[float, Meta(ge=-90.0, le=90.0)]
    longitude_deg: Annotated[float, Meta(ge=-180.0, le=180.0)]
    accuracy_m: Annotated[int, Meta(ge=0, le=1000000)] | None = None


class Movement(StrEnum):
    """What the person did."""

    UNKNOWN = "UNKNOWN"
    STAYING = "STAYING"
    MOVING = "MOVING"
    ENTERING_COUNTRY = "ENTERING_COUNTRY"
    LEAVING_COUNTRY = "LEAVING_COUNTRY"


class Vehicle(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vehicle the person used.

    Attributes:
        plate: Number plate, capitals and digits without separators; empty if not seen.
        plate_issuer: Who issued the plate: ISO 3166-2, such as US-TX or MX-CHH.
        vin: Vehicle identification number, ISO 3779.
        description: Make, model, year, colour.
    """

    plate: Annotated[str, Meta(max_length=16)] = ""
    plate_issuer: Annotated[str, Meta(max_length=8)] = ""
    vin: Annotated[str, Meta(max_length=17)] = ""
    description: Annotated[str, Meta(max_length=128)] = ""


class DocumentKind(StrEnum):
    """Kind of document."""

    OTHER = "OTHER"
    PASSPORT = "PASSPORT"
    IDENTITY_CARD = "IDENTITY_CARD"
    DRIVING_LICENCE = "DRIVING_LICENCE"
    VISA = "VISA"


class TravelDocument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document the person showed.

    Attributes:
        kind: Kind of document.
        number: Number of the document.
        issuer: Issuing country: ISO 3166-1 alpha-3.
    """

    kind: DocumentKind
    number: Annotated[str, Meta(min_length=1, max_length=32)]
    issuer: Annotated[str, Meta(min_length=3, max_length=3, pattern="^[A-Z]{3}\\Z")]


class Answer(StrEnum):
    """Answer to a question."""

    UNKNOWN = "UNKNOWN"
    NO = "NO"
    YES = "YES"


class RequestedAction(StrEnum):
    """What the originator asks of the recipients, within their own law.

    INFORM: know it.
    """

    INFORM = "INFORM"
    OBSERVE = "OBSERVE"
    CALL_BEFORE_ACTING = "CALL_BEFORE_ACTING"
    DETAIN = "DETAIN"


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every event carries, whatever its type.

    Each type's schema begins with these fields.

    Attributes:
        event_id: Identity of this event: a UUID of version 7 (RFC 9562), 16 bytes. Its time part is when the event was
            made, in milliseconds.
        reported_at: When the originator made this event: microseconds since the Unix epoch, UTC.
        occurred_at: When what is reported happened: microseconds since the Unix epoch, UTC. Not later than reported_at,
            but for 5 minutes of clock difference.
        reference: The originator's own reference, printable ASCII. It names one message for ever: the same reference
            published twice is delivered once.
        originator: Name of the endpoint that publishes, such as us.cbp/ntc-cargo.
        label: Classification, caveats and releasability in canonical text, such as SECRET//LES//REL TO USA, MEX.
        precedence: How fast the event must travel.
        programme: Name of the agreement under which it is shared, such as cargo-targeting.
        handling: What a recipient may do with it.
        correlation: Set if this event updates or cancels an earlier one; null for the first of a story.
    """

    type_name: ClassVar[str]

    event_id: UUID
    reported_at: Instant
    occurred_at: Instant
    reference: Annotated[str, Meta(min_length=1, max_length=128, pattern="^[ -~]+\\Z")]
    originator: Annotated[str, Meta(min_length=3, max_length=128, pattern="^[a-z]{2}\\.[a-z0-9-]+/[a-z0-9-]+\\Z")]
    label: Annotated[str, Meta(min_length=1, max_length=256)]
    precedence: Precedence
    programme: Annotated[str, Meta(min_length=1, max_length=64, pattern="^[a-z][a-z0-9-]*\\Z")]
    handling: Handling
    correlation: Correlation | None = None


class Alert(Event, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A warning of an authority: a wanted person, or an alert of the Common Alerting Protocol 1.2 (CAP).

    Compression is on (no compress attribute): all its text is written by the issuing authority, so nobody outside can
    place guesses beside secrets.

    Attributes:
        status: Whether it is meant in earnest.
        category: Kind of subject; SECURITY for a wanted person.
        event: CAP info.event: what it is about in a few words, such as Wanted person.
        urgency: When to act.
        severity: How bad it is.
        certainty: How sure it is.
        expires_at: When the alert ends: microseconds since the Unix epoch, UTC; null if it stands until cancelled.
        language: Language of the texts, BCP 47, such as en-US or es-MX.
        headline: The alert in a line; the name for a wanted person.
        description: The alert in plain text, without markup.
        instruction: What to do, or the warning, such as: should be considered armed and dangerous. Plain text.
        contact: Whom to call: office and telephone number.
        web: Address of the public page, if there is one.
        person: The wanted person, if the alert is about one.
        areas: Where it holds; empty if everywhere.
    """

    type_name: ClassVar[str] = "alert"

    status: AlertStatus
    category: AlertCategory
    event: Annotated[str, Meta(min_length=1, max_length=128)]
    urgency: Urgency = Urgency.UNKNOWN
    severity: Severity = Severity.UNKNOWN
    certainty: Certainty = Certainty.UNKNOWN
    expires_at: Instant | None = None
    language: Annotated[str, Meta(min_length=2, max_length=16)] = "en-US"
    headline: Annotated[str, Meta(min_length=1, max_length=256)]
    description: Annotated[str, Meta(max_length=16384)] = ""
    instruction: Annotated[str, Meta(max_length=4096)] = ""
    contact: Annotated[str, Meta(max_length=256)] = ""
    web: Annotated[str, Meta(max_length=512)] = ""
    person: WantedPerson | None = None
    areas: Annotated[tuple[Area, ...], Meta(max_length=32)] = ()


class CargoHold(Event, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A customs authority holds cargo, changes the hold or releases it.

    Compression is off: shippers and carriers choose names, seals and descriptions of goods (X12 309), and could read
    from the length of a frame whether they guessed what stands beside them.

    Attributes:
        action: What happens to the hold. CHANGED and RELEASED carry a correlation to the event before.
        hold_number: The holding authority's number of the hold, the same from SET to RELEASED.
        authority: Authority that decides about the hold, such as CBP, USDA-APHIS or ANAM.
        code_system: Whose codes disposition and port are.
        disposition: Disposition code, such as 1H (CBP hold at port of discharge) or 7H (non-intrusive inspection).
        port: Where it is held: four digits of CBP (2304 Laredo) or the aduana (24 Nuevo Laredo).
        inspection: Inspection that the hold waits for.
        reason: Why it is held, for the recipients only, plain text.
        mode: Mode of transport.
        carrier_scac: Carrier: Standard Carrier Alpha Code (M10-01).
        conveyance: Vessel, train, truck plate or flight (M10-05).
        conveyance_id: IMO number of the vessel or other registration (M10-04).
        voyage: Voyage, trip or flight number (M10-06).
        bill: Bill of lading (M11-01).
        house_bill: House bill under it, if only that is held.
        entry_number: CBP entry number, if filed.
        pedimento: Mexican customs declaration, 15 digits, if filed.
        shipper: Shipper as manifested (N1 SH).
        consignee: Consignee as manifested (N1 CN).
        containers: Equipment that is held; empty for the whole bill.
        lines: Goods that are held.
    """

    type_name: ClassVar[str] = "cargo_hold"

    action: HoldAction
    hold_number: Annotated[str, Meta(min_length=1, max_length=64)]
    authority: Annotated[str, Meta(min_length=1, max_length=64)]
    code_system: CodeSystem
    disposition: Annotated[str, Meta(min_length=1, max_length=8, pattern="^[0-9A-Z_]+\\Z")]
    port: Annotated[str, Meta(min_length=2, max_length=8, pattern="^[0-9A-Z]+\\Z")]
    inspection: Inspection = Inspection.NONE
    reason: Annotated[str, Meta(max_length=512)] = ""
    mode: TransportMode
    carrier_scac: Annotated[str, Meta(min_length=2, max_length=4, pattern="^[A-Z]{2,4}\\Z")]
    conveyance: Annotated[str, Meta(max_length=64)] = ""
    conveyance_id: Annotated[str, Meta(max_length=16)] = ""
    voyage: Annotated[str, Meta(max_length=16)] = ""
    bill: Annotated[str, Meta(min_length=1, max_length=32)]
    house_bill: Annotated[str, Meta(max_length=32)] = ""
    entry_number: Annotated[str, Meta(max_length=16)] = ""
    pedimento: Annotated[str, Meta(max_length=21)] = ""
    shipper: Annotated[str, Meta(max_length=128)] = ""
    consignee: Annotated[str, Meta(max_length=128)] = ""
    containers: Annotated[tuple[Container, ...], Meta(max_length=200)] = ()
    lines: Annotated[tuple[CargoLine, ...], Meta(max_length=200)] = ()


class FugitiveSighting(Event, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody saw a wanted person.

    Compression is off: remarks and names come from witnesses, who could place guesses beside secrets and read the
    length of a frame.

    Attributes:
        subject_name: Name of the person as on the warrant or alert.
        subject_event_id: event_id of the alert about the person, 16 bytes; null if there was none.
        subject_reference: The issuing authority's reference for the person: warrant, NCIC or FBI number.
        method: How the person was recognised.
        confidence_percent: How sure the observer is that it was this person, in percent.
        observed_by: Unit, system or sensor that observed; never the name of an officer or a source.
        position: Where it was; null if only the place is known.
        place: Where it was, in words.
        country: Country of the place: ISO 3166-1 alpha-3.
        port: Port of entry, if it was at one: CBP port code, or aduana code for Mexico.
        movement: What the person did.
        heading_deg: Direction of movement in degrees clockwise from true north.
        vehicles: Vehicles the person used.
        document: Document the person showed.
        companions: Number of persons with the subject.
        armed: Whether the person is armed.
        requested_action: What the originator asks of the recipients.
        remarks: What else was seen, in plain text.
    """

    type_name: ClassVar[str] = "fugitive_sighting"

    subject_name: Annotated[str, Meta(min_length=1, max_length=128)]
    subject_event_id: UUID | None = None
    subject_reference: Annotated[str, Meta(max_length=128)] = ""
    method: IdentificationMethod
    confidence_percent: Annotated[int, Meta(ge=0, le=100)]
    observed_by: Annotated[str, Meta(min_length=1, max_length=128)]
    position: Position | None = None
    place: Annotated[str, Meta(min_length=1, max_length=256)]
    country: Annotated[str, Meta(min_length=3, max_length=3, pattern="^[A-Z]{3}\\Z")]
    port: Annotated[str, Meta(max_length=16)] = ""
    movement: Movement = Movement.UNKNOWN
    heading_deg: Annotated[int, Meta(ge=0, le=359)] | None = None
    vehicles: Annotated[tuple[Vehicle, ...], Meta(max_length=8)] = ()
    document: TravelDocument | None = None
    companions: Annotated[int, Meta(ge=0, le=100)] = 0
    armed: Answer = Answer.UNKNOWN
    requested_action: RequestedAction = RequestedAction.INFORM
    remarks: Annotated[str, Meta(max_length=2048)] = ""


TYPES: Final[dict[str, type[Event]]] = {
    "alert": Alert,
    "cargo_hold": CargoHold,
    "fugitive_sighting": FugitiveSighting,
}
"""The class of each event type."""
