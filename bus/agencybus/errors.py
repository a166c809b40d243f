"""Every error of the bus: a stable code, whose fault it is, what happens next, what to do.

The classes are split by culprit (as in h11): a ``RecordError`` is the fault of whoever wrote the record, an
``EventError`` of whoever asked to publish, and so on. The code is the contract; the sentence may change.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final


class Culprit(Enum):
    """Whose fault an error is."""

    WRITER = "writer"  # the endpoint that signed, or somebody who pretends to be it
    CALLER = "caller"  # the local program or person that asked
    OPERATOR = "operator"  # local configuration, keys, disk, clock
    BROKER = "broker"  # Kafka or the way to it
    DIRECTORY = "directory"  # the signed statement of who may do what


class Reaction(Enum):
    """What the bus does when the error occurs."""

    REFUSE = "refuse"  # the input is refused; nothing else is touched
    QUARANTINE = "quarantine"  # the record is kept whole, with the reason; the feed goes on
    WAIT = "wait"  # tried again when what is missing arrives, then quarantined
    RETRY = "retry"  # tried again with back-off
    ALARM = "alarm"  # reported; the feed goes on
    HALT = "halt"  # the process stops: going on could lose or leak


class Step(IntEnum):
    """The opener's steps (docs/spec/records-v1.md), numbered once."""

    LAYOUT = 1
    PLACE = 2
    SIGNER = 3
    SIGNATURES = 4
    CANONICAL = 5
    AUTHORITY = 6
    LINEAGE = 7
    ENTITLEMENT = 8
    AUDIENCE_KEY = 9
    DECRYPT = 10
    UNPACK = 11
    COMMITMENT = 12
    DECODE = 13


@dataclass(frozen=True, slots=True)
class Code:
    """One error code.

    Attributes:
        culprit: whose fault it is.
        reaction: what the bus does.
        hint: what a person can do, in one sentence.
    """

    culprit: Culprit
    reaction: Reaction
    hint: str


_W, _C, _O, _B, _D = (
    Culprit.WRITER,
    Culprit.CALLER,
    Culprit.OPERATOR,
    Culprit.BROKER,
    Culprit.DIRECTORY,
)
_ASK_WRITER = "Ask the named endpoint's operator; `agencybus quarantine show` has the record."

CODES: Final[dict[str, Code]] = {
    # --- records: step 1, size and layout
    "record-too-short": Code(
        _W, Reaction.QUARANTINE, "The record is cut off or not ours; see who may write to the topic."
    ),
    "record-too-large": Code(_W, Reaction.QUARANTINE, "Records end at 640 KiB; see who may write to the topic."),
    "magic-unknown": Code(_W, Reaction.QUARANTINE, "Not a record of this bus; see who may write to the topic."),
    "version-unknown": Code(
        _W, Reaction.QUARANTINE, "Written by a newer version: upgrade, then release it from quarantine."
    ),
    "kind-unknown": Code(_W, Reaction.QUARANTINE, "Written by a newer version, or damaged: upgrade, then release it."),
    "kind-unexpected": Code(_W, Reaction.QUARANTINE, "This kind of record does not belong into this topic."),
    "header-too-large": Code(_W, Reaction.QUARANTINE, _ASK_WRITER),
    "header-undecodable": Code(_W, Reaction.QUARANTINE, _ASK_WRITER),
    "header-value-invalid": Code(_W, Reaction.QUARANTINE, _ASK_WRITER),
    "body-length-invalid": Code(_W, Reaction.QUARANTINE, _ASK_WRITER),
    # --- step 2, place
    "realm-mismatch": Code(
        _W, Reaction.QUARANTINE, "A record of another deployment (a test system?) was written here."
    ),
    "channel-mismatch": Code(_W, Reaction.QUARANTINE, "The record was signed for another topic: somebody moved it."),
    "partition-mismatch": Code(
        _W, Reaction.QUARANTINE, "The record was signed for another partition: somebody moved it."
    ),
    # --- step 3, signer
    "directory-unknown": Code(
        _D, Reaction.WAIT, "The record names a directory not followed yet; check the directory's URL."
    ),
    "directory-superseded": Code(
        _W,
        Reaction.QUARANTINE,
        "The writer uses an old directory: its operator should look at its directory client.",
    ),
    "endpoint-unknown": Code(_W, Reaction.QUARANTINE, "The endpoint is not in the directory the record names."),
    "signer-unknown": Code(
        _W, Reaction.QUARANTINE, "The key is not the endpoint's; if the endpoint is real, treat as an attack."
    ),
    "signer-expired": Code(_W, Reaction.QUARANTINE, "The writer must rotate its signing key."),
    "signer-not-yet-valid": Code(_W, Reaction.QUARANTINE, "Check the writer's clock."),
    "sealed-in-future": Code(_W, Reaction.QUARANTINE, "Check this machine's clock, then the writer's."),
    # --- step 4, signatures
    "mldsa-signature-invalid": Code(_W, Reaction.QUARANTINE, "The record was altered or forged; treat as an attack."),
    "p384-signature-invalid": Code(_W, Reaction.QUARANTINE, "The record was altered or forged; treat as an attack."),
    # --- step 5, canonical form
    "header-not-canonical": Code(_W, Reaction.QUARANTINE, _ASK_WRITER),
    # --- step 6, authority (also raised by policy on the publishing side)
    "type-unknown": Code(_W, Reaction.QUARANTINE, "The event type is not known here: upgrade the schemas."),
    "programme-unknown": Code(_D, Reaction.QUARANTINE, "The programme is not in the joint directory."),
    "programme-not-in-force": Code(
        _D, Reaction.QUARANTINE, "The programme has not begun or has ended; both countries renew it."
    ),
    "programme-type-refused": Code(_D, Reaction.QUARANTINE, "The programme does not carry this event type."),
    "programme-party-missing": Code(_D, Reaction.QUARANTINE, "The agency is not a party to the programme."),
    "ceiling-exceeded": Code(_D, Reaction.QUARANTINE, "The label is above the programme's ceiling."),
    "label-policy-foreign": Code(_D, Reaction.QUARANTINE, "An endpoint labels in the words of its own country only."),
    "clearance-exceeded": Code(_D, Reaction.QUARANTINE, "The label is above the publishing endpoint's own clearance."),
    "right-missing": Code(_D, Reaction.QUARANTINE, "The endpoint's country did not give it the right to publish this."),
    "channel-not-own": Code(
        _W, Reaction.QUARANTINE, "An endpoint writes only channels of its own agency, programme and lane."
    ),
    "endpoint-withdrawn": Code(_D, Reaction.QUARANTINE, "The endpoint's country withdrew it."),
    "recipient-invalid": Code(
        _W, Reaction.QUARANTINE, "The grant names a recipient or key that the directory does not."
    ),
    # --- step 7, lineage
    "chain-broken": Code(
        _W,
        Reaction.QUARANTINE,
        "The record does not follow the one before it: a fork, or a broker rewrote history.",
    ),
    "fork": Code(
        _W,
        Reaction.QUARANTINE,
        "Two records carry one number: a stolen key or a cloned writer. Call the endpoint's operator.",
    ),
    "sequence-too-old": Code(
        _W,
        Reaction.QUARANTINE,
        "A record from before the remembered window came again: a replay, or a rebuilt topic.",
    ),
    "lineage-start-invalid": Code(
        _W, Reaction.QUARANTINE, "A lineage's first record must name the lineage's own start value."
    ),
    "lineages-too-many": Code(
        _W,
        Reaction.QUARANTINE,
        "One endpoint writes under thousands of names: give each of its processes one name, for ever.",
    ),
    "gap": Code(_B, Reaction.ALARM, "Records are missing: replay the topic at the source, ask who runs the broker."),
    "unseen-history": Code(
        _B,
        Reaction.ALARM,
        "Records sealed after this reader's start were never seen: somebody may withhold them.",
    ),
    "joined-midway": Code(_O, Reaction.ALARM, "Normal for a reader that starts late; older records are in the topic."),
    "writer-recovered": Code(_W, Reaction.ALARM, "The writer lost its state and went on from the broker's tail."),
    "late-record": Code(_B, Reaction.ALARM, "A missing record arrived after its successors."),
    "sealed-long-ago": Code(
        _W,
        Reaction.ALARM,
        "Held up for a day, replayed to a new reader, or backdated by who holds an old key: ask the endpoint's operator.",
    ),
    "feed-silent": Code(
        _B, Reaction.ALARM, "Neither events nor heartbeats arrive: the writer is down, or somebody withholds."
    ),
    # --- step 8, entitlement
    "audience-empty": Code(
        _C,
        Reaction.REFUSE,
        "Nobody but the publisher may read it: check label, REL TO and programme with `agencybus explain`.",
    ),
    # --- step 9, audience key
    "grant-missing": Code(
        _W,
        Reaction.WAIT,
        "The key was not granted to this endpoint (yet); it is tried again when the grant comes.",
    ),
    "grant-audience-mismatch": Code(
        _W, Reaction.QUARANTINE, "The grant names other readers than the directory's rules give."
    ),
    "grant-foreign": Code(_W, Reaction.QUARANTINE, "The key was granted by another endpoint; treat as an attack."),
    "grant-expired": Code(_W, Reaction.QUARANTINE, "The record was sealed outside of its key's epoch."),
    "grant-unwrap-failed": Code(_W, Reaction.QUARANTINE, "The wrapped key does not open with this endpoint's key."),
    "audience-key-mismatch": Code(_W, Reaction.QUARANTINE, "The granted key is not the one the record names."),
    # --- step 10, 11, 12, 13
    "decrypt-failed": Code(_W, Reaction.QUARANTINE, "The body was not sealed with the key that the record names."),
    "padding-invalid": Code(_W, Reaction.QUARANTINE, _ASK_WRITER),
    "codec-unknown": Code(
        _W, Reaction.QUARANTINE, "Written by a newer version: upgrade, then release it from quarantine."
    ),
    "compression-refused": Code(_W, Reaction.QUARANTINE, "Events of this type are never compressed."),
    "compression-invalid": Code(_W, Reaction.QUARANTINE, _ASK_WRITER),
    "unpacked-too-large": Code(_W, Reaction.QUARANTINE, "A decompression bomb; treat as an attack."),
    "count-invalid": Code(_W, Reaction.QUARANTINE, _ASK_WRITER),
    "commitment-mismatch": Code(_W, Reaction.QUARANTINE, "The events are not the ones that were signed."),
    "schema-unknown": Code(
        _W, Reaction.QUARANTINE, "Written with a schema not known here: upgrade the schemas, then release it."
    ),
    "event-undecodable": Code(_W, Reaction.QUARANTINE, _ASK_WRITER),
    "event-header-mismatch": Code(
        _W,
        Reaction.QUARANTINE,
        "An event in the frame carries another label, type or programme than the signed header.",
    ),
    "crash-fuse": Code(_W, Reaction.QUARANTINE, "This record killed the process twice; send it to the maintainers."),
    "refused-by-tool": Code(
        _O, Reaction.QUARANTINE, "The local tool will not take it; mend the tool, then release it."
    ),
    # --- events: the caller's
    "label-invalid": Code(_C, Reaction.REFUSE, "Write a label such as SECRET//LES//REL TO USA, MEX."),
    "event-invalid": Code(_C, Reaction.REFUSE, "`agencybus event check` names the field and the rule."),
    "event-too-large": Code(_C, Reaction.REFUSE, "An event ends at 256 KiB; send large material as a reference."),
    "endpoint-not-ours": Code(_C, Reaction.REFUSE, "An endpoint publishes in its own name only."),
    "reference-reused": Code(
        _C, Reaction.REFUSE, "The reference names one message for ever; use a new one for new content."
    ),
    "not-confirmed": Code(_C, Reaction.REFUSE, "Look at it with --dry-run; if it is right, say --yes."),
    "export-unwritable": Code(
        _C, Reaction.REFUSE, "Name a new file in a folder that is there, with room and the right to write."
    ),
    "source-unreadable": Code(_C, Reaction.REFUSE, "Name files that are there and that this user may read."),
    "publisher-closed": Code(_C, Reaction.REFUSE, "Open the publisher first; it refuses after close()."),
    "not-accepted": Code(
        _B, Reaction.RETRY, "No quorum of brokers took it in time; it stays in the journal and is sent again."
    ),
    # --- the operator's
    "config-invalid": Code(_O, Reaction.HALT, "Mend the named key of the TOML file."),
    "usage": Code(_C, Reaction.REFUSE, "See --help."),
    "extra-missing": Code(_O, Reaction.HALT, "Install what the command needs: pip install 'agencybus[dev]'."),
    "keyring-missing": Code(
        _O, Reaction.HALT, "Make one with `agencybus dev up` or copy the endpoint's key file here."
    ),
    "keyring-permissions": Code(
        _O, Reaction.HALT, "chmod 600 the key file and 700 its folder; nobody else may read them."
    ),
    "keyring-locked": Code(_O, Reaction.HALT, "The passphrase is wrong or the key file is damaged."),
    "keyring-invalid": Code(_O, Reaction.HALT, "The key file is damaged or of another version."),
    "keyring-foreign": Code(
        _O, Reaction.HALT, "The key file is of another endpoint, or the directory does not carry its key (yet)."
    ),
    "keyring-exists": Code(
        _O,
        Reaction.REFUSE,
        "A key file is never overwritten by chance: move it away, or say that it shall be replaced.",
    ),
    "keyring-unwritable": Code(
        _O, Reaction.REFUSE, "The key file was not stored: check owner, mode and space of its folder."
    ),
    "passphrase-missing": Code(_O, Reaction.HALT, "Name a file that holds the passphrase, or start from a terminal."),
    "key-expired": Code(_O, Reaction.HALT, "Rotate this endpoint's key and have the directory carry the new one."),
    "state-locked": Code(_O, Reaction.HALT, "Another process uses this state folder: one process per folder."),
    "state-corrupt": Code(_O, Reaction.HALT, "Move the folder away and start again: history comes from the topic."),
    "state-full": Code(
        _O,
        Reaction.HALT,
        "The disk is full or refuses writes: free space; nothing was acknowledged that is not stored.",
    ),
    "state-foreign": Code(_O, Reaction.HALT, "The state folder belongs to another endpoint, realm or route."),
    "state-cloned": Code(
        _O, Reaction.HALT, "Two copies of this writer ran, or an old copy came back: stop both, keep one, tell readers."
    ),
    "state-denied": Code(_O, Reaction.HALT, "Check owner and mode of the state folder and the folders above it."),
    "state-missing": Code(_O, Reaction.REFUSE, "There is no state in this folder: check the path."),
    "state-misuse": Code(
        _O, Reaction.HALT, "A fault of this program, stopped before it did harm; send it to the maintainers."
    ),
    "quarantine-unknown": Code(_C, Reaction.REFUSE, "`agencybus quarantine list` shows the numbers."),
    "quarantine-decided": Code(
        _C, Reaction.REFUSE, "It was released or discarded before; `agencybus quarantine show` says by whom."
    ),
    "quarantine-not-kept": Code(
        _C,
        Reaction.REFUSE,
        "The quota was full, only digest and place were kept: read the record again from the topic.",
    ),
    "start-required": Code(_O, Reaction.HALT, "Say where a new reader begins: start = earliest, now or a time."),
    "sink-failed": Code(
        _O,
        Reaction.RETRY,
        "The local tool refused, died or hangs; it is started again, and what it did not take comes again.",
    ),
    "sink-full": Code(
        _O, Reaction.RETRY, "The disk under the sink's file is full: free space; nothing is lost, it waits."
    ),
    "sink-locked": Code(_O, Reaction.HALT, "Another process or route writes this file: one route per file."),
    "sink-foreign": Code(_O, Reaction.HALT, "The file holds what this sink did not write: name another file."),
    "above-ceiling": Code(
        _O,
        Reaction.ALARM,
        "The label is above the ceiling of the route's tool: counted, not given to it, not kept for it.",
    ),
    "broker-setup": Code(_O, Reaction.HALT, "Install the dev extra: pip install 'agencybus[dev]'."),
    "broker-locked": Code(_O, Reaction.HALT, "A broker already runs on this data folder: `agencybus dev status`."),
    # --- the broker's
    "broker-unreachable": Code(_B, Reaction.RETRY, "Check bootstrap, network and TLS with `agencybus daemon check`."),
    "broker-refused": Code(
        _B,
        Reaction.RETRY,
        "The broker's ACL or settings refuse this endpoint; `agencybus daemon check` shows which.",
    ),
    "broker-stalled": Code(_B, Reaction.RETRY, "No progress although records wait: the consumer was rebuilt."),
    "batch-compressed": Code(
        _B, Reaction.QUARANTINE, "A compressed Kafka batch is never unpacked: see who may write to the topic."
    ),
    "batch-corrupt": Code(
        _B,
        Reaction.QUARANTINE,
        "The broker handed out a damaged batch; it was stepped over, record by record.",
    ),
    "offset-lost": Code(
        _B,
        Reaction.HALT,
        "The topic was truncated, expired or made anew below this reader: an operator must decide.",
    ),
    "topic-missing": Code(_B, Reaction.RETRY, "The topic does not exist or this endpoint may not see it."),
    # --- the directory's
    "directory-invalid": Code(
        _D, Reaction.HALT, "The directory is not what its authorities signed; nothing changes until it is."
    ),
    "directory-expired": Code(
        _D, Reaction.ALARM, "The directory is past its date: readers go on, publishers do not widen."
    ),
    "directory-unreachable": Code(_D, Reaction.RETRY, "Check the directory's URL; the last good copy stays in use."),
    # --- schemas
    "schema-refused": Code(_D, Reaction.REFUSE, "The schema gate names the rule; see docs/spec/events-v1.md."),
    "schema-incompatible": Code(
        _D, Reaction.REFUSE, "A schema may only change so that every released version reads every other."
    ),
}


class BusError(Exception):
    """The root of all documented errors.

    Attributes:
        code: a key of `CODES`.
        what: what happened, in a sentence, without content of events or keys.
        where: file, line, topic, field; empty if it says nothing.
    """

    def __init__(self, code: str, what: str, *, where: str = "", hint: str | None = None) -> None:
        self._known = CODES[code]
        self.code = code
        self.what = what
        self.where = where
        self._hint = hint
        super().__init__(code, what, where)

    @property
    def culprit(self) -> Culprit:
        """Whose fault it is."""
        return self._known.culprit

    @property
    def reaction(self) -> Reaction:
        """What the bus does about it."""
        return self._known.reaction

    @property
    def hint(self) -> str:
        """What a person can do about it."""
        return self._hint or self._known.hint

    def __str__(self) -> str:
        at = f" ({self.where})" if self.where else ""
        return f"{self.code}: {self.what}{at}"


class RecordError(BusError):
    """A record failed one of the opener's steps.

    Attributes:
        step: the step that refused it.
    """

    def __init__(self, step: Step, code: str, what: str, *, where: str = "") -> None:
        super().__init__(code, what, where=where)
        self.step = step

    def __str__(self) -> str:
        return f"step {int(self.step)} {super().__str__()}"


class LabelError(BusError):
    """A label or clearance is malformed."""


class PolicyError(BusError):
    """The directory's rules say no. `rule` is the code of the rule that said so."""

    @property
    def rule(self) -> str:
        """The rule that said no: the code itself."""
        return self.code


class EventError(BusError):
    """An event can't be published as it is.

    Attributes:
        field: dotted path of the offending field, or empty.
        rule: short stable name of the rule that it breaks, or empty.
        line: number of the line that holds it, 0 if it came from no file.
    """

    def __init__(
        self,
        code: str,
        what: str,
        *,
        field: str = "",
        rule: str = "",
        line: int = 0,
        where: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(code, what, where=where or field, hint=hint)
        self.field = field
        self.rule = rule
        self.line = line


class SchemaError(BusError):
    """A schema fails the gate, or is not known here."""


class DirectoryError(BusError):
    """The directory can't be had, read or trusted."""


class ConfigError(BusError):
    """A configuration file, option or environment is wrong."""


class KeyringError(BusError):
    """A key file can't be used."""


class StateError(BusError):
    """The state folder can't be used."""


class SinkError(BusError):
    """A local tool does not take events."""


class TransportError(BusError):
    """Kafka did not do what was asked, in time."""


class QuarantineError(BusError):
    """An entry of the quarantine is not there, or can't be decided on."""
