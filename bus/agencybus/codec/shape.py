"""The part of Avro that event schemas may use, as types: what does not fit here never reaches fastavro.

docs/spec/events-v1.md, section 4. A schema read into these types has only known attributes with values of their kind,
and everything that grows has a bound. Beside Avro's own attributes there are JSON Schema's for constraints, `example`
on fields and `compress` on events.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from agencybus.wire import limits

FIELDS: Final = 256  # fields of all records together
NAME_CHARS: Final = 256  # characters of a name
SYMBOLS: Final = 64  # symbols of an enum: its index is one byte
FIXED_BYTES: Final = 1024  # bytes of a fixed
PATTERN_CHARS: Final = 256  # characters of a pattern, and of a string that has one
ITEMS: Final = 4096  # items of an array

Name = Annotated[str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\Z", max_length=NAME_CHARS)]
Doc = Annotated[str, Meta(min_length=1)]
Size = Annotated[int, Meta(ge=0, le=limits.EVENT_BYTES)]
Pattern = Annotated[str, Meta(max_length=PATTERN_CHARS)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", tag_field="type"):
    """Every attribute known, every needed attribute there."""


class Text(_Strict, frozen=True, tag="string"):
    """A string; lengths in characters."""

    max_length: Size
    min_length: Size = 0
    pattern: Pattern | None = None


class Blob(_Strict, frozen=True, tag="bytes"):
    """Bytes; lengths in bytes."""

    max_length: Size
    min_length: Size = 0


class Int(_Strict, frozen=True, tag="int"):
    """A whole number of 32 bits, or a date: days since the Unix epoch."""

    logical_type: Literal["date"] | None = None
    minimum: Int32 | None = None
    maximum: Int32 | None = None


class Long(_Strict, frozen=True, tag="long"):
    """A whole number of 64 bits, or a time: microseconds since the Unix epoch, UTC."""

    logical_type: Literal["timestamp-micros"] | None = None
    minimum: Int64 | None = None
    maximum: Int64 | None = None


def bounds(kind: Int | Long) -> tuple[int, int]:
    """Least and greatest value of a whole number."""
    bits = 31 if isinstance(kind, Int) else 63
    low = -(2**bits) if kind.minimum is None else kind.minimum
    high = 2**bits - 1 if kind.maximum is None else kind.maximum
    return low, high


class Double(_Strict, frozen=True, tag="double"):
    """A floating point number; the range keeps NaN and infinity out."""

    minimum: float
    maximum: float


class Fixed(_Strict, frozen=True, tag="fixed"):
    """Bytes of one length, or a UUID."""

    name: Name
    size: Annotated[int, Meta(ge=1, le=FIXED_BYTES)]
    doc: Doc = "."
    logical_type: Literal["uuid"] | None = None


class Enum(_Strict, frozen=True, tag="enum"):
    """One of some names; an unknown one is read as the default, if there is one."""

    name: Name
    doc: Doc
    symbols: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=SYMBOLS)]
    default: Name | None = None


class Array(_Strict, frozen=True, tag="array"):
    """A list."""

    items: Kind
    max_items: Annotated[int, Meta(ge=0, le=ITEMS)]


class Field(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A field of a record.

    Attributes:
        name: its name.
        type: its type.
        doc: what it means, with the unit.
        default: value if an older event has none; UNSET if the field must be given.
        example: value for templates and documentation, in the form of JSON events.
    """

    name: Name
    type: Kind
    doc: Doc
    default: Any | UnsetType = UNSET
    example: Any | UnsetType = UNSET


class Record(_Strict, frozen=True, tag="record"):
    """Named fields; the outermost is an event type and has a namespace."""

    name: Name
    doc: Doc
    fields: Annotated[tuple[Field, ...], Meta(min_length=1, max_length=FIELDS)]
    namespace: Literal["agencybus"] | None = None
    compress: bool | None = None


One = str | Text | Blob | Int | Long | Double | Fixed | Enum | Array | Record
"""A type that is no union. A string is `boolean`, `int`, `long`, or a name that was defined above."""

Kind = One | tuple[Literal["null"], One]
"""Any type. The only unions are null and one other type."""

Named = Fixed | Enum | Record
"""A type with a name."""
