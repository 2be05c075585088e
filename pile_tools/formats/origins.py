"""Origins: which pieces of documents the sequences of a token dataset are, where it holds a part of a stream.

Steps that were fetched are sequences end to end; beside them lie

===================  =========================================================================================
origins.json         the record: the token datasets that the stream reads, and the files below
piece_starts.npy     int64[n + 1]: the row of pieces.npy at which the pieces of each of n sequences begin
pieces.npy           int32[p, 4]: document, offset, n_tokens and epoch of each piece, in order of position
datasets.npy         int16[n], of a blend only: the number of the dataset that each sequence is of
documents-D.parquet  the documents of dataset D that are shown (see ``formats.origin_documents``)
===================  =========================================================================================

Documents have the numbers that they have in their own dataset. ``epoch`` is which of the document's places in
doc_idx a piece is from, −1 where it is from none; document and offset are −1 where they are not known.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import orjson

from pile_tools.errors import DataError
from pile_tools.formats.manifest import FileEntry, canonical_json

__all__ = [
    "DATASETS_NAME",
    "ORIGINS_NAME",
    "PIECES_NAME",
    "STARTS_NAME",
    "OriginDataset",
    "OriginsRecord",
    "documents_name",
]

ORIGINS_NAME: Final = "origins.json"
STARTS_NAME: Final = "piece_starts.npy"
PIECES_NAME: Final = "pieces.npy"
DATASETS_NAME: Final = "datasets.npy"
_FORMAT: Final = "pile-tools origins 1"


def documents_name(number: int) -> str:
    """Return the name of the table of documents of dataset ``number``."""
    return f"documents-{number}.parquet"


@dataclass(frozen=True, slots=True)
class OriginDataset:
    """A token dataset that the stream reads.

    ``documents`` that it has (None where their boundaries are not known), ``tokens`` of its data, ``samples``
    that its order packs; ``addresses``: it is recorded where its documents came from; ``manifest``: the
    identity of its manifest, carried in ``parents/``, if it has one; ``first``: the number of the first
    dataset of a blend that is the same one, listed once more.
    """

    documents: int | None
    tokens: int
    samples: int
    addresses: bool
    manifest: str | None
    first: int

    def is_sound(self, number: int) -> bool:
        counts = (self.tokens, self.samples, *([] if self.documents is None else [self.documents]))
        return (
            all(type(count) is int and count >= 0 for count in counts)
            and isinstance(self.addresses, bool)
            and isinstance(self.manifest, str | None)
            and type(self.first) is int
            and 0 <= self.first <= number
        )


@dataclass(frozen=True, slots=True)
class OriginsRecord:
    """``origins.json`` of ``sequences`` sequences; ``blend`` where they are of a blend."""

    sequences: int
    blend: bool
    datasets: tuple[OriginDataset, ...]
    files: tuple[FileEntry, ...]

    def to_bytes(self) -> bytes:
        value = asdict(self) | {"format": _FORMAT, "files": [entry.to_json() for entry in self.files]}
        return canonical_json(value)

    @property
    def identity(self) -> str:
        """SHA-256 of the record's bytes, which ``order.json`` names."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def parse(cls, content: bytes, name: str) -> Self:
        """Return what the bytes of the file ``name`` say; DataError for anything but what was written."""
        try:
            value: dict[str, Any] = orjson.loads(content)
            if value.pop("format") != _FORMAT:
                raise DataError(f"{name}: not origins that this version reads ({_FORMAT!r})")
            record = cls._of(value)
            sound = record.to_bytes() == content and record._is_sound()
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{name}: no record of origins ({error}); fetch the steps again") from None
        if not sound:
            raise DataError(f"{name}: edited by hand or damaged; fetch the steps again")
        return record

    @classmethod
    def _of(cls, value: Mapping[str, Any]) -> Self:
        datasets = tuple(OriginDataset(**dataset) for dataset in value["datasets"])
        files = tuple(FileEntry.from_json(entry) for entry in value["files"])
        return cls(**{**value, "datasets": datasets, "files": files})

    def _is_sound(self) -> bool:
        names = {entry.name for entry in self.files}
        return (
            type(self.sequences) is int
            and self.sequences > 0
            and isinstance(self.blend, bool)
            and len(self.datasets) > 0
            and (self.blend or len(self.datasets) == 1)
            and all(dataset.is_sound(number) for number, dataset in enumerate(self.datasets))
            and {STARTS_NAME, PIECES_NAME} <= names
            and (DATASETS_NAME in names) == self.blend
        )

    def entry(self, name: str) -> FileEntry | None:
        """Return the entry of a file, None where there is none of that name."""
        return next((entry for entry in self.files if entry.name == name), None)
