"""An overlay: a stream that differs from another one, its parent, in a range of samples.

``overlay.json`` says what differs, ``parent.json`` where the parent is (it may be edited when the parent
moves: the parent is known by its identity). Samples that are packed anew are listed in two arrays:
``samples.npy`` int64[m, 2], the sample's number in the stream, ascending, and the row of ``pieces.npy`` at
which its pieces begin; ``pieces.npy`` int64[p, 3], document, offset and n_tokens of each piece. Where
documents were dropped, replaced or moved, ``documents.npy`` int64[d] lists them, ascending. Documents that
the parent does not have are numbered after its own, and are a token dataset in the folder ``added``.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from pile_tools.errors import DataError
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.manifest import FILE_ENTRY, FileEntry, canonical_json
from pile_tools.storage.records import (
    RecordKind,
    fields,
    integer,
    items,
    location,
    optional,
    read_json,
    text,
)
from pile_tools.storage.store import joined

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
    def parse(cls, content: bytes, name: str) -> "OverlayRecord":
        """Return what the bytes of the file ``name`` say; DataError for anything but what was written."""
        return _OVERLAY.read(content, name)

    def entry(self, name: str) -> FileEntry | None:
        """Return the entry of a file, None where the overlay has none of that name."""
        return next((entry for entry in self.files if entry.name == name), None)


_OVERLAY: Final = RecordKind[OverlayRecord](
    "an overlay",
    "run `pile-tools intervene` again",
    {
        _FORMAT: fields(
            {
                "parent": text(),
                "first_sample": integer(),
                "last_sample": integer(1),
                "swaps": items(items(integer(), 2, 2)),
                "added_documents": integer(),
                "files": items(FILE_ENTRY),
            },
            lambda batch_size=None, **values: OverlayRecord(batch_size=batch_size, **values),
            absent={"batch_size": integer(1)},
        )
    },
    OverlayRecord.to_bytes,
    lambda record: record.first_sample < record.last_sample,
)
_PARENT_REMEDY: Final = "write there where the overlay's parent is, or run `pile-tools intervene` again"


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
        what = '{"location": …, "order": …}'
        kind = fields({"location": location(), "order": optional(location())}, cls)
        parent: Self = read_json(content, name, kind, what, _PARENT_REMEDY)
        return parent
