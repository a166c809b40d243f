"""Headers of records: Avro binary, canonical (docs/spec/records-v1.md, section 3).

The schemas are part of the wire format, not of the event schemas: they change only with the version.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any, ClassVar, Final, Self

import fastavro
import msgspec

from agencybus.label import Precedence
from agencybus.wire import limits


def _fixed(name: str, size: int) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size}


def _record(name: str, fields: list[tuple[str, Any]]) -> Any:
    described = [{"name": field, "type": kind} for field, kind in fields]
    return fastavro.parse_schema({"type": "record", "name": f"agencybus.v1.{name}", "fields": described})


STATES: Final = ("open", "run", "recovered", "close")

_LINEAGE: Final[list[tuple[str, Any]]] = [
    ("realm", _fixed("realm_id", 16)),
    ("endpoint", "string"),
    ("writer", "string"),
    ("signer_key_id", _fixed("digest", 48)),
    ("channel", "string"),
    ("partition", "int"),
    ("sequence", "long"),
    ("previous", "digest"),
    ("previous_sealed_at", "long"),
    ("sealed_at", "long"),
    ("directory", "digest"),
    ("state", {"type": "enum", "name": "writer_state", "symbols": list(STATES)}),
]
_FRAME: Final[list[tuple[str, Any]]] = [
    ("type", "string"),
    ("schema_id", "digest"),
    ("label", "string"),
    ("programme", "string"),
    ("precedence", {"type": "enum", "name": "urgency", "symbols": [str(word) for word in Precedence]}),
    ("count", "int"),
    ("audience_key_id", "digest"),
    ("commitment", "digest"),
]
_RECIPIENT: Final = {
    "type": "record",
    "name": "recipient",
    "fields": [{"name": "endpoint", "type": "string"}, {"name": "kem_key_id", "type": "digest"}],
}
_GRANT: Final[list[tuple[str, Any]]] = [
    ("realm", _fixed("realm_id", 16)),
    ("endpoint", "string"),
    ("signer_key_id", _fixed("digest", 48)),
    ("agency", "string"),
    ("audience_key_id", "digest"),
    ("audience", "digest"),
    ("epoch_start", "long"),
    ("epoch_end", "long"),
    ("sealed_at", "long"),
    ("directory", "digest"),
    ("recipients", {"type": "array", "items": _RECIPIENT}),
]


class HeaderError(Exception):
    """A header does not decode (`invalid` False) or holds a value out of range (`invalid` True)."""

    def __init__(self, what: str, *, invalid: bool = False) -> None:
        super().__init__(what)
        self.invalid = invalid


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What every header has.

    Attributes:
        realm: 16 bytes, the deployment.
        endpoint: who signed.
        signer_key_id: 48 bytes.
        sealed_at: µs since the epoch.
        directory: 48 bytes, digest of the directory view that the writer obeyed.
    """

    kind: ClassVar[int]
    kind_name: ClassVar[str]
    max_bytes: ClassVar[int] = limits.HEADER_BYTES
    _avro: ClassVar[Any]

    realm: bytes
    endpoint: str
    signer_key_id: bytes
    sealed_at: int
    directory: bytes

    def encode(self) -> bytes:
        """The canonical bytes."""
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._avro, msgspec.structs.asdict(self))
        return out.getvalue()

    def digest(self) -> bytes:
        """SHA-384 of the canonical bytes, 48 bytes."""
        return hashlib.sha384(self.encode()).digest()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a header; it may still be non-canonical (compare `encode()`).

        Raises:
            HeaderError: the bytes are no such header, or a value is out of range.
        """
        source = io.BytesIO(data)
        try:
            header = msgspec.convert(fastavro.schemaless_reader(source, cls._avro, None), cls, builtin_types=(bytes,))
        except Exception as error:  # noqa: BLE001 - fastavro raises what its parts raise
            raise HeaderError(f"not a {cls.kind_name} header: {type(error).__name__}") from None
        if source.tell() != len(data):
            raise HeaderError(f"{len(data) - source.tell()} bytes follow the header")
        header.check()
        return header

    def check(self) -> None:
        """Check the ranges of section 3, or raise HeaderError with `invalid` set."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, str):
                _check_text(name, value)
            elif isinstance(value, int) and value < 0:
                raise HeaderError(f"{name} is negative", invalid=True)


def _check_text(name: str, value: str) -> None:
    """Printable ASCII: two names that look alike are alike, and none steers a terminal, even before it is verified."""
    if not 0 < len(value) <= limits.TEXT_BYTES:
        raise HeaderError(f"{name} is not of 1 to {limits.TEXT_BYTES} characters", invalid=True)
    if not (value.isascii() and value.isprintable()):
        raise HeaderError(f"{name} holds more than printable ASCII", invalid=True)


class LineageHeader(Header, frozen=True, kw_only=True):
    """Header of a record that is a link of a lineage: what frame and checkpoint share."""

    writer: str
    channel: str
    partition: int
    sequence: int
    previous: bytes
    previous_sealed_at: int
    state: str

    def check(self) -> None:
        """Check the ranges of section 3, or raise HeaderError with `invalid` set."""
        super().check()
        if self.sealed_at < self.previous_sealed_at:
            raise HeaderError("sealed before its predecessor", invalid=True)
        if self.previous_sealed_at and not self.sequence:
            raise HeaderError("record 0 has no predecessor", invalid=True)


class CheckpointHeader(LineageHeader, frozen=True, kw_only=True):
    """A signed record of a lineage without events: open, heartbeat, close."""

    kind: ClassVar[int] = 2
    kind_name: ClassVar[str] = "checkpoint"
    _avro: ClassVar[Any] = _record("checkpoint", _LINEAGE)


class FrameHeader(LineageHeader, frozen=True, kw_only=True):
    """A frame of 1 to 4,096 events of one type, schema and label."""

    kind: ClassVar[int] = 1
    kind_name: ClassVar[str] = "frame"
    _avro: ClassVar[Any] = _record("frame", [*_LINEAGE, *_FRAME])

    type: str
    schema_id: bytes
    label: str
    programme: str
    precedence: str
    count: int
    audience_key_id: bytes
    commitment: bytes

    @property
    def lane(self) -> str:
        """`urgent` or `routine`."""
        return Precedence(self.precedence).lane

    def check(self) -> None:
        """Check the ranges of section 3, or raise HeaderError with `invalid` set."""
        super().check()
        if not 0 < self.count <= limits.FRAME_EVENTS:
            raise HeaderError(f"count is not of 1 to {limits.FRAME_EVENTS}", invalid=True)


class Recipient(msgspec.Struct, frozen=True, order=True):
    """One line of a grant."""

    endpoint: str
    kem_key_id: bytes


class GrantHeader(Header, frozen=True, kw_only=True):
    """An audience key, wrapped to the endpoints of one agency."""

    kind: ClassVar[int] = 3
    kind_name: ClassVar[str] = "grant"
    max_bytes: ClassVar[int] = limits.GRANT_HEADER_BYTES
    _avro: ClassVar[Any] = _record("grant", _GRANT)

    agency: str
    audience_key_id: bytes
    audience: bytes
    epoch_start: int
    epoch_end: int
    recipients: tuple[Recipient, ...]

    def encode(self) -> bytes:
        """The canonical bytes."""
        fields = msgspec.structs.asdict(self)
        fields["recipients"] = [msgspec.structs.asdict(line) for line in self.recipients]
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._avro, fields)
        return out.getvalue()

    def check(self) -> None:
        """Check the ranges of section 3, or raise HeaderError with `invalid` set."""
        super().check()
        if not 0 < len(self.recipients) <= limits.RECIPIENTS:
            raise HeaderError(f"recipients are not 1 to {limits.RECIPIENTS}", invalid=True)
        if list(self.recipients) != sorted(set(self.recipients)):
            raise HeaderError("recipients are not sorted, or one is there twice", invalid=True)
        for line in self.recipients:
            _check_text("recipients.endpoint", line.endpoint)
        if not 0 < self.epoch_end - self.epoch_start <= limits.EPOCH_US:
            raise HeaderError("the epoch is empty or longer than 24 hours", invalid=True)


HEADERS: Final[dict[int, type[Header]]] = {cls.kind: cls for cls in (FrameHeader, CheckpointHeader, GrantHeader)}
RESERVED_KINDS: Final = range(4, 11)  # regrant … cosignature: named by the specification, not read yet
