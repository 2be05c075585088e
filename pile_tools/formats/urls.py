"""URLs: their parts, and credentials, which are needed to read and are neither stored nor shown.

Credentials are the user and password before the host (``https://user:password@host/tokens``) and the query
after the path, which may be a signature or a token (``https://host/tokens?token=…``). Whoever opens a URL
without them again gives them in the environment (``PILE_TOOLS_CREDENTIALS``) or, for the file systems of
fsspec, in its configuration.
"""

import os
import posixpath
import re
from typing import Final
from urllib.parse import quote, unquote

from pile_tools.errors import DataError

__all__ = [
    "CREDENTIALS_VARIABLE",
    "child",
    "is_url",
    "joined",
    "redacted",
    "split_last",
    "with_credentials",
    "without_credentials",
]

CREDENTIALS_VARIABLE: Final = "PILE_TOOLS_CREDENTIALS"
"""Environment variable of whole URLs with credentials, separated by spaces, which hold for all below each."""

# One slash is what is left of two where a URL was taken for a path.
_PARTS: Final = re.compile(r"([A-Za-z][\w+.-]+:)(/+)([^/?#]*)([^?#]*)(.*)", re.DOTALL)
_CHAINED: Final = re.compile(r"::(?=[A-Za-z][\w+.-]*:/)")
_IN_TEXT: Final = re.compile(r"[A-Za-z][\w+.-]+:/+[^\s'\"`<>]*")
_PUNCTUATION: Final = re.compile(r"[.,:;!)\]}…]*\Z")
_HTTP: Final = ("http:", "https:")
_UNQUOTED: Final = "/~!$&'()*+,;=:@"
# What follows their slashes is a path, in which "?" and "#" are letters like others.
_WITHOUT_HOST: Final = ("file:", "local:", "memory:")


def is_url(location: str | os.PathLike[str]) -> bool:
    """Whether ``location`` is a URL and not a path of this machine."""
    return "://" in os.fspath(location)


def without_credentials(location: str | os.PathLike[str]) -> str:
    """Return ``location``, a URL or a path, as it is stored and shown: without user, password and query."""
    return "::".join(_stripped(part) for part in _CHAINED.split(os.fspath(location)))


def _stripped(url: str) -> str:
    match = _PARTS.fullmatch(url)
    if match is None or match[1].lower() in _WITHOUT_HOST:
        return url
    scheme, slashes, authority, path, _ = match.groups()
    host = authority.rpartition("@")[2]
    _, colon, port = host.rpartition(":")
    if colon and port and not port.isdigit() and not host.endswith("]"):
        # No port: a password with a "/", "?" or "#" in it, of which the rest is taken for a path.
        return f"{scheme}{slashes}…"
    return f"{scheme}{slashes}{host}{path}"


def redacted(text: str) -> str:
    """Return ``text`` with every URL in it as ``without_credentials`` gives it."""

    def strip(match: re.Match[str]) -> str:
        end = _PUNCTUATION.search(match[0])
        return without_credentials(match[0][: end.start()]) + end[0] if end else match[0]

    return _IN_TEXT.sub(strip, text)


def with_credentials(url: str) -> str:
    """Return ``url``, where it has no credentials with those that the environment gives for it."""
    match = _PARTS.fullmatch(url)
    if match is None or without_credentials(url) != url:
        return url
    whole_urls = os.environ.get(CREDENTIALS_VARIABLE, "").split()
    known = {without_credentials(whole).rstrip("/"): whole for whole in whole_urls}
    for folder in sorted(known, key=len, reverse=True):
        source = _PARTS.fullmatch(known[folder])
        if source is not None and f"{url}/".startswith(f"{folder}/"):
            return f"{match[1]}{match[2]}{source[3]}{match[4]}{source[5]}"
    return url


def _parted(url: str) -> tuple[str, str, str]:
    """Return what is before the path of ``url``, its path, and its query."""
    match = _PARTS.fullmatch(url)
    if match is None or match[1].lower() in _WITHOUT_HOST:
        scheme, _, path = url.partition("://")
        return f"{scheme}://", path, ""
    if match[1].lower() in _HTTP:
        return f"{match[1]}//{match[3]}", match[4], match[5]
    host, slash, path = url[match.end(2) :].partition("/")
    return f"{match[1]}//{host}", slash + path, ""


def _is_http(url: str) -> bool:
    return url.lower().startswith(_HTTP)


def child(location: str, name: str) -> str:
    """Return the location of the file or folder ``name`` in the directory or URL ``location``."""
    if not is_url(location):
        return f"{location}/{name}"
    before, path, query = _parted(location)
    return f"{before}{path.rstrip('/')}/{quote(name, _UNQUOTED) if _is_http(location) else name}{query}"


def split_last(url: str) -> tuple[str, str]:
    """Return the URL of the folder that the file at ``url`` is in, and the file's name."""
    before, path, query = _parted(url)
    folder, _, name = path.rstrip("/").rpartition("/")
    return f"{before}{folder}{query}", unquote(name) if _is_http(url) else name


def joined(base: str, location: str) -> str:
    """Return ``location``, which a record in the directory or URL ``base`` holds, without any "..".

    It is a URL or a path relative to ``base``, on whose host it stays, with its credentials.
    Raises DataError for what is no location, and for one of this machine in a record behind a URL.
    """
    if "\0" in location:
        raise DataError(f"{without_credentials(base)}: names the location {location!r}, which holds a NUL")
    if is_url(location):
        if is_url(base) and ("::" in location or location.lower().startswith(("file:", "local:"))):
            raise DataError(
                f"{without_credentials(base)}: names the location {without_credentials(location)}, of this "
                "machine or within another; do not use this data, or name what it means yourself"
            )
        return location
    if not is_url(base):
        return os.path.normpath(os.path.join(base, location))
    before, path, query = _parted(base)
    if before.endswith("://"):
        return f"{before}{posixpath.normpath(posixpath.join(path, location))}"
    absolute = posixpath.join("/", path.lstrip("/"), location)
    return f"{before}{posixpath.normpath(absolute)}{query}"
