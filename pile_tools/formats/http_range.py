"""HTTP byte ranges that are checked: exact length, the same version, bounded retries."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.remote import RemoteSource
from pile_tools.formats.retry import TryAgain, asked_wait, retried
from pile_tools.formats.sources import MissingFileError
from pile_tools.formats.urls import CREDENTIALS_VARIABLE, redacted, without_credentials

__all__ = ["IDENTITY", "DeniedError", "HttpSource", "Response", "get_range", "is_encoded", "transport"]

_TIMEOUT: Final = 30.0
_RETRIED: Final = {408, 425, 429, 500, 502, 503, 504}
# Range units are compared without regard to case (RFC 9110, 14.1).
_CONTENT_RANGE: Final = re.compile(r"bytes\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)", re.IGNORECASE)


IDENTITY: Final = {"Accept-Encoding": "identity"}
"""Asks for the bytes of a file themselves: ranges and lengths of a compressed form are others."""


class DeniedError(PileToolsError):
    """The server refuses (401, 403): for a signed URL perhaps because it has expired."""


class Response:
    """A range that came: its bytes, the size of the whole, and what names the version (or None)."""

    def __init__(self, content: bytes, size: int, version: str | None) -> None:
        self.content = content
        self.size = size
        self.version = version


class _Redaction(logging.Filter):
    """Takes credentials out of the URLs in what is logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), None
        return True


_WITHOUT_CREDENTIALS: Final = _Redaction()


def hub_client() -> tuple[Any, Any]:
    """Return the HTTP client of huggingface_hub and the library that it is from (httpx or its heir)."""
    import huggingface_hub.utils

    client = huggingface_hub.utils.get_session()  # type: ignore[attr-defined]
    library = sys.modules[type(client).__module__.partition(".")[0]]
    for name in (library.__name__, "huggingface_hub.utils._http"):  # they log the URL of each request
        logging.getLogger(name).addFilter(_WITHOUT_CREDENTIALS)
    return client, library


@contextmanager
def transport(name: str) -> Iterator[Any]:
    """Give an HTTP client; what its connection raises becomes another try or an error naming ``name``."""
    client, library = hub_client()
    try:
        yield client
    except (library.UnsupportedProtocol, library.InvalidURL):
        # What the library says of it may hold a part of a password.
        raise PileToolsError(f"{name}: not a URL that can be asked for; give a whole URL") from None
    except library.TransportError as error:
        if "Errno -" in str(error):  # what the resolver says of a name that it does not find
            raise PileToolsError(f"{name}: {redacted(str(error))}; is there a network?") from None
        raise TryAgain(f"{type(error).__name__}: {redacted(str(error))}") from None
    except library.RequestError as error:  # too many redirects, or content that cannot be decoded
        raise PileToolsError(f"{name}: {type(error).__name__}: {redacted(str(error))}") from None
    except ConnectionError as error:  # what huggingface_hub raises where HF_HUB_OFFLINE is set
        raise PileToolsError(f"{name}: {' '.join(str(error).split())}") from None


def is_encoded(headers: Any) -> bool:
    """Return whether an answer is of a compressed form of the file, whatever was asked for."""
    return headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")


def get_range(
    url: str, start: int, length: int, *, name: str, headers: dict[str, str] | None = None
) -> Response:
    """Fetch ``length`` bytes of ``url`` from ``start``.

    Raises DataError where the server sends anything but those bytes, DeniedError where it refuses and
    PileToolsError where the file or the server is not there.
    """

    def once() -> Response:
        wanted = {
            **(headers or {}),
            "Range": f"bytes={start}-{start + length - 1}",
            **IDENTITY,
        }
        with (
            transport(name) as client,
            client.stream("GET", url, headers=wanted, timeout=_TIMEOUT, follow_redirects=True) as response,
        ):
            _check_status(response.status_code, response.headers, name, start, length)
            if is_encoded(response.headers):
                raise DataError(
                    f"{name}: the server sends {response.headers['Content-Encoding']!r} in place of the "
                    "bytes themselves; it cannot be read from there"
                )
            size = _check_content_range(response.headers.get("Content-Range", ""), name, start, length)
            content = bytearray()
            for part in response.iter_raw():
                content += part
                if len(content) > length:
                    raise DataError(f"{name}: more than the {length} bytes that were asked for came")
            if len(content) < length:
                raise TryAgain(f"{len(content)} of {length} bytes came", kind=DataError)
            version = response.headers.get("ETag") or response.headers.get("Last-Modified")
            return Response(bytes(content), size, version)

    return retried(once, name)


def _check_status(status: int, headers: Any, name: str, start: int, length: int) -> None:
    if status == 206:
        return
    if status == 200:
        raise DataError(
            f"{name}: the server sends the whole file in place of a range; it cannot be read from there"
        )
    if status == 416:
        raise DataError(f"{name}: ends before byte {start + length}; it is not the file that was expected")
    if status in _RETRIED:
        raise TryAgain(f"the server says {status}", asked_wait(headers))
    if status in (401, 403):
        raise DeniedError(
            f"{name}: the server refuses ({status}); give the URL with its user and password, or its token, "
            f"in the environment variable {CREDENTIALS_VARIABLE}; for the Hub, log in with `hf auth login` "
            "or ask for access"
        )
    if status in (404, 410):
        raise MissingFileError(f"{name}: not found ({status})")
    raise PileToolsError(f"{name}: the server says {status}")


def _check_content_range(header: str, name: str, start: int, length: int) -> int:
    match = _CONTENT_RANGE.fullmatch(header)
    if match is None or match[1] is None or match[3] == "*":
        raise DataError(f"{name}: the server says that it sends {header!r}, which is no range of bytes")
    first, last, size = int(match[1]), int(match[2]), int(match[3])
    if first != start or last != start + length - 1:
        short = first == start and last < start + length - 1
        message = f"bytes {first} to {last} came where {start} to {start + length - 1} were asked for"
        if short and last + 1 < size:
            raise TryAgain(message, kind=DataError)
        raise DataError(f"{name}: {message}")
    return size


class HttpSource(RemoteSource):
    """A file behind an http or https URL whose server gives ranges.

    Its version is the ETag, or else the time of the last change, that the server sends with each range.
    """

    def __init__(self, url: str, size: int | None = None) -> None:
        self.url, self.name = url, without_credentials(url)
        first = get_range(url, 0, 1, name=self.name)
        self.size, self._etag = first.size, first.version
        self.version = None if self._etag is None else f"{self.name} {self._etag} {self.size}"
        if size is not None and size != self.size:
            raise DataError(f"{self.name}: {self.size} bytes, but {size} were expected")

    def fetch(self, start: int, length: int) -> bytes:
        response = get_range(self.url, start, length, name=self.name)
        if (response.version, response.size) != (self._etag, self.size):
            raise DataError(f"{self.name}: changed while it was being read; begin again")
        return response.content
