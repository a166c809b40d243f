"""How files of a repository are fetched: `file://` and `https://`, bounded in size and in time."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient import FetcherInterface
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

_CHUNK_BYTES: Final = 65_536
_SILENCE_SECONDS: Final = 10  # a server that says nothing for this long is given up
FILE_SECONDS: Final = 60.0  # for one file of at most 4 MiB; a server that drips longer withholds


class _Https(Urllib3Fetcher):
    """The client of python-tuf, but for a bound on the whole time of a file: its own is one on silence.

    Trusts the system's certificates; in a closed network SSL_CERT_FILE names others.
    """

    def __init__(self, file_seconds: float) -> None:
        super().__init__(socket_timeout=_SILENCE_SECONDS, app_user_agent="agencybus")
        self._file_seconds = file_seconds

    def _chunks(self, response: urllib3.response.BaseHTTPResponse) -> Iterator[bytes]:
        deadline = time.monotonic() + self._file_seconds
        try:
            while chunk := response.read1(_CHUNK_BYTES):  # what is there: `read` would wait for a whole chunk
                yield chunk
                if time.monotonic() > deadline:
                    raise SlowRetrievalError(f"more than {self._file_seconds:.0f} s for one file")
        except urllib3.exceptions.HTTPError as error:
            raise DownloadError("the transfer broke off") from error
        finally:
            response.release_conn()


class Fetcher(FetcherInterface):
    """Fetches what a URL names; the caller bounds the size."""

    def __init__(self, *, file_seconds: float = FILE_SECONDS) -> None:
        """Begin without a connection.

        Args:
            file_seconds: for one file over the network.
        """
        self._https = _Https(file_seconds)

    def _fetch(self, url: str) -> Iterator[bytes]:
        scheme = urlsplit(url).scheme
        if scheme == "https":
            return self._https.fetch(url)
        if scheme == "file":
            return _read_file(Path(url2pathname(urlsplit(url).path)))
        raise DownloadError("a directory is followed over https:// or file://")


def _read_file(path: Path) -> Iterator[bytes]:
    """Yield a regular file; whatever else carries the name (a pipe would block for ever) is not there."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DownloadHTTPError(f"{path.name} is no file", 404)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DownloadHTTPError(f"{path.name} is not there", 404) from error  # TUF: no newer root
    except OSError as error:
        raise DownloadError(f"{path.name} can't be read: {error.strerror}") from error
