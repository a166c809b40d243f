"""Numbers on forms: written one way, and checked where they carry a check digit. Pure."""

from __future__ import annotations

import re
from typing import Final

_SEPARATORS: Final = re.compile(r"[\s.\-/]+")
_CONTAINER: Final = re.compile(r"[A-Z]{3}[UJZ][0-9]{7}")
_VIN: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}")
_PLAIN: Final = re.compile(r"[0-9A-Z]+")

# ISO 6346, annex A: letters count from 10 and leave out multiples of 11.
_LETTERS: Final = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (n for n in range(10, 39) if n % 11), strict=True))
# 49 CFR 565.15(c): what letters of a vehicle identification number count, and the weight of each place.
_VIN_LETTERS: Final = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", map(int, "12345678123457923456789"), strict=True))
_VIN_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_VIN_CHECK: Final = 8  # place of the check digit
_NORTH_AMERICA: Final = "12345"  # first character of vehicles whose makers must write a check digit


def compact(text: str) -> str:
    """Capitals and digits without spaces, hyphens, points and slashes."""
    return _SEPARATORS.sub("", text).upper()


def plate(text: str) -> str:
    """A number plate.

    Raises:
        ValueError: other characters than letters and digits.
    """
    found = compact(text)
    if found and not _PLAIN.fullmatch(found):
        raise ValueError("letters and digits only")
    return found


def container_digit(number: str) -> int:
    """The check digit of ISO 6346 for the first ten characters of a container number."""
    counts = (_LETTERS.get(char, 0) or int(char) for char in number[:10])
    return sum(count << place for place, count in enumerate(counts)) % 11 % 10


def equipment(text: str) -> str:
    """The number of a container, checked, or of a trailer, for which there is no standard.

    Raises:
        ValueError: it looks like a container's and its check digit is wrong.
    """
    found = compact(text)
    if _CONTAINER.fullmatch(found) and int(found[10]) != (expected := container_digit(found)):
        raise ValueError(f"check digit is {found[10]}, by ISO 6346 it would be {expected}: one character is wrong")
    return found


def container(text: str) -> str:
    """The number of a container, which has a size and type, so it is no trailer.

    Raises:
        ValueError: not a container number of ISO 6346.
    """
    found = equipment(text)
    if not _CONTAINER.fullmatch(found):
        raise ValueError("not a container number of ISO 6346: three letters, U, J or Z, seven digits")
    return found


def vin(text: str) -> str:
    """A vehicle identification number, checked if the vehicle was made in North America.

    Raises:
        ValueError: not 17 characters of ISO 3779, or the check digit is wrong.
    """
    found = compact(text)
    if not found:
        return ""
    if not _VIN.fullmatch(found):
        raise ValueError("17 letters and digits without I, O and Q")
    if found[0] in _NORTH_AMERICA:
        counts = (int(char) if char.isdigit() else _VIN_LETTERS[char] for char in found)
        digit = "0123456789X"[sum(weight * count for weight, count in zip(_VIN_WEIGHTS, counts, strict=True)) % 11]
        if found[_VIN_CHECK] != digit:
            raise ValueError(f"check digit is {found[_VIN_CHECK]}, by 49 CFR 565 it would be {digit}")
    return found


def cbp_port(text: str) -> str:
    """A port code of CBP, Schedule D.

    Raises:
        ValueError: not four digits.
    """
    found = text.strip()
    if found and not re.fullmatch(r"[0-9]{4}", found):
        raise ValueError("not four digits, such as 2304 for Laredo")
    return found


def aduana(text: str) -> str:
    """A code of a Mexican customs office, SAT's c_Aduana, or with its section.

    Raises:
        ValueError: neither two nor three digits.
    """
    found = text.strip()
    if found and not re.fullmatch(r"[0-9]{2,3}", found):
        raise ValueError("not two digits, or three with the section, such as 24 for Nuevo Laredo")
    return found


def hs_code(text: str) -> str:
    """A code of the Harmonized System without points."""
    return compact(text)


def pedimento(text: str) -> str:
    """A Mexican customs declaration: year, aduana, patent, number; 15 digits.

    Raises:
        ValueError: not 15 digits.
    """
    found = compact(text)
    if found and not re.fullmatch(r"[0-9]{15}", found):
        raise ValueError("15 digits: year, aduana, patent and number")
    return found
