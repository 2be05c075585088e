"""Files of a repository on the Hub, by ranges, all of the commit that was there when the first was opened."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.http_range import (
    IDENTITY,
    DeniedError,
    Response,
    get_range,
    is_encoded,
    transport,
)
from pile_tools.formats.names import check_name
from pile_tools.formats.remote import RemoteSource
from pile_tools.formats.retry import TryAgain, asked_wait, retried
from pile_tools.formats.sources import MissingFileError
from pile_tools.formats.urls import redacted, without_credentials

__all__ = ["HubLocation", "HubMetadata", "HubRepository", "HubSource"]

_TIMEOUT: Final = 30.0
_MOST_MOVES: Final = 5
_LOCATION: Final = re.compile(
    r"hf://(?:(?P<kind>datasets|models|spaces)/)?"
    r"(?P<id>(?!(?:datasets|models|spaces)/)[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>[^/]+))?(?:/(?P<path>.*))?"
)


@dataclass(frozen=True, slots=True)
class HubLocation:
    """What ``hf://datasets/OWNER/NAME@REVISION/FOLDER`` says; ``kind`` is "dataset", "model" or "space"."""

    kind: str
    repository: str
    revision: str | None
    path: str

    @classmethod
    def parse(cls, url: str) -> Self:
        match = _LOCATION.fullmatch(url)
        if match is None:
            raise PileToolsError(
                f"{without_credentials(url)}: not a place on the Hub; write hf://datasets/OWNER/NAME/FOLDER"
            )
        kind = (match["kind"] or "models").removesuffix("s")
        # A branch such as refs/pr/1 is written with %2F, as huggingface_hub does.
        revision = match["revision"].replace("%2F", "/") if match["revision"] else None
        return cls(kind, match["id"], revision, (match["path"] or "").strip("/"))


@dataclass(frozen=True, slots=True)
class HubMetadata:
    """A file of a commit: its size and ETag, and the address of its bytes, ``elsewhere`` or on the Hub."""

    commit: str
    size: int
    etag: str | None
    address: str
    elsewhere: bool


def _head(client: Any, url: str, name: str) -> HubMetadata:
    """Ask the Hub of a file, following it where a repository has moved but not to the store of the bytes."""
    import huggingface_hub.utils

    for _ in range(_MOST_MOVES):
        response = client.request(
            "HEAD", url, headers=_headers_for(url) | IDENTITY, timeout=_TIMEOUT, follow_redirects=False
        )
        huggingface_hub.utils.hf_raise_for_status(response)  # type: ignore[attr-defined]
        headers = response.headers
        target = headers.get("Location")
        if target is None or "X-Linked-Size" in headers or urlsplit(target).netloc:
            commit, size = headers.get("X-Repo-Commit"), headers.get("X-Linked-Size")
            if size is None and target is None and not is_encoded(headers):
                size = headers.get("Content-Length")
            if commit is None:
                raise DataError(f"{name}: the server does not say of which commit it is")
            etag = headers.get("X-Linked-ETag") or headers.get("ETag")
            address = urljoin(url, target or "")
            if size is None or not size.isdecimal():
                # No length, or that of a compressed form: a range names the length of the whole.
                size = get_range(address, 0, 1, name=name, headers=_headers_for(address)).size
            return HubMetadata(commit, int(size), _plain(etag), address, target is not None)
        url = urljoin(url, target)
    raise PileToolsError(f"{name}: sent on more than {_MOST_MOVES} times")


class HubRepository:
    """A repository at one commit, which is settled when the first file is opened."""

    def __init__(self, kind: str, repository: str, revision: str | None = None) -> None:
        self.kind = kind
        self.repository = repository
        self.revision = revision
        self.commit: str | None = None
        self._files: dict[str, int | None] | None = None

    @property
    def named(self) -> tuple[str, str, str | None]:
        """Its kind, its id and the revision that was asked for."""
        return self.kind, self.repository, self.revision

    @property
    def name(self) -> str:
        return f"hf://{self.kind}s/{self.repository}"

    def _url(self, path: str) -> str:
        import huggingface_hub

        revision = self.commit or self.revision
        return huggingface_hub.hf_hub_url(self.repository, path, repo_type=self.kind, revision=revision)

    def metadata(self, path: str) -> "HubMetadata":
        """Return what the Hub says of a file; the first answer pins the commit."""
        url = self._url(path)
        name = f"{self.name}/{path}"

        def once() -> HubMetadata:
            with transport(name) as client, _explained(name, self.revision):
                return _head(client, url, name)

        found = retried(once, name)
        if self.commit is None:
            self.commit = found.commit
            if not found.elsewhere:
                # Asked for by a branch: its bytes have to be those of this commit when the branch has moved.
                found = replace(found, address=self._url(path))
        elif found.commit != self.commit:
            raise DataError(f"{name}: of commit {found.commit}, but {self.commit} was asked for")
        return found

    def files(self) -> dict[str, int | None]:
        """Return path and size of every file of the commit (a size is None where the Hub does not say)."""
        if self._files is not None:
            return self._files
        from huggingface_hub import HfApi

        def once() -> Any:
            with transport(self.name), _explained(self.name, self.revision):
                return HfApi().repo_info(
                    self.repository,
                    repo_type=self.kind,
                    revision=self.commit or self.revision,
                    files_metadata=True,
                )

        info = retried(once, self.name)
        if self.commit is None:
            self.commit = info.sha
        self._files = {check_name(file.rfilename, self.name): file.size for file in info.siblings or []}
        return self._files

    def open(self, path: str, size: int | None = None) -> "HubSource":
        return HubSource(self, path, size)


class HubSource(RemoteSource):
    """One file of a repository."""

    def __init__(self, repository: HubRepository, path: str, size: int | None = None) -> None:
        self.name = f"{repository.name}/{path}"
        self._repository = repository
        self._path = path
        self._told = found = repository.metadata(path)
        self.size = found.size
        self._served_etag: str | None = None
        self.version = f"{self.name} {repository.commit} {self.size}"
        if size is not None and size != self.size:
            raise DataError(f"{self.name}: {self.size} bytes, but {size} were expected")

    def fetch(self, start: int, length: int) -> bytes:
        try:
            response = self._get(start, length)
        except DeniedError:
            # The signed address of the bytes may have expired: the Hub gives a new one.
            found = self._repository.metadata(self._path)
            if (found.etag, found.size) != (self._told.etag, self.size):
                raise self._changed() from None
            self._told = found
            response = self._get(start, length)
        if response.size != self.size or not self._same(response.version):
            raise self._changed()
        return response.content

    def _get(self, start: int, length: int) -> Response:
        address = self._told.address
        return get_range(address, start, length, name=self.name, headers=_headers_for(address))

    def _same(self, etag: str | None) -> bool:
        """Whether a response is of the version that the first one was of."""
        if self._served_etag is None and etag is not None:
            # Served by the Hub itself, the ETag is the one it told; a store elsewhere has its own.
            if not self._told.elsewhere and _plain(etag) != self._told.etag:
                return False
            self._served_etag = etag
        return etag == self._served_etag

    def _changed(self) -> DataError:
        return DataError(f"{self.name}: changed while it was being read; begin again")


def _plain(etag: str | None) -> str | None:
    return None if etag is None else etag.removeprefix("W/").strip('"')


def _is_hub(url: str) -> bool:
    from huggingface_hub import constants

    return url.startswith(constants.ENDPOINT.rstrip("/") + "/")


def _headers_for(url: str) -> dict[str, str]:
    """The token goes to the Hub and to no store that it sends us to."""
    import huggingface_hub

    token = huggingface_hub.get_token() if _is_hub(url) else None
    headers: dict[str, str] = huggingface_hub.utils.build_hf_headers(token=token or False)  # type: ignore[attr-defined]
    return headers


@contextmanager
def _explained(name: str, revision: str | None) -> Iterator[None]:
    """Turn what huggingface_hub raises into an error of ours, or into another try."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise DeniedError(
            f"{name}: gated; ask for access on its page and log in with `hf auth login`"
        ) from None
    except errors.RevisionNotFoundError:
        raise PileToolsError(
            f"{name}: no such revision {revision!r}; name a branch, a tag or a commit of it"
        ) from None
    except errors.RepositoryNotFoundError:
        raise PileToolsError(
            f"{name}: no such repository on the Hub, or one that needs `hf auth login`"
        ) from None
    except errors.EntryNotFoundError:
        raise MissingFileError(f"{name}: no such file in the repository") from None
    except errors.HFValidationError as error:
        raise PileToolsError(f"{name}: {redacted(str(error))}") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (408, 429) or status >= 500:
            raise TryAgain(f"the Hub says {status}", asked_wait(error.response.headers)) from None
        raise PileToolsError(f"{name}: {' '.join(redacted(str(error)).split())[:200]}") from None
