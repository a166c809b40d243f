"""The Wanted API's JSON, as far as it is used. Types are strict, unknown members are let through: the API grows.

Left out on purpose: `race` (a special category of personal data that the event has no field for), `eyes` and `hair`
when the words as published are there, `coordinates`, `locations`, `suspects`, `legat_names` (empty for wanted
persons), `files` (posters, reachable from the web page), `@id`, and captions and thumbnails of photographs.
"""

from __future__ import annotations

from msgspec import Raw, Struct


class Page(Struct, frozen=True):
    """One answer of the list call.

    Attributes:
        items: its records, each decoded on its own, so that a broken one breaks no other.
        total: number of records of the whole listing, if it says so.
    """

    items: list[Raw]
    total: int | None = None


class Image(Struct, frozen=True):
    """Addresses of one photograph."""

    original: str | None = None
    large: str | None = None


class Item(Struct, frozen=True):
    """One poster. Names are the API's; lengths are in inches, weights in pounds, rewards in US dollars."""

    uid: str
    title: str
    path: str | None = None
    url: str | None = None
    person_classification: str | None = None
    poster_classification: str | None = None
    subjects: list[str] | None = None
    status: str | None = None
    publication: str | None = None
    modified: str | None = None
    description: str | None = None
    details: str | None = None
    caution: str | None = None
    remarks: str | None = None
    additional_information: str | None = None
    warning_message: str | None = None
    reward_text: str | None = None
    reward_max: int | None = None
    aliases: list[str | None] | None = None
    dates_of_birth_used: list[str | None] | None = None
    place_of_birth: str | None = None
    nationality: str | None = None
    sex: str | None = None
    age_range: str | None = None
    height_min: int | None = None
    height_max: int | None = None
    weight: str | None = None
    weight_min: int | None = None
    weight_max: int | None = None
    build: str | None = None
    complexion: str | None = None
    hair: str | None = None
    hair_raw: str | None = None
    eyes: str | None = None
    eyes_raw: str | None = None
    scars_and_marks: str | None = None
    occupations: list[str | None] | None = None
    languages: list[str | None] | None = None
    possible_countries: list[str | None] | None = None
    possible_states: list[str | None] | None = None
    field_offices: list[str | None] | None = None
    ncic: str | None = None
    images: list[Image] | None = None
