"""Events and schemas to test with: full, valid, and made up."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from agencybus.codec import uuid7
from agencybus.label import Precedence
from agencybus_schemas.events import (
    Alert,
    AlertCategory,
    AlertStatus,
    Area,
    CargoHold,
    CargoLine,
    CodeSystem,
    Container,
    Correlation,
    CorrelationKind,
    Event,
    FugitiveSighting,
    Handling,
    HoldAction,
    IdentificationMethod,
    Inspection,
    Permission,
    Position,
    Sex,
    SourceGrading,
    TransportMode,
    Vehicle,
    WantedPerson,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
AT = 1_772_366_400_123_456  # NOW, microseconds since the Unix epoch


def event_id(number: int = 1) -> UUID:
    return uuid7(AT, number.to_bytes(10, "big"))


def common(**changes: Any) -> dict[str, Any]:
    """The common fields of an event."""
    fields = {
        "event_id": event_id(),
        "reported_at": NOW,
        "occurred_at": NOW - timedelta(minutes=5),
        "reference": "2304-26-000042/1",
        "originator": "us.cbp/ntc-cargo",
        "label": "UNCLASSIFIED//LES//REL TO USA, MEX",
        "precedence": Precedence.PRIORITY,
        "programme": "cargo-targeting",
        "handling": Handling(
            purpose="Customs enforcement",
            legal_basis="US-Mexico Customs Mutual Assistance Agreement of 2000, art. 5",
            retain_until=NOW + timedelta(days=1825),
            onward_release=Permission.WITH_CONSENT,
            court_use=Permission.WITH_CONSENT,
            source_grading=SourceGrading.B,
            information_grading=2,
            personal_data=True,
        ),
    }
    return fields | changes


def cargo_hold(**changes: Any) -> CargoHold:
    """A hold of one container of tires at Laredo."""
    fields = common() | {
        "action": HoldAction.SET,
        "hold_number": "2304-26-000042",
        "authority": "CBP",
        "code_system": CodeSystem.CBP,
        "disposition": "7H",
        "port": "2304",
        "inspection": Inspection.NON_INTRUSIVE,
        "reason": "Density anomaly in the roof of the container",
        "mode": TransportMode.TRUCK,
        "carrier_scac": "ABCD",
        "conveyance": "TX 12345",
        "bill": "99XXZ999999X",
        "shipper": "XXXX DO BRASIL INDUSTRIA E COMERCIO LTDA.",
        "consignee": "XXXX NORTH AMERICA TIRE LLC",
        "containers": (Container(number="HASU5044950", size_type="45G1", seals=("MLBR3014246",)),),
        "lines": (
            CargoLine(hs_code="401120", quantity=390, unit="PKG", gross_weight_kg=14404.0, description="TRUCK TIRES"),
        ),
    }
    return CargoHold(**(fields | changes))


def fugitive_sighting(**changes: Any) -> FugitiveSighting:
    """A sighting at a bridge."""
    fields = common(programme="fugitives", originator="us.usms/watch-floor") | {
        "subject_name": "JOHN EXAMPLE",
        "subject_event_id": event_id(7),
        "method": IdentificationMethod.PLATE_READER,
        "confidence_percent": 80,
        "observed_by": "Laredo bridge 2, lane 7",
        "position": Position(latitude_deg=27.4989, longitude_deg=-99.507, accuracy_m=15),
        "place": "Juárez-Lincoln International Bridge, Laredo, Texas",
        "country": "USA",
        "vehicles": (Vehicle(plate="ABC1234", plate_issuer="US-TX", description="grey pickup"),),
        "remarks": "Two passengers.\nDriver turned back before the booth.",
    }
    return FugitiveSighting(**(fields | changes))


def alert(**changes: Any) -> Alert:
    """An update of an alert about a wanted person."""
    fields = common(
        programme="fugitives",
        originator="us.fbi/wanted",
        correlation=Correlation(kind=CorrelationKind.UPDATES, event_id=event_id(3), root=event_id(2)),
    ) | {
        "status": AlertStatus.ACTUAL,
        "category": AlertCategory.SECURITY,
        "event": "Wanted person",
        "headline": "JOHN EXAMPLE",
        "description": "Unlawful Flight to Avoid Prosecution - Murder",
        "instruction": "SHOULD BE CONSIDERED ARMED AND EXTREMELY DANGEROUS",
        "person": WantedPerson(
            name="JOHN EXAMPLE",
            aliases=("Johnny", "José Ejemplo"),
            birth_dates=(datetime(1973, 1, 19, tzinfo=UTC).date(), datetime(1969, 12, 31, tzinfo=UTC).date()),
            sex=Sex.MALE,
            height_min_cm=173,
            height_max_cm=178,
            countries=("MEX",),
            offences=("Murder",),
            reward_usd=20000,
        ),
        "areas": (
            Area(
                description="Los Angeles County",
                latitude_deg=34.05,
                longitude_deg=-118.24,
                radius_km=80.0,
                geocodes=("SAME=006037",),
            ),
        ),
    }
    return Alert(**(fields | changes))


def all_events() -> tuple[Event, ...]:
    return alert(), cargo_hold(), fugitive_sighting()


def schema(*fields: Any, name: str = "thing", **attributes: Any) -> bytes:
    """A schema of its own; a field is given as (name, type) or as a dict."""
    described = [
        {"name": field[0], "type": field[1], "doc": "A field."} if isinstance(field, tuple) else field
        for field in fields
    ]
    outer = {"type": "record", "name": name, "namespace": "agencybus", "doc": "A thing.", "fields": described}
    return json.dumps(outer | attributes).encode()
