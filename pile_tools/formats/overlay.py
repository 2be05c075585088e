"""An overlay: a stream that differs from another one, its parent, in a range of samples.

``overlay.json`` says what differs, ``parent.json`` where the parent is (it may be edited when the parent
moves: the parent is known by its identity). Samples that are packed anew are listed in two arrays:
``samples.npy`` int64[m, 2], the sample's number in the stream, ascending, and the row of ``pieces.npy`` at
which its pieces begin; ``pieces.npy`` int64[p, 3], document, offset and n_tokens of each piece. Where
documents were dropped, replaced or moved, ``documents.npy`` int64[d] lists them, ascending. Documents that
the parent does not have are numbered after its own, and are a token dataset in the folder ``added``.
"""

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson

from pile_tools.errors import DataError, UnfinishedError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.block_cache import BlockCache
from pile_tools.formats.manifest import MANIFEST_NAME, FileEntry, canonical_json
from pile_tools.formats.store import Io, Store, is_url, joined, open_store

__all__ = [
    "ADDED_NAME",
    "DOCUMENTS_NAME",
    "NO_ROW",
    "OVERLAY_NAME",
    "PARENT_NAME",
    "PIECES_NAME",
    "SAMPLES_NAME",
    "OverlayRecord",
    "ParentPlace",
    "overlay_at",
]

OVERLAY_NAME: Final = "overlay.json"
PARENT_NAME: Final = "parent.json"
SAMPLES_NAME: Final = "samples.npy"
PIECES_NAME: Final = "pieces.npy"
DOCUMENTS_NAME: Final = "documents.npy"
ADDED_NAME: Final = "added"
NO_ROW: Final = -1
"""Stands for the row of a document that is the text of a whole file, in ``added/documents.parquet``."""

_FORMAT: Final = "pile-tools overlay 1"


@dataclass(frozen=True, slots=True)
class OverlayRecord:
    """``overlay.json``: what the samples [first_sample, last_sample) of the stream ``parent`` (its identity)
    become.

    ``batch_size`` is that at which the range was named in steps, and at which the stream is read unless
    another one is given; None where it is the parent's. ``swaps`` are pairs of ids: in the range each first
    one becomes the second. ``files`` are the arrays and the files of ``added``, where there are any;
    ``added_documents`` counts the documents there.
    """

    parent: str
    first_sample: int
    last_sample: int
    batch_size: int | None
    swaps: tuple[tuple[int, int], ...]
    added_documents: int
    files: tuple[FileEntry, ...]

    def to_bytes(self) -> bytes:
        value = asdict(self) | {"format": _FORMAT, "files": [entry.to_json() for entry in self.files]}
        if self.batch_size is None:
            del value["batch_size"]
        return canonical_json(value)

    @property
    def identity(self) -> str:
        """SHA-256 of the record, which names the parent and every file by content."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def parse(cls, content: bytes, name: str) -> Self:
        """Return what the bytes of the file ``name`` say; DataError for anything but what was written."""
        try:
            value: dict[str, Any] = orjson.loads(content)
            if value.pop("format") != _FORMAT:
                raise DataError(f"{name}: not an overlay that this version reads ({_FORMAT!r})")
            files = tuple(FileEntry.from_json(entry, name) for entry in value.pop("files"))
            swaps = tuple((int(one), int(two)) for one, two in value.pop("swaps"))
            batch_size = value.pop("batch_size", None)
            record = cls(**value, batch_size=batch_size, swaps=swaps, files=files)
            sound = (
                record.to_bytes() == content
                and 0 <= record.first_sample < record.last_sample
                and (batch_size is None or (type(batch_size) is int and batch_size > 0))
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{name}: not an overlay ({error}); run `pile-tools intervene` again") from None
        if not sound:
            raise DataError(f"{name}: edited by hand or damaged; run `pile-tools intervene` again")
        return record

    def entry(self, name: str) -> FileEntry | None:
        """Return the entry of a file, None where the overlay has none of that name."""
        return next((entry for entry in self.files if entry.name == name), None)


@dataclass(frozen=True, slots=True)
class ParentPlace:
    """``parent.json``: the parent's ``location``, a URL or a path relative to the overlay's directory, and
    its ``order``: a label, or, where the order is not beside the dataset, a URL or such a path."""

    location: str
    order: str | None

    def seen_from(self, directory: str) -> tuple[str, str | None]:
        """Return location and order as commands take them, of the overlay in the ``directory`` or URL."""
        order = self.order
        if order is not None and "/" in order:
            order = joined(directory, order)
        return joined(directory, self.location), order

    def write(self, directory: Path) -> None:
        with atomic_write(directory / PARENT_NAME) as file:
            file.write(canonical_json(asdict(self)))

    @classmethod
    def parse(cls, content: bytes | None, name: str) -> Self:
        """Return what the bytes of the file ``name`` say; DataError where they do not name a parent."""
        if content is None:
            raise DataError(f"{name}: missing, so the overlay's parent is not known")
        try:
            value = orjson.loads(content)
            location, order = value["location"], value["order"]
            if not isinstance(location, str) or not (order is None or isinstance(order, str)):
                raise TypeError("location and order are texts")
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f'{name}: not {{"location": …, "order": …}} ({error})') from None
        return cls(location, order)


def overlay_at(
    location: str | os.PathLike[str], io: Io, cache: BlockCache | None
) -> tuple[Store, OverlayRecord, ParentPlace] | None:
    """Return the overlay in the directory or behind the URL ``location``, None where there is none."""
    name = os.fspath(location)
    if not is_url(name) and not os.path.isdir(name):
        return None
    store = open_store(name, io=io, cache=cache)
    names = store.list()
    if names is not None and OVERLAY_NAME not in names:
        return None
    content = store.read(OVERLAY_NAME)
    if content is None:
        return None
    if store.read(MANIFEST_NAME) is None:
        raise UnfinishedError(f"{store.name}: unfinished; run `pile-tools intervene` again")
    record = OverlayRecord.parse(content, f"{store.name}/{OVERLAY_NAME}")
    return store, record, ParentPlace.parse(store.read(PARENT_NAME), f"{store.name}/{PARENT_NAME}")
