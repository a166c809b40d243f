"""Make the test vectors: `python tests/vectors/make.py`, or `--check` to see that the committed ones are these.

Every vector is declared here by hand with what a reader must say of it; nothing is read back from the reader.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import zstandard

from agencybus.seal.frame import pack, padded_size
from agencybus.wire import limits
from agencybus.wire.envelope import Record
from agencybus.wire.headers import CheckpointHeader, FrameHeader
from vectors import example, forge, world
from vectors.declare import frame, refused, taken
from vectors.events import ALERT, HOLD, HOLD_ID, alert
from vectors.forge import SECRET, after, checkpoint_record, grant_record, link, sign
from vectors.narrowing import narrowing
from vectors.reader import FOLDER, Vector
from vectors.world import CBP, CHANNEL, DAY, FBI, FGR, GONE, INM, KEMS, NOW, OLD, SECOND, SIGNERS

KEPT_FILE = Path(__file__).parent / "kept.json"
EXAMPLE_FILE = Path(__file__).parents[2] / "docs" / "spec" / "records-v1-example.md"
OTHER = "us.cbp.holds.routine"


def accepted() -> Iterator[Vector]:
    first = frame()
    yield taken("events", "frame", "one alert, the first record of a lineage", first)
    yield taken("events", "frame-of-three", "three alerts in one frame", frame([ALERT, alert(2), alert(3)]))
    yield taken("events", "frame-uncompressed", "codec 0 where zstd was allowed", frame(compress=False))
    yield taken("events", "frame-next", "a second record", frame(**after(first)), after=["frame"])
    yield taken("duplicate", "frame-again", "the first record once more", first, after=["frame", "frame-next"])
    gap = frame(**after(first, sequence=5))
    yield taken("events", "frame-after-gap", "records 1 to 4 are missing", gap, after=["frame"], code="gap")
    midway = frame(**link(sequence=7, previous=b"p" * 48, previous_sealed_at=NOW - 2 * DAY, state="run"))
    yield taken("events", "frame-midway", "the reader joins at record 7", midway, code="joined-midway")
    unseen = frame(**link(sequence=7, previous=b"p" * 48, previous_sealed_at=NOW - SECOND * 90, state="run"))
    yield taken("events", "frame-unseen-history", "record 6 is younger than the reader", unseen, code="unseen-history")
    recovered = frame(**after(first, state="recovered"))
    yield taken(
        "events", "frame-recovered", "the writer lost its state", recovered, after=["frame"], code="writer-recovered"
    )
    yield taken("checkpoint", "checkpoint", "an open checkpoint", checkpoint_record())
    closing = checkpoint_record(**after(first, state="close"))
    yield taken("checkpoint", "checkpoint-close", "the writer closes", closing, after=["frame"])
    yield taken("skipped", "frame-not-cleared", "verified, but this reader is not in the audience", first, reader=INM)
    yield taken("events", "frame-own", "a publisher reads its own", first, reader=FBI)
    yield taken("grant", "grant", "a key for the reader", grant_record(), place="us.fbi.grants/0")
    other = grant_record(recipients=[(INM, KEMS[INM].public)], agency="mx.inm")
    yield taken("skipped", "grant-for-others", "a key, but not for this reader", other, place="us.fbi.grants/0")
    edge: dict[str, Any] = {"sealed_at": world.audience_key().epoch_start, "previous_sealed_at": 0}
    yield taken("events", "frame-at-epoch-start", "sealed in the first moment of the epoch", frame(**edge))


def layout() -> Iterator[Vector]:
    whole = frame()
    raw = whole.encode()
    header_size = len(whole.header_bytes)

    def bad(code: str, name: str, comment: str, record: Record | bytes, **more: Any) -> Vector:
        return refused(1, code, name, comment, record, **more)

    yield bad("magic-unknown", "empty", "no byte at all", b"")
    yield bad("magic-unknown", "magic", "another magic", b"XGB1" + raw[4:])
    yield bad("version-unknown", "version", "version 2", b"AGB2" + raw[4:])
    yield bad("kind-unknown", "kind-unknown", "kind 99", raw[:4] + b"\x63" + raw[5:])
    yield bad("kind-unknown", "kind-reserved", "kind 5, a receipt, not read yet", raw[:4] + b"\x05" + raw[5:])
    yield bad("kind-unexpected", "kind-grant-in-channel", "a grant in a channel", grant_record())
    yield bad("kind-unexpected", "kind-frame-in-grants", "a frame among grants", whole, place="us.fbi.grants/0")
    yield bad("record-too-short", "short-envelope", "8 bytes", raw[:8])
    yield bad("record-too-short", "short-signature", "cut in the signatures", raw[: 9 + header_size + 4000])
    long_header = raw[:5] + (limits.HEADER_BYTES + 1).to_bytes(4, "big") + raw[9:]
    yield bad("header-too-large", "header-large", "a header of 4,097 bytes", long_header)
    cut = sign(whole.header, whole.body, header_bytes=whole.header_bytes[:-1])
    yield bad("header-undecodable", "header-cut", "the header misses its last byte, signed so", cut)
    longer = sign(whole.header, whole.body, header_bytes=whole.header_bytes + b"\0")
    yield bad("header-undecodable", "header-trailing", "a byte after the header, signed so", longer)
    noise = sign(whole.header, whole.body, header_bytes=b"\xff" * 200)
    yield bad("header-undecodable", "header-noise", "no header", noise)
    edits: dict[str, dict[str, Any]] = {
        "count-zero": {"count": 0},
        "count-large": {"count": 4097},
        "sequence-negative": {"sequence": -1},
        "partition-negative": {"partition": -1},
        "sealed-negative": {"sealed_at": -1, "previous_sealed_at": -2},
        "sealed-before-previous": {"sequence": 1, "previous_sealed_at": NOW},
        "first-with-predecessor": {"previous_sealed_at": 1},
        "label-empty": {"label": ""},
        "label-long": {"label": "A" * 257},
        "type-control-character": {"type": "al\nert"},
        "writer-delete-character": {"writer": "ma\x7fin"},
        "writer-look-alike": {"writer": "m\N{CYRILLIC SMALL LETTER A}in"},
    }
    for name, edit in edits.items():
        yield bad("header-value-invalid", f"header-{name}", f"{', '.join(edit)} out of range", frame(edit=edit))
    yield bad("body-length-invalid", "body-empty", "a frame without a body", sign(whole.header, b""))
    short = sign(whole.header, whole.body[: limits.PAD_STEP_BYTES + 15])
    yield bad("body-length-invalid", "body-short", "a body below one block", short)
    talking = sign(checkpoint_record().header, b"x")
    yield bad("body-length-invalid", "checkpoint-body", "a checkpoint with a body", talking)
    grant = grant_record()
    missing = sign(grant.header, grant.body[:-1])
    yield bad("body-length-invalid", "grant-body", "a wrap misses a byte", missing, place="us.fbi.grants/0")
    twice = ((FGR, KEMS[FGR].public), (FGR, KEMS[FGR].public))
    unsorted = ((INM, KEMS[INM].public), (FGR, KEMS[FGR].public))
    long_epoch: dict[str, Any] = {"epoch_end": world.audience_key().epoch_start + limits.EPOCH_US + 1}
    for name, comment, record in (
        ("grant-recipient-twice", "a recipient twice", grant_record(recipients=twice)),
        ("grant-unsorted", "recipients not sorted", grant_record(recipients=unsorted)),
        ("grant-no-recipient", "no recipient", grant_record(recipients=())),
        ("grant-epoch-long", "an epoch of 24 hours and a microsecond", grant_record(**long_epoch)),
        ("grant-epoch-empty", "an empty epoch", grant_record(epoch_end=world.audience_key().epoch_start)),
    ):
        yield bad("header-value-invalid", name, comment, record, place="us.fbi.grants/0")


def place() -> Iterator[Vector]:
    yield refused(2, "realm-mismatch", "realm", "a record of another deployment", frame(realm=b"another realm 16"))
    moved = frame()
    yield refused(2, "channel-mismatch", "channel", "moved to another topic", moved, place=f"{OTHER}/0")
    yield refused(2, "partition-mismatch", "partition", "moved to another partition", moved, place=f"{CHANNEL}/1")
    grant = grant_record()
    yield refused(2, "channel-mismatch", "grant-moved", "another agency's grants", grant, place="us.cbp.grants/0")
    foreign = grant_record(realm=b"another realm 16")
    yield refused(2, "realm-mismatch", "grant-realm", "a grant of another deployment", foreign, place="us.fbi.grants/0")


def signer() -> Iterator[Vector]:
    def bad(code: str, name: str, comment: str, record: Record) -> Vector:
        return refused(3, code, name, comment, record)

    yield bad("directory-unknown", "directory-unknown", "a directory not seen yet", frame(directory=b"?" * 48))
    yield bad(
        "directory-superseded", "directory-superseded", "a directory replaced 3 days ago", frame(directory=OLD.digest)
    )
    nobody = frame(endpoint="us.fbi/nobody")
    yield bad("endpoint-unknown", "endpoint-unknown", "an endpoint that is not in the directory", nobody)
    stranger: dict[str, Any] = {"signer": "stranger", "signer_key_id": SIGNERS["stranger"].public.id}
    yield bad("signer-unknown", "signer-stranger", "signed with a key of nobody", frame(**stranger))
    other: dict[str, Any] = {"signer": CBP, "signer_key_id": SIGNERS[CBP].public.id}
    yield bad("signer-unknown", "signer-of-another", "signed by one endpoint in another's name", frame(**other))
    expired: dict[str, Any] = {"signer": "expired", "signer_key_id": SIGNERS["expired"].public.id}
    yield bad("signer-expired", "signer-expired", "signed with a key past its time", frame(**expired))
    future: dict[str, Any] = {"signer": "future", "signer_key_id": SIGNERS["future"].public.id}
    yield bad("signer-not-yet-valid", "signer-future", "signed with a key before its time", frame(**future))
    ahead = frame(sealed_at=NOW + limits.CLOCK_SKEW_US + 1)
    yield bad("sealed-in-future", "sealed-in-future", "sealed five minutes and a microsecond ahead", ahead)


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


_CHANGED: dict[str, Any] = {
    "writer": "other",
    "sequence": 2,
    "previous": b"q" * 48,
    "previous_sealed_at": 1,
    "sealed_at": NOW - 58 * SECOND,
    "state": "close",
    "type": "fugitive_sighting",
    "schema_id": b"s" * 48,
    "label": "UNCLASSIFIED",
    "programme": "national",
    "precedence": "FLASH",
    "count": 2,
    "audience_key_id": b"k" * 48,
    "commitment": b"c" * 48,
}


def changed_fields(whole: Record) -> Iterator[tuple[str, Record]]:
    """The record with one header field changed after signing, for every field that steps 1 to 3 do not look at."""
    fields = {name: getattr(whole.header, name) for name in whole.header.__struct_fields__}
    for name, value in _CHANGED.items():
        header = FrameHeader(**{**fields, name: value})
        yield name, Record(header, header.encode(), whole.mldsa87, whole.p384, whole.body)


def signatures() -> Iterator[Vector]:
    whole, other = frame(), frame([alert(2)])
    mldsa, p384 = "mldsa-signature-invalid", "p384-signature-invalid"
    for name, record in changed_fields(frame(**after(whole))):
        yield refused(4, mldsa, f"changed-{name.replace('_', '-')}", f"{name} changed after signing", record)
    body = Record(whole.header, whole.header_bytes, whole.mldsa87, whole.p384, _flip(whole.body, 500))
    yield refused(4, mldsa, "changed-body", "a bit of the body flipped", body)
    for name, comment, first, second, code in (
        ("mldsa-flipped", "a bit of the ML-DSA signature flipped", _flip(whole.mldsa87, 99), whole.p384, mldsa),
        ("mldsa-zero", "the ML-DSA signature stripped", bytes(4627), whole.p384, mldsa),
        ("mldsa-of-another", "the ML-DSA signature of another record", other.mldsa87, whole.p384, mldsa),
        ("p384-flipped", "a bit of the P-384 signature flipped", whole.mldsa87, _flip(whole.p384, 9), p384),
        ("p384-zero", "the P-384 signature stripped", whole.mldsa87, bytes(96), p384),
        ("p384-of-another", "the P-384 signature of another record", whole.mldsa87, other.p384, p384),
    ):
        yield refused(4, code, name, comment, Record(whole.header, whole.header_bytes, first, second, whole.body))
    fields = {name: getattr(whole.header, name) for name in CheckpointHeader.__struct_fields__}
    header = CheckpointHeader(**fields)
    signed_as_frame = sign(header, b"", kind_name="frame")
    yield refused(4, mldsa, "kind-confused", "a checkpoint signed as a frame", signed_as_frame)


def canonical() -> Iterator[Vector]:
    def bad(name: str, comment: str, record: Record, **more: Any) -> Vector:
        return refused(5, "header-not-canonical", name, comment, record, **more)

    whole = frame()
    fields = {name: getattr(whole.header, name) for name in whole.header.__struct_fields__}
    one = FrameHeader(**{**fields, "partition": 0}).encode()
    at = one.index(CHANNEL.encode()) + len(CHANNEL)  # the partition's varint: one byte 0
    assert one[at : at + 1] == b"\0"
    overlong = one[:at] + b"\x80\x00" + one[at + 1 :]
    yield bad("varint-overlong", "partition 0 in two bytes", sign(whole.header, whole.body, header_bytes=overlong))
    count_at = len(one) - 48 - 48 - 2  # precedence, count, audience_key_id, commitment end the header
    assert one[count_at : count_at + 2] == b"\x06\x02"  # ROUTINE = 3, count 1, zigzag
    negative = one[:count_at] + b"\x01" + one[count_at + 1 :]
    yield bad("enum-negative", "precedence -1", sign(whole.header, whole.body, header_bytes=negative))
    grant = grant_record()
    blocks = grant.header_bytes[:-1] + b"\x00"  # the array's end marker ...
    sized = _array_with_size(blocks)
    odd = sign(grant.header, grant.body, header_bytes=sized)
    yield bad("array-sized-block", "an array block with its size", odd, place="us.fbi.grants/0")


def _array_with_size(header: bytes) -> bytes:
    """Write the recipients' only block as (-1, size), which Avro also allows."""
    item = bytes([len(FGR) * 2]) + FGR.encode() + KEMS[FGR].public.id
    start = header.index(item)
    assert header[start - 1 : start] == b"\x02"
    size = len(item) * 2
    varint = bytes([size & 0x7F | 0x80, size >> 7]) if size > 0x7F else bytes([size])
    return header[: start - 1] + b"\x01" + varint + header[start:]


def authority() -> Iterator[Vector]:
    def bad(code: str, name: str, comment: str, record: Record, **more: Any) -> Vector:
        return refused(6, code, name, comment, record, **more)

    lane = frame(channel="us.fbi.fugitives.urgent")
    yield bad("channel-not-own", "lane", "ROUTINE in the urgent lane", lane, place="us.fbi.fugitives.urgent/0")
    agency = frame(channel="us.cbp.fugitives.routine")
    yield bad(
        "channel-not-own", "channel-foreign", "another agency's channel", agency, place="us.cbp.fugitives.routine/0"
    )
    spelled = frame(label="UNCLASSIFIED//REL TO USA,MEX")
    yield bad("label-invalid", "label-spelling", "a label that is not canonical", spelled)
    yield bad("label-invalid", "label-word", "a label with an unknown word", frame(label="COSMIC"))
    unknown = frame(programme="unheard", channel="us.fbi.unheard.routine")
    yield bad("programme-unknown", "programme-unknown", "no such programme", unknown, place="us.fbi.unheard.routine/0")
    ended = frame(programme="ended", channel="us.fbi.ended.routine")
    yield bad("programme-not-in-force", "programme-ended", "the programme ended", ended, place="us.fbi.ended.routine/0")
    party = frame(programme="without-fbi", channel="us.fbi.without-fbi.routine")
    yield bad(
        "programme-party-missing", "programme-party", "no party to it", party, place="us.fbi.without-fbi.routine/0"
    )
    yield bad("programme-type-refused", "type-refused", "a hold among fugitives", frame(type="cargo_hold"))
    yield bad("right-missing", "right-missing", "no right to publish this type", frame(type="fugitive_sighting"))
    yield bad("label-policy-foreign", "label-foreign", "a Mexican label by a US endpoint", frame(label="CONFIDENCIAL"))
    yield bad("ceiling-exceeded", "ceiling", "above the programme's ceiling", frame(label="TOP SECRET"))
    yield bad("clearance-exceeded", "clearance", "above the publisher's clearance", frame(label="SECRET//LES/ORCON"))
    gone = frame(endpoint=GONE, signer=GONE, signer_key_id=SIGNERS[GONE].public.id)
    yield bad("endpoint-withdrawn", "endpoint-withdrawn", "sealed after the withdrawal", gone)
    mute = checkpoint_record(channel="us.fbi.unheard.routine")
    yield bad(
        "channel-not-own", "checkpoint-channel", "no right in this programme", mute, place="us.fbi.unheard.routine/0"
    )
    odd = checkpoint_record(channel="us.fbi.fugitives.express")
    yield bad("channel-not-own", "checkpoint-lane", "no such lane", odd, place="us.fbi.fugitives.express/0")
    for name, comment, record in (
        ("grant-agency", "a recipient of another agency", grant_record(recipients=[(INM, KEMS[INM].public)])),
        ("grant-stranger", "a recipient that nobody knows", grant_record(recipients=[("mx.fgr/x", KEMS[FGR].public)])),
        ("grant-key", "a recipient with another's key", grant_record(recipients=[(FGR, KEMS[INM].public)])),
        ("grant-key-past", "a recipient's key past its time", grant_record(recipients=[(FGR, KEMS["past"].public)])),
    ):
        yield bad("recipient-invalid", name, comment, record, place="us.fbi.grants/0")


def lineage() -> Iterator[Vector]:
    def bad(code: str, name: str, comment: str, record: Record, **more: Any) -> Vector:
        return refused(7, code, name, comment, record, **more)

    yield bad("lineage-start-invalid", "lineage-start", "record 0 names another start", frame(previous=b"p" * 48))
    first = frame()
    broken = frame(**after(first, previous=b"p" * 48))
    yield bad("chain-broken", "chain-broken", "record 1 does not name record 0", broken, after=["frame"])
    fork = frame([alert(9)])
    yield bad("fork", "fork", "another record 0", fork, after=["frame", "frame-next"])
    filler = frame(**after(first, sequence=4))
    yield bad("fork", "fork-in-gap", "record 4, but record 5 named another", filler, after=["frame", "frame-after-gap"])
    before = {"previous_sealed_at": NOW - 3 * DAY, "sealed_at": NOW - 2 * DAY}
    old = frame(**link(sequence=3, previous=b"p" * 48, state="run", **before))
    yield bad("sequence-too-old", "replayed-from-before", "from before the reader joined", old, after=["frame-midway"])


def keys() -> Iterator[Vector]:
    national = frame(programme="national", channel="us.fbi.national.routine", label="UNCLASSIFIED")
    yield refused(
        8, "audience-empty", "audience-empty", "nobody may read it", national, place="us.fbi.national.routine/0"
    )

    def bad(code: str, name: str, comment: str, record: Record, **more: Any) -> Vector:
        return refused(9, code, name, comment, record, **more)

    whole = frame()
    yield bad("grant-missing", "grant-missing", "the key was not granted yet", whole, key=None)
    foreign = world.audience_key(endpoint=CBP)
    yield bad("grant-foreign", "grant-foreign", "granted by another endpoint", whole, key=foreign)
    wider = world.audience_key(audience=b"a" * 48)
    yield bad("grant-audience-mismatch", "grant-audience", "granted to other readers", whole, key=wider)
    early = frame(sealed_at=world.audience_key().epoch_start - 1)
    yield bad("grant-expired", "grant-early", "sealed before the epoch", early)
    late = world.audience_key(epoch_end=NOW - 60 * SECOND)
    yield bad("grant-expired", "grant-late", "sealed at the epoch's end", whole, key=late)
    liar = world.audience_key("other", id=world.audience_key().id)
    yield bad("audience-key-mismatch", "key-mismatch", "a key that is not the id's", whole, key=liar)
    grants = {"place": "us.fbi.grants/0"}
    wrong = grant_record(wrapped=world.seed("another key", 32))
    yield bad("audience-key-mismatch", "grant-key-mismatch", "wraps another key than it names", wrong, **grants)
    torn = grant_record()
    torn = sign(torn.header, _flip(torn.body, 1700))
    yield bad("grant-unwrap-failed", "grant-unwrap", "a wrap that does not open", torn, **grants)
    swapped = grant_record(sealed_at=NOW - 3599 * SECOND)
    swapped = sign(swapped.header, grant_record().body)
    yield bad("grant-unwrap-failed", "grant-spliced", "a wrap of another grant", swapped, **grants)


def body() -> Iterator[Vector]:
    whole = frame()
    spliced = sign(whole.header, frame([alert(2)]).body)
    yield refused(10, "decrypt-failed", "body-spliced", "the body of another frame, signed so", spliced)
    aad = sign(frame(precedence="PRIORITY").header, whole.body)
    yield refused(10, "decrypt-failed", "body-of-other-header", "sealed under another header, signed so", aad)
    sealed_other = frame(key=world.audience_key("other").key, edit={"audience_key_id": world.audience_key().id})
    yield refused(10, "decrypt-failed", "body-other-key", "sealed with another key than named", sealed_other)

    def bad(code: str, name: str, comment: str, plaintext: bytes, **more: Any) -> Vector:
        return refused(11, code, name, comment, frame(plaintext=plaintext, **more))

    def plain(codec: int, data: bytes, size: int | None = None) -> bytes:
        return (bytes([codec]) + len(data).to_bytes(4, "big") + data).ljust(size or padded_size(5 + len(data)), b"\0")

    data = SECRET + len(ALERT).to_bytes(4, "big") + ALERT
    good = pack(SECRET, [ALERT], compress=False)
    zstd = zstandard.ZstdCompressor(level=3)
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(64 * limits.MIB))
    unsized = zstandard.ZstdCompressor(level=3, write_content_size=False).compress(data)
    yield bad("padding-invalid", "padding-not-zero", "a byte of the padding is 1", good[:-1] + b"\1")
    yield bad("padding-invalid", "padding-longer", "a block more than needed", plain(0, data, 8 * limits.KIB))
    yield bad("padding-invalid", "padding-overrun", "a length beyond the end", b"\0\0\1\0\0".ljust(1024, b"\0"))
    yield bad("codec-unknown", "codec", "codec 2", plain(2, data))
    yield bad("compression-invalid", "zstd-noise", "codec 1, but no zstd", plain(1, data))
    yield bad("compression-invalid", "zstd-two-frames", "two zstd frames", plain(1, zstd.compress(data) * 2))
    yield bad(
        "compression-invalid", "zstd-trailing", "a byte after the zstd frame", plain(1, zstd.compress(data) + b"\0")
    )
    yield bad("unpacked-too-large", "zstd-bomb", "64 MiB in a few kilobytes", plain(1, bomb))
    yield bad("unpacked-too-large", "zstd-unsized", "no content size", plain(1, unsized))
    yield bad("count-invalid", "count-short", "count says 2, one is there", plain(0, data), edit={"count": 2})
    hollow = SECRET + (0).to_bytes(4, "big")
    yield bad("count-invalid", "event-empty", "an event of no bytes", plain(0, hollow))
    over = SECRET + (len(ALERT) + 1).to_bytes(4, "big") + ALERT
    yield bad("count-invalid", "lengths-over", "lengths beyond the end", plain(0, over))
    rest = data + b"\0"
    yield bad("count-invalid", "lengths-under", "a byte after the events", plain(0, rest))
    secret_type = {"type": "cargo_hold", "programme": "holds", "channel": "us.fbi.holds.routine", "schema_id": HOLD_ID}
    holds = {"place": "us.fbi.holds.routine/0", "reader": FBI, "key": world.audience_key(audience=world.HOLDS_AUDIENCE)}
    packed = frame([HOLD], compress=True, **secret_type)
    comment = "a type that is never compressed, compressed"
    yield refused(11, "compression-refused", "compression-refused", comment, packed, **holds)

    for name, comment, edit in (
        ("commitment", "a commitment to nothing", {"commitment": b"c" * 48}),
        ("commitment-other-events", "a commitment to other events", {"commitment": _commitment([alert(2)])}),
        ("commitment-order", "two events in the other order", {"commitment": _commitment([alert(3), alert(2)])}),
    ):
        events = [alert(2), alert(3)] if name.endswith("order") else [ALERT]
        yield refused(12, "commitment-mismatch", name, comment, frame(events, edit=edit))


def _commitment(events: list[bytes]) -> bytes:
    header = frame(events).header
    assert isinstance(header, FrameHeader)
    return header.commitment


def decoding() -> Iterator[Vector]:
    def bad(code: str, name: str, comment: str, record: Record) -> Vector:
        return refused(13, code, name, comment, record)

    yield bad("schema-unknown", "schema-unknown", "a schema not known here", frame(schema_id=b"s" * 48))
    yield bad(
        "event-header-mismatch",
        "schema-of-another-type",
        "the schema of another type",
        frame([HOLD], schema_id=HOLD_ID, compress=False),
    )
    yield bad("event-undecodable", "event-cut", "an event misses its last byte", frame([ALERT[:-1]]))
    yield bad("event-undecodable", "event-trailing", "a byte after the event", frame([ALERT + b"\0"]))
    yield bad("event-undecodable", "event-noise", "no event", frame([b"\xff" * 300]))
    for field, value in (
        ("label", "SECRET//REL TO USA, MEX"),
        ("originator", CBP),
        ("programme", "national"),
        ("precedence", "FLASH"),
    ):
        record = frame([ALERT, alert(2, **{field: value})])
        yield bad("event-header-mismatch", f"event-{field}", f"an event with another {field}", record)


def vectors() -> Iterator[Vector]:
    for part in (
        accepted,
        layout,
        place,
        signer,
        signatures,
        canonical,
        authority,
        narrowing,
        lineage,
        keys,
        body,
        decoding,
    ):
        yield from part()


def main() -> int:
    forge.KEPT = forge.Kept(KEPT_FILE)
    made = {f"{vector.name}.txt": vector.dump() for vector in vectors()}
    files = {FOLDER / name: text for name, text in made.items()}
    files |= {EXAMPLE_FILE: example.worked(frame()), KEPT_FILE: forge.KEPT.save()}
    old = {*FOLDER.glob("*.txt"), KEPT_FILE}
    if "--check" in sys.argv:
        wrong = [p.name for p, text in files.items() if not p.exists() or p.read_text() != text]
        wrong += [f"{p.name} (not made)" for p in old - files.keys()]
        if wrong:
            differ = " ".join(sorted(wrong)[:9])
            sys.stderr.write(f"{len(wrong)} vectors differ from what the program makes: {differ}\n")
            return 1
        sys.stdout.write(f"{len(made)} vectors are what the program makes\n")
        return 0
    FOLDER.mkdir(exist_ok=True)
    for path in old - files.keys():
        path.unlink(missing_ok=True)
    for path, text in files.items():
        path.write_text(text)
    sys.stdout.write(f"made {len(made)} vectors\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
