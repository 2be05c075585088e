"""A store: the files of one directory, here or behind a URL."""

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, Protocol

from pile_tools.errors import DataError
from pile_tools.formats.block_cache import BlockCache, CachedSource
from pile_tools.formats.http_range import HttpSource
from pile_tools.formats.hub import HubLocation, HubRepository
from pile_tools.formats.manifest import FileEntry
from pile_tools.formats.names import check_name
from pile_tools.formats.proofs import Proofs, current_proofs
from pile_tools.formats.remote import RemoteSource
from pile_tools.formats.sources import MappedFile, MissingFileError, PreadFile, Source, bytes_between
from pile_tools.formats.urls import child, is_url, joined, with_credentials, without_credentials

__all__ = ["Io", "LocalStore", "RemoteStore", "Store", "is_url", "joined", "open_listed", "open_store"]

Io = Literal["mmap", "pread"]
_LARGEST_SMALL_FILE: Final = 256 << 20


class Store(Protocol):
    """Files under ``name``, a directory or a URL. ``path`` is the directory, None behind a URL.

    ``location`` opens it, or what is below it, again; of a URL it may hold credentials, which are neither
    stored nor shown, and ``name`` does not.
    ``proofs`` are those in force where it was opened: readers prove with them what they read.
    """

    name: str
    location: str
    path: Path | None
    proofs: Proofs

    def list(self) -> Mapping[str, int | None] | None:
        """Return names and sizes of the files, or None where the server does not list them."""

    def folders(self) -> Sequence["Store"]:
        """Return the folders directly in it that hold files; none where the server does not list them."""

    def open(self, name: str, size: int | None = None) -> Source:
        """Open a file; DataError where it has not ``size`` bytes."""

    def read(self, name: str) -> bytes | None:
        """Return a small file whole; None where there is none."""


class LocalStore:
    """A directory of this machine."""

    def __init__(self, path: Path, io: Io = "mmap") -> None:
        self.path: Path | None = path
        self.name = self.location = str(path)
        self.proofs = current_proofs()
        self._directory = path
        self._io = io

    def list(self) -> Mapping[str, int | None] | None:
        sizes: dict[str, int | None] = {}
        for entry in self._directory.iterdir():
            with suppress(FileNotFoundError):  # a partial file of another run, renamed meanwhile
                if entry.is_file():
                    sizes[entry.name] = entry.stat().st_size
        return sizes

    def folders(self) -> Sequence[Store]:
        return [LocalStore(entry, self._io) for entry in sorted(self._directory.iterdir()) if entry.is_dir()]

    def open(self, name: str, size: int | None = None) -> Source:
        path = self._directory / check_name(name, self.name)
        source: Source = MappedFile(path) if self._io == "mmap" else PreadFile(path)
        if size is not None and source.size != size:
            raise DataError(f"{path}: {source.size} bytes, but {size} were expected; copy or make it again")
        return source

    def read(self, name: str) -> bytes | None:
        try:
            return (self._directory / check_name(name, self.name)).read_bytes()
        except FileNotFoundError:
            return None


class RemoteStore:
    """A folder behind a URL. Each file is opened once and stays the version that it was then.

    Folders of one ``repository`` on the Hub are of one commit.
    """

    def __init__(
        self, url: str, cache: BlockCache | None = None, repository: HubRepository | None = None
    ) -> None:
        self.location = with_credentials(url.rstrip("/"))
        self.name = without_credentials(self.location).rstrip("/")
        self.path: Path | None = None
        self.proofs = current_proofs()
        self._cache = cache
        self._opened: dict[str, Source] = {}
        # So that threads do not pin two commits, or open a file twice.
        self._lock = threading.Lock()
        self._hub: HubRepository | None = None
        self._folder = ""
        if url.startswith("hf://"):
            place = HubLocation.parse(url)
            self._folder = f"{place.path}/" if place.path else ""
            named = (place.kind, place.repository, place.revision)
            if repository is not None and repository.named == named:
                self._hub = repository
            else:
                self._hub = HubRepository(*named)

    @property
    def repository(self) -> HubRepository | None:
        """The repository on the Hub that the folder is in, if it is there."""
        return self._hub

    def list(self) -> Mapping[str, int | None] | None:
        if self._hub is not None:
            files = self._hub.files()
            length = len(self._folder)
            return {
                path[length:]: size
                for path, size in files.items()
                if path.startswith(self._folder) and "/" not in path[length:]
            }
        if self.name.startswith(("http://", "https://")):
            return None
        from pile_tools.formats.fsspec_source import list_folder

        return list_folder(self.location)

    def folders(self) -> Sequence[Store]:
        if self._hub is None:
            return []
        length = len(self._folder)
        inside = [path[length:] for path in self._hub.files() if path.startswith(self._folder)]
        names = sorted({path.rpartition("/")[0] for path in inside if "/" in path})
        return [RemoteStore(child(self.location, name), self._cache, self._hub) for name in names]

    def open(self, name: str, size: int | None = None) -> Source:
        check_name(name, self.name)
        with self._lock:
            if name not in self._opened:
                self._opened[name] = self._cached(self._open(name, size))
            found = self._opened[name]
        if size is not None and found.size != size:
            raise DataError(f"{found.name}: {found.size} bytes, but {size} were expected")
        return found

    def _cached(self, source: RemoteSource) -> Source:
        # Blocks of a file without a version could be those of an earlier one.
        if self._cache is None or source.version is None:
            return source
        return CachedSource(source, source.version, self._cache)

    def _open(self, name: str, size: int | None) -> RemoteSource:
        if self._hub is not None:
            return self._hub.open(self._folder + name, size)
        if self.name.startswith(("http://", "https://")):
            return HttpSource(child(self.location, name), size)
        from pile_tools.formats.fsspec_source import FsspecSource

        return FsspecSource(child(self.location, name), size)

    def read(self, name: str) -> bytes | None:
        try:
            source = self.open(name)
        except MissingFileError:
            return None
        if source.size > _LARGEST_SMALL_FILE:
            raise DataError(f"{source.name}: {source.size} bytes, more than such a file can have")
        return bytes_between(source, 0, source.size)


def open_store(
    location: str | os.PathLike[str],
    *,
    io: Io = "mmap",
    cache: BlockCache | None = None,
    near: Store | None = None,
) -> Store:
    """Open the directory or URL ``location``; nothing is read yet.

    Where it is in the repository on the Hub that ``near`` is in, both are of one commit.
    """
    if is_url(location):
        return RemoteStore(
            os.fspath(location), cache, near.repository if isinstance(near, RemoteStore) else None
        )
    return LocalStore(Path(location), io)


def open_listed(store: Store, entry: FileEntry) -> Source:
    """Open the file that ``entry`` of a record in ``store`` lists.

    Raises DataError where its name leads out of the store, or where it has not the size that is listed.
    """
    if store.path is not None:
        entry.path(store.path)
    return store.open(entry.name, entry.bytes)
