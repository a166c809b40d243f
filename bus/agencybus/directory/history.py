"""Every directory that ever was, on disk and for ever: rules are asked for the directory that a record names.

A record names a *view*: one snapshot of the joint repository with one of every country. Two clients that poll at
different moments see different views of the same snapshots, so what is kept is the snapshots, each repository's as a
chain (profile.py, rule 3), and a view is found among their combinations.

    objects/ab/abcd…   any signed or pinned file, named by its SHA-384
    heads.json         chain → newest snapshot; a chain is a repository under one pinned first root

An object is written before what pins it, and `heads.json` last, so everything below a head is there. Whatever is read
is compared with its name again: a view follows from its digest through hashes alone, without keys or clock.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec

from agencybus.directory.files import write_whole
from agencybus.directory.model import Directory, parse_directory
from agencybus.directory.profile import Pin, SnapshotFacts, TargetsFacts, read_snapshot, read_targets
from agencybus.errors import DirectoryError
from agencybus.wire import ids

JOINT: Final = "joint"
LAG_US: Final = 2 * 24 * 3600 * 1_000_000  # microseconds that parts of a view may be apart: twice what an opener takes
_NEVER: Final = 2**63 - 1
_CACHED: Final = 64  # directories held in memory; a reader meets one or two, a replay one after the other


def chain_name(country: str, first_root: bytes) -> str:
    """Name of a country's chain, by the SHA-384 of the root that the joint repository pins."""
    return f"{country}-{first_root.hex()[:32]}"


@dataclass(frozen=True, slots=True)
class _View:
    """Snapshots that make a directory together."""

    joint: SnapshotFacts
    countries: Mapping[str, SnapshotFacts]
    superseded_at: int

    @property
    def digest(self) -> bytes:
        return ids.directory_digest(self.joint.digest, {code: s.digest for code, s in self.countries.items()})


@dataclass(frozen=True, slots=True)
class _Chain:
    """A repository's snapshots, oldest first, with the moments between which each is the newest."""

    snapshots: tuple[SnapshotFacts, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, snapshots: list[SnapshotFacts]) -> _Chain:
        starts = tuple(snapshot.issued_at for snapshot in snapshots)
        return cls(tuple(snapshots), starts, (*starts[1:], _NEVER))

    def around(self, at: int) -> Iterator[tuple[SnapshotFacts, int]]:
        """Those that a client may have held at a moment, each with its end."""
        first, last = bisect_left(self.ends, at - LAG_US), bisect_right(self.starts, at)
        return zip(self.snapshots[first:last], self.ends[first:last], strict=True)

    def newest(self, at: int) -> SnapshotFacts | None:
        """That which was the newest at a moment; None before the first."""
        count = bisect_right(self.starts, at)
        return self.snapshots[count - 1] if count else None


@dataclass(frozen=True, slots=True)
class _Index:
    """What is known of the kept snapshots.

    Attributes:
        chains: by name.
        pinned: digest of a joint snapshot → country → name of its chain.
        views: by digest, those that a client may have held.
    """

    chains: Mapping[str, _Chain] = field(default_factory=dict)
    pinned: Mapping[bytes, Mapping[str, str]] = field(default_factory=dict)
    views: Mapping[bytes, _View] = field(default_factory=dict)


class History:
    """The kept snapshots of one deployment; a `views.DirectoryView`.

    Reading is safe beside one writer (`directory.following.DirectoryClient`, which holds the lock).
    """

    def __init__(self, folder: Path, *, realm: bytes) -> None:
        """Read what is kept.

        Args:
            folder: made if it is not there.
            realm: of the deployment, 16 bytes.

        Raises:
            DirectoryError: `directory-invalid`, if a kept file is missing or damaged.
        """
        self._folder = folder
        self._realm = realm
        self._heads: dict[str, bytes] = {}
        self._known = _Index()
        self._built: OrderedDict[bytes, Directory] = OrderedDict()
        self._lock = Lock()  # of what is built: verifiers ask from many threads
        self.reload()

    @property
    def heads(self) -> Mapping[str, bytes]:
        """Chain → SHA-384 of its newest snapshot."""
        return self._heads

    def reload(self) -> None:
        """Take over what another process has kept since."""
        path = self._folder / "heads.json"
        try:
            heads = msgspec.json.decode(path.read_bytes(), type=dict[str, bytes])
        except FileNotFoundError:
            return
        except (msgspec.DecodeError, OSError) as error:
            raise _damaged(path) from error
        if heads != self._heads:
            self._known = self._index(heads)
            self._heads = heads

    # --- what verifiers ask

    def get(self, digest: bytes) -> Directory | None:
        """Return the directory of that digest (48 bytes), or None if it is not known.

        Raises:
            DirectoryError: `directory-invalid`, if a kept file is missing or damaged.
        """
        if (view := self._known.views.get(digest)) is None:
            return None
        return self._build(view)

    def superseded_at(self, digest: bytes) -> int | None:
        """Since when (microseconds) one of its snapshots had a successor, by that successor's own date; or None."""
        view = self._known.views.get(digest)
        return None if view is None or view.superseded_at == _NEVER else view.superseded_at

    def in_force(self, at: int) -> Directory | None:
        """Return the directory of the snapshots that were the newest at a moment (microseconds), by their own dates.

        None before the first, and while what the authorities had signed made no directory together.
        """
        known = self._known
        joint = known.chains.get(JOINT, _Chain.of([])).newest(at)
        if joint is None:
            return None
        countries: dict[str, SnapshotFacts] = {}
        for code, name in known.pinned[joint.digest].items():
            snapshot = known.chains.get(name, _Chain.of([])).newest(at)
            if snapshot is None:
                return None
            countries[code] = snapshot
        try:
            return self._build(_View(joint, countries, _NEVER))
        except DirectoryError:
            return None

    # --- what the client asks

    def pins(self, joint: bytes) -> dict[str, Pin]:
        """Country → pin of its first root, as the joint snapshot of that digest says."""
        files = self._targets(self.snapshot(joint)).files
        return {path[6:-5]: pin for path, pin in files.items() if path.startswith("roots/")}

    def build(self, heads: Mapping[str, bytes]) -> Directory:
        """Make the directory of these heads, whether they are adopted or not.

        Raises:
            DirectoryError: `directory-invalid`, if they do not make one.
        """
        joint = self.snapshot(heads[JOINT])
        countries: dict[str, SnapshotFacts] = {}
        for country, pin in self.pins(joint.digest).items():
            chain = chain_name(country, pin.digest)
            if chain not in heads:
                raise DirectoryError("directory-unreachable", "nothing of it was ever seen", where=country)
            countries[country] = self.snapshot(heads[chain])
        return self._build(_View(joint, countries, _NEVER))

    def adopt(self, heads: Mapping[str, bytes]) -> None:
        """Make these the newest snapshots, for ever.

        Raises:
            OSError: the disk refused; nothing has changed.
        """
        merged = self._heads | dict(heads)
        if merged != self._heads:
            known = self._index(merged)
            write_whole(self._folder / "heads.json", msgspec.json.encode(merged, order="sorted"))
            self._heads, self._known = merged, known

    def has(self, digest: bytes) -> bool:
        """Whether a file of that SHA-384 is kept."""
        return self._path(digest).exists()

    def put(self, data: bytes) -> None:
        """Keep a verified file; what it pins is kept before.

        Raises:
            OSError: the disk refused.
        """
        path = self._path(hashlib.sha384(data).digest())
        if not path.exists():
            write_whole(path, data)

    def read(self, digest: bytes) -> bytes:
        """Return a kept file.

        Raises:
            DirectoryError: `directory-invalid`, if it is missing or not what its name says.
        """
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _damaged(path) from error
        if hashlib.sha384(data).digest() != digest:
            raise _damaged(path)
        return data

    def snapshot(self, digest: bytes) -> SnapshotFacts:
        """Return the facts of a kept snapshot."""
        return read_snapshot(self.read(digest), where=f"snapshot {digest.hex()[:16]}")

    def ancestors(self, digest: bytes) -> Iterator[SnapshotFacts]:
        """Walk from a kept snapshot back to the first."""
        following: bytes | None = digest
        while following is not None:
            facts = self.snapshot(following)
            yield facts
            following = None if facts.previous is None else facts.previous.digest

    # --- inside

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._folder / "objects" / name[:2] / name

    def _targets(self, snapshot: SnapshotFacts) -> TargetsFacts:
        return read_targets(self.read(snapshot.targets.digest), where=f"targets of {snapshot.digest.hex()[:16]}")

    def _index(self, heads: Mapping[str, bytes]) -> _Index:
        """Find every view that a client may have held: parts at most LAG_US apart."""
        chains = {name: _Chain.of(list(self.ancestors(head))[::-1]) for name, head in heads.items()}
        views: dict[bytes, _View] = {}
        pinned: dict[bytes, Mapping[str, str]] = {}
        joint_chain = chains.get(JOINT, _Chain.of([]))
        for joint, end in zip(joint_chain.snapshots, joint_chain.ends, strict=True):
            names = {code: chain_name(code, pin.digest) for code, pin in self.pins(joint.digest).items()}
            pinned[joint.digest] = names
            own = {code: chains.get(name, _Chain.of([])) for code, name in names.items()}
            for view in _views_of(joint, end, own):
                views[view.digest] = view
        return _Index(chains, pinned, views)

    def _build(self, view: _View) -> Directory:
        digest = view.digest
        with self._lock:
            if (built := self._built.get(digest)) is not None:
                self._built.move_to_end(digest)  # or forged records that name old views would push out today's
                return built
        files: dict[str, dict[str, bytes]] = {}
        expires_at = _NEVER
        for name, snapshot in {JOINT: view.joint, **view.countries}.items():
            targets = self._targets(snapshot)
            files[name] = {path: self.read(pin.digest) for path, pin in targets.files.items()}
            expires_at = min(expires_at, snapshot.expires_at, targets.expires_at)
        joint = files.pop(JOINT)
        directory = parse_directory(
            digest=digest, realm=self._realm, joint=joint, countries=files, expires_at=expires_at
        )
        with self._lock:
            self._built[digest] = directory
            while len(self._built) > _CACHED:
                self._built.popitem(last=False)
        return directory


def _views_of(joint: SnapshotFacts, end: int, own: Mapping[str, _Chain]) -> Iterator[_View]:
    """Yield the views with this joint snapshot, by the part that began last.

    Fixing that part keeps the work linear in a chain's length: a country that publishes without end delays nobody.
    """

    def views(parts: Mapping[str, Iterable[tuple[SnapshotFacts, int]]]) -> Iterator[_View]:
        for held in product(*parts.values()):
            countries = dict(zip(parts, (snapshot for snapshot, _ in held), strict=True))
            yield _View(joint, countries, min([end, *(part_end for _, part_end in held)]))

    yield from views({code: chain.around(joint.issued_at) for code, chain in own.items()})
    for country, chain in own.items():
        first, last = bisect_left(chain.starts, joint.issued_at), bisect_right(chain.starts, end + LAG_US)
        for snapshot, part_end in zip(chain.snapshots[first:last], chain.ends[first:last], strict=True):
            others = {code: other.around(snapshot.issued_at) for code, other in own.items() if code != country}
            yield from views({**others, country: [(snapshot, part_end)]})


def _damaged(path: Path) -> DirectoryError:
    return DirectoryError(
        "directory-invalid",
        "a kept file of the directory's history is missing or damaged",
        where=str(path),
        hint="Move the directory's folder away: its history is fetched again.",
    )
