"""Following the three repositories: what a publisher, a reader and an auditor run to have the directory.

python-tuf's `Updater` decides what is authentic and new; profile.py adds what this bus demands on top; history.py
keeps it. Then the view goes over to the new snapshots, under three rules:

1. All or nothing: a view is adopted when it parses as a whole. Else the one before stays.
2. Nobody holds up another. A repository that can't be had, or that makes no view, is left as it was, and the others
   move on: the withdrawal of one country must not wait for the other's server, or its mistake, or its malice.
3. Degrade, never blind: with an expired directory, or none to be reached, the last good one stays in use, and
   `health()` says so. A publisher asks `expired` before it widens anything.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from agencybus.directory.fetching import Fetcher
from agencybus.directory.files import write_whole
from agencybus.directory.history import JOINT, History, chain_name
from agencybus.directory.model import Directory
from agencybus.directory.profile import check_root
from agencybus.directory.source import Source
from agencybus.errors import DirectoryError
from agencybus.state.folder import coded_files
from agencybus.wire import ids


def wall_clock() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


class Freshness(msgspec.Struct, frozen=True):
    """What the last successful look at one repository said.

    Attributes:
        checked_at: when it was, microseconds.
        expires_at: first moment at which one of its files is past its date, microseconds.
    """

    checked_at: int
    expires_at: int


class DirectoryHealth(msgspec.Struct, frozen=True):
    """How good the directory in use is.

    Attributes:
        digest: of the view in use, 48 bytes; None if there is none.
        checked_at: when the repository longest not reached was last looked at, microseconds; 0 for never.
        expires_at: first moment at which one of its files is past its date, microseconds.
        age_us: microseconds since `checked_at`.
        expired: whether `expires_at` has passed.
        problems: repository → what the last refresh met there; empty if all was well.
    """

    digest: bytes | None
    checked_at: int
    expires_at: int
    age_us: int
    expired: bool
    problems: Mapping[str, DirectoryError]


class DirectoryClient:
    """Follows a federation's directory and keeps it in a folder. Several processes may share the folder.

    `refresh` blocks (network, disk): run it in a thread. Everything else may be called meanwhile.

    Attributes:
        realm: the deployment, 16 bytes.
        history: every view that ever was, for verifiers (`views.DirectoryView`).
    """

    def __init__(
        self,
        home: Path,
        *,
        trusted_root: bytes,
        url: str,
        urls: Mapping[str, str] | None = None,
        fetcher: Fetcher | None = None,
        now: Callable[[], int] = wall_clock,
    ) -> None:
        """Open what the folder holds; nothing is fetched.

        Args:
            home: made if it is not there; one per deployment.
            trusted_root: the first root of the joint repository, had on a trusted way.
            url: where the repositories are: `<url>/joint`, `<url>/<country>`.
            urls: `joint` or country code → its own URL instead.
            fetcher: how files are fetched.
            now: the clock, microseconds since the epoch.

        Raises:
            DirectoryError: `directory-invalid`, if the trusted root or the folder's content is not good.
            StateError: `state-denied` or `state-full`, if the folder can't be used.
        """
        if check_root(trusted_root, where="the trusted root")[0] != 1:
            raise DirectoryError("directory-invalid", "not the first root of the joint repository")
        self.realm = ids.realm_id(trusted_root)
        self._home = home / self.realm.hex()  # another trusted root is another deployment and shares nothing
        self._trusted_root = trusted_root
        self._url = url.rstrip("/")
        self._urls = dict(urls or {})
        self._fetcher = fetcher or Fetcher()
        self._now = now
        self._problems: dict[str, DirectoryError] = {}
        with coded_files(self._home):
            self._home.mkdir(parents=True, exist_ok=True)
            self._fresh = self._read_freshness()
        self.history = History(self._home / "history", realm=self.realm)
        self._chains: tuple[str, ...] = ()
        self._current: Directory | None = None
        if JOINT in self.history.heads:
            self._use(self.history.build(self.history.heads))

    @property
    def current(self) -> Directory:
        """The view in use.

        Raises:
            DirectoryError: `directory-unreachable`, if nothing was ever fetched.
        """
        if self._current is None:
            raise DirectoryError("directory-unreachable", "no directory was fetched yet", where=self._url)
        return self._current

    @property
    def expired(self) -> bool:
        """Whether one of the files that the view stands on is past its date."""
        return self.health().expired

    def health(self) -> DirectoryHealth:
        """Return the facts for an operator, a metric and the publisher's question whether it may widen."""
        now, notes = self._now(), self._fresh
        fresh = [notes.get(chain, Freshness(0, 0)) for chain in self._chains]
        checked_at = min((entry.checked_at for entry in fresh), default=0)
        expires_at = min((entry.expires_at for entry in fresh), default=0)
        return DirectoryHealth(
            digest=None if self._current is None else self._current.digest,
            checked_at=checked_at,
            expires_at=expires_at,
            age_us=now - checked_at,
            expired=now >= expires_at,
            problems=dict(self._problems),
        )

    def refresh(self) -> Directory:
        """Look at every repository and go over to what is new.

        Returns:
            The view in use afterwards. What went wrong at a repository is in `health().problems`.

        Raises:
            DirectoryError: there is no view at all, and this is why.
            StateError: `state-denied` or `state-full`: the folder refuses; the view in use stays.
        """
        with coded_files(self._home), self._locked():
            self.history.reload()
            self._fresh = self._read_freshness()
            problems: dict[str, DirectoryError] = {}
            fetched = self._fetch_all(problems)
            self._adopt(fetched, problems)
            write_whole(self._home / "freshness.json", msgspec.json.encode(self._fresh, order="sorted"))
        self._problems = problems
        if self._current is None:
            raise problems.get(JOINT) or next(iter(problems.values()))
        return self._current

    # --- fetch

    def _fetch_all(self, problems: dict[str, DirectoryError]) -> dict[str, tuple[str, bytes]]:
        """Follow all repositories; return name → (chain, newest snapshot) of those that could be."""
        fetched: dict[str, tuple[str, bytes]] = {}
        self._follow(JOINT, JOINT, self._trusted_root, fetched, problems)
        joint = fetched[JOINT][1] if JOINT in fetched else self.history.heads.get(JOINT)
        if joint is not None:
            for country, pin in sorted(self.history.pins(joint).items()):
                root = self.history.read(pin.digest)
                self._follow(country, chain_name(country, pin.digest), root, fetched, problems)
        return fetched

    def _follow(
        self,
        name: str,
        chain: str,
        root: bytes,
        fetched: dict[str, tuple[str, bytes]],
        problems: dict[str, DirectoryError],
    ) -> None:
        """Follow one repository, or note the problem."""
        url = self._urls.get(name, f"{self._url}/{name}").rstrip("/")
        try:
            check_root(root, where=f"{name}: first root")
            source = Source(name, url, self._home / "tuf" / chain, root, self._fetcher)
            expires_at = source.update()
            head = source.keep(self.history, self.history.heads.get(chain), self._now())
        except DirectoryError as error:
            problems[name] = error
        else:
            fetched[name] = (chain, head)
            self._fresh = self._fresh | {chain: Freshness(self._now(), expires_at)}

    # --- adopt

    def _adopt(self, fetched: Mapping[str, tuple[str, bytes]], problems: dict[str, DirectoryError]) -> None:
        """Go over to the new snapshots: all together, or else one repository after the other as far as it goes."""
        heads = dict(self.history.heads)
        together = heads | dict(fetched.values())
        if JOINT not in together:
            return
        try:
            self._go_over(together)
        except DirectoryError as error:
            if self._current is None:
                problems.setdefault(_repository_of(error), error)
                return
        else:
            return
        for name, (chain, head) in fetched.items():
            step = heads | {chain: head}
            if name == JOINT:  # a country that joins, or begins anew, comes with the joint file that names it
                new = {other: digest for other, digest in fetched.values() if other not in heads}
                step |= new
            try:
                self._go_over(step)
            except DirectoryError as error:
                problems.setdefault(name, error)
            else:
                heads = step

    def _go_over(self, heads: Mapping[str, bytes]) -> None:
        directory = self.history.build(heads)
        self.history.adopt(heads)
        self._use(directory)

    def _use(self, directory: Directory) -> None:
        pins = self.history.pins(self.history.heads[JOINT])
        self._chains = (JOINT, *(chain_name(code, pin.digest) for code, pin in pins.items()))
        self._current = directory

    # --- the folder

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait for other processes on this folder: python-tuf's cache is for one at a time."""
        handle = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read_freshness(self) -> dict[str, Freshness]:
        """Read what was noted; without it the directory counts as expired until it is looked at again."""
        try:
            return msgspec.json.decode((self._home / "freshness.json").read_bytes(), type=dict[str, Freshness])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}


def _repository_of(error: DirectoryError) -> str:
    """Name of the repository whose file an error of `parse_directory` names."""
    return error.where.partition(":")[0] or JOINT
