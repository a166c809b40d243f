"""What is said about records that are refused, or published with a part left out: file, position, reason."""

from __future__ import annotations

from msgspec import Struct


class Note(Struct, frozen=True):
    """One sentence about one record. It quotes nothing: the record may be an enemy's, the reader of a log anybody.

    Attributes:
        where: file and position, such as `page-2.json items[7]`.
        field: path of the field within the record, empty if the record as a whole is meant.
        reason: what is wrong.
    """

    where: str
    field: str
    reason: str

    def __str__(self) -> str:
        place = f"{self.where}.{self.field}" if self.field and self.where.endswith("]") else self.where
        if self.field and not self.where.endswith("]"):
            place = f"{self.where} {self.field}"
        return f"{place}: {self.reason}"


class RefusedError(ValueError):
    """A record can't become an event. Caught where the position is known, and made a `Note`.

    Attributes:
        field: path of the field within the record.
        reason: what is wrong.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason

    def at(self, where: str) -> Note:
        """The same as a note."""
        return Note(where, self.field, self.reason)
