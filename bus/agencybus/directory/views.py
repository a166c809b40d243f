"""What a verifier needs of directories: the one that a record names, and since when it is superseded."""

from __future__ import annotations

from typing import Protocol

from agencybus.directory.model import Directory


class DirectoryView(Protocol):
    """Every directory that is known, by digest. `history.History` keeps them on disk, `MemoryHistory` does not."""

    def get(self, digest: bytes) -> Directory | None:
        """Return the directory of that digest (48 bytes), or None if it is not known (yet)."""

    def superseded_at(self, digest: bytes) -> int | None:
        """Return since when (microseconds) a newer one is in force; None if it is in force, or not known."""

    def in_force(self, at: int) -> Directory | None:
        """Return the one that was in force at a moment (microseconds), as is known today; None before the first."""


class MemoryHistory:
    """A history without a disk, for replay and tests."""

    def __init__(self, *directories: tuple[Directory, int]) -> None:
        """Begin with (directory, in force since, microseconds) pairs, oldest first."""
        self._directories: dict[bytes, Directory] = {}
        self._superseded: dict[bytes, int] = {}
        self._begins: list[tuple[int, Directory]] = []
        self._current: bytes | None = None
        for directory, at in directories:
            self.add(directory, at)

    def add(self, directory: Directory, at: int) -> None:
        """Take a directory that is in force since `at` (microseconds) and supersedes the one before."""
        if self._current is not None and self._current != directory.digest:
            self._superseded[self._current] = at
        self._superseded.pop(directory.digest, None)
        self._directories[directory.digest] = directory
        self._begins.append((at, directory))
        self._current = directory.digest

    def get(self, digest: bytes) -> Directory | None:
        """Return the directory of that digest (48 bytes), or None."""
        return self._directories.get(digest)

    def superseded_at(self, digest: bytes) -> int | None:
        """Return since when (microseconds) a newer one is in force, or None."""
        return self._superseded.get(digest)

    def in_force(self, at: int) -> Directory | None:
        """Return the one that was in force at a moment (microseconds); None before the first."""
        return next((directory for begin, directory in reversed(self._begins) if begin <= at), None)
