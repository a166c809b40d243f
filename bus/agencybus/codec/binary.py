"""Avro's binary encoding, both ways, for the schemas that the gate lets in; and strictly: one value has one form.

Why not fastavro here: it takes what it should refuse (bytes left over, an enum's index of -1, a length in ten bytes
where one would do) and it is C code that dies of some inputs. Bytes from the wire meet only this module, which is as
fast because the gate keeps the language small (docs/adr/0009-strict-avro.md). Tests hold it against fastavro as the
oracle, in both directions.

A schema becomes two closures, one inside the other as types are:

    read(data, at)       → (value, position behind it)
    write(value, append) → None, having appended pieces of bytes

Values are plain: dict, list, str, int, float, bool, None, datetime, date, bytes; a UUID is 16 bytes when read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from struct import Struct
from struct import error as StructError  # noqa: N812 - an exception, whatever its name
from typing import Any, Final
from uuid import UUID

from agencybus.codec.shape import Array, Blob, Double, Enum, Fixed, Int, Kind, Long, Named, Record, Text

Read = Callable[[bytes, int], tuple[Any, int]]
Write = Callable[[Any, Callable[[bytes], None]], None]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)
_SHORT: Final = 128  # a number below this, zigzag already undone, is one byte
_BITS: Final = 64  # of a number, zigzag not yet undone
_DOUBLE: Final = Struct("<d")
_ABSENT, _PRESENT = b"\x00", b"\x02"  # index of null and of the other type of a union
_UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move a cursor, end a line of a log or turn text around; line feed and tab are text."""


class MalformedError(Exception):
    """Bytes that are no value of the schema, or a value that has no form in it; never leaves the codec.

    Attributes:
        what: what is wrong, without content.
        path: names of the fields around it, outermost first.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.path: list[str] = []

    def inside(self, name: str) -> MalformedError:
        """The same, seen from one level further out."""
        self.path.insert(0, name)
        return self


_CAUSES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (IndexError, "bytes are missing"),
    (StructError, "bytes are missing"),
    (KeyError, "not one of the symbols"),
    (UnicodeError, "no valid UTF-8"),
    (OverflowError, "out of the range of times"),
    (ValueError, "out of the range of dates"),
)
_EXPECTED: Final[tuple[type[Exception], ...]] = (MalformedError, *(cause for cause, _ in _CAUSES))


def _malformed(error: Exception) -> MalformedError:
    """What Python says of bad bytes, in our words."""
    if isinstance(error, MalformedError):
        return error
    return MalformedError(next(what for cause, what in _CAUSES if isinstance(error, cause)))


def _check_text(text: str) -> None:
    """Refuse text that would do something to the terminal or log it is shown in."""
    if (found := _UNSAFE.search(text)) is not None:
        raise MalformedError(f"U+{ord(found[0]):04X} is no text")


def read_number(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint in its shortest form, at most 64 bits."""
    byte = number = data[at]
    shift = 0
    while byte >= _SHORT:
        at += 1
        shift += 7
        if shift >= _BITS:
            raise MalformedError("a number of more than 64 bits")
        byte = data[at]
        number += (byte - 1) << shift  # the bit that said "more" was counted: take it away again
    if number >> _BITS or (byte == 0 and shift):
        raise MalformedError("a number that is not in its shortest form")
    return (number >> 1) ^ -(number & 1), at + 1


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    """A length or count; it can't be more than the bytes that are left, since all that is counted costs a byte."""
    length, at = read_number(data, at)
    if not 0 <= length <= len(data) - at:
        raise MalformedError("a length beyond the end")
    return length, at


def write_number(number: int) -> bytes:
    """A zigzag varint in its shortest form."""
    number = (number << 1) ^ (number >> (_BITS - 1))
    if number < _SHORT:
        return number.to_bytes()
    pieces = bytearray()
    while number >= _SHORT:
        pieces.append(number & 0x7F | 0x80)
        number >>= 7
    pieces.append(number)
    return bytes(pieces)


_LENGTHS: Final = tuple(write_number(length) for length in range(1024))


def _length(length: int) -> bytes:
    return _LENGTHS[length] if length < len(_LENGTHS) else write_number(length)


def compile_reader(kind: Kind, named: Mapping[str, Named]) -> Read:  # noqa: C901, PLR0911, PLR0912 - a case for each kind
    """Make the reader of a type that passed the gate.

    Args:
        kind: the type.
        named: the types that it may name.
    """
    match kind:
        case "boolean":
            return _read_boolean
        case "int" | "long":
            return read_number
        case str():
            return compile_reader(named[kind], named)
        case tuple():
            inner = compile_reader(kind[1], named)

            def read_optional(data: bytes, at: int) -> tuple[Any, int]:
                index = data[at]
                if index == 0:
                    return None, at + 1
                if index != _PRESENT[0]:
                    raise MalformedError("a union's index")
                return inner(data, at + 1)

            return read_optional
        case Text():
            return _read_text
        case Blob():
            return _read_blob
        case Int(logical_type="date"):
            return _read_date
        case Long(logical_type="timestamp-micros"):
            return _read_time
        case Int() | Long():
            return read_number
        case Double():
            return _read_double
        case Fixed():
            size = kind.size

            def read_fixed(data: bytes, at: int) -> tuple[bytes, int]:
                return data[at : at + size], at + size

            return read_fixed
        case Enum():
            symbols = {2 * index: symbol for index, symbol in enumerate(kind.symbols)}

            def read_enum(data: bytes, at: int) -> tuple[str, int]:
                return symbols[data[at]], at + 1

            return read_enum
        case Array():
            item, most = compile_reader(kind.items, named), kind.max_items

            def read_array(data: bytes, at: int) -> tuple[list[Any], int]:
                items: list[Any] = []
                if data[at] == 0:
                    return items, at + 1
                count, at = _read_length(data, at)
                if count > most:
                    raise MalformedError(f"more than {most} items")
                for _ in range(count):
                    value, at = item(data, at)
                    items.append(value)
                if data[at] != 0:
                    raise MalformedError("a list in pieces")
                return items, at + 1

            return read_array
    return _record_reader(kind, named)


def _record_reader(kind: Record, named: Mapping[str, Named]) -> Read:
    steps = tuple((member.name, compile_reader(member.type, named)) for member in kind.fields)

    def read_record(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        name = ""
        try:
            for name, read in steps:
                values[name], at = read(data, at)
        except _EXPECTED as error:
            raise _malformed(error).inside(name) from None
        return values, at

    return read_record


def _read_boolean(data: bytes, at: int) -> tuple[bool, int]:
    if data[at] > 1:
        raise MalformedError("neither true nor false")
    return data[at] == 1, at + 1


def _read_text(data: bytes, at: int) -> tuple[str, int]:
    length = data[at]
    if length >= _SHORT or length & 1:
        length, at = _read_length(data, at)
    else:  # nine of ten; a length beyond the end shows where the next byte is missing, or at the end
        length >>= 1
        at += 1
    end = at + length
    text = str(data[at:end], "utf-8")
    if not text.isprintable():
        _check_text(text)
    return text, end


def _read_blob(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _read_length(data, at)
    return data[at : at + length], at + length


def _read_date(data: bytes, at: int) -> tuple[date, int]:
    days, at = read_number(data, at)
    return date.fromordinal(_EPOCH_DAY + days), at


def _read_time(data: bytes, at: int) -> tuple[datetime, int]:
    microseconds, at = read_number(data, at)
    return _EPOCH + timedelta(0, 0, microseconds), at


def _read_double(data: bytes, at: int) -> tuple[float, int]:
    return _DOUBLE.unpack_from(data, at)[0], at + _DOUBLE.size


def read_whole(read: Read, data: bytes) -> Any:
    """Read a value that ends where the bytes end.

    Raises:
        MalformedError: the bytes are no value of the type, or not in its only form.
    """
    value, end = read(data, 0)
    if end != len(data):
        raise MalformedError("bytes are left over" if end < len(data) else "bytes are missing")
    return value


def compile_writer(kind: Kind, named: Mapping[str, Named]) -> Write:  # noqa: C901, PLR0911, PLR0912 - a case for each kind
    """Make the writer of a type that passed the gate; the values it gets were validated.

    Args:
        kind: the type.
        named: the types that it may name.
    """
    match kind:
        case "boolean":
            return lambda value, append: append(b"\x01" if value else b"\x00")
        case "int" | "long":
            return lambda value, append: append(write_number(value))
        case str():
            return compile_writer(named[kind], named)
        case tuple():
            inner = compile_writer(kind[1], named)

            def write_optional(value: Any, append: Callable[[bytes], None]) -> None:
                if value is None:
                    append(_ABSENT)
                else:
                    append(_PRESENT)
                    inner(value, append)

            return write_optional
        case Text():
            return _write_text
        case Blob():
            return _write_blob
        case Int(logical_type="date"):
            return lambda value, append: append(write_number(value.toordinal() - _EPOCH_DAY))
        case Long(logical_type="timestamp-micros"):
            return lambda value, append: append(write_number((value - _EPOCH) // _MICROSECOND))
        case Int() | Long():
            return lambda value, append: append(write_number(value))
        case Double():
            return lambda value, append: append(_DOUBLE.pack(value))
        case Fixed():
            return lambda value, append: append(value.bytes if isinstance(value, UUID) else value)
        case Enum():
            indexes = {symbol: write_number(index) for index, symbol in enumerate(kind.symbols)}
            return lambda value, append: append(indexes[value])
        case Array():
            item = compile_writer(kind.items, named)

            def write_array(values: Any, append: Callable[[bytes], None]) -> None:
                if values:
                    append(_length(len(values)))
                    for value in values:
                        item(value, append)
                append(b"\x00")

            return write_array
    return _record_writer(kind, named)


def _record_writer(kind: Record, named: Mapping[str, Named]) -> Write:
    steps = tuple((member.name, compile_writer(member.type, named)) for member in kind.fields)

    def write_record(values: Any, append: Callable[[bytes], None]) -> None:
        name = ""
        try:
            for name, write in steps:
                write(values[name], append)
        except MalformedError as error:
            raise error.inside(name) from None

    return write_record


def _write_text(value: str, append: Callable[[bytes], None]) -> None:
    if not value.isprintable():
        _check_text(value)
    text = value.encode()
    append(_length(len(text)))
    append(text)


def _write_blob(value: bytes, append: Callable[[bytes], None]) -> None:
    append(_length(len(value)))
    append(value)
