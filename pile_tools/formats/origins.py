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
from pile_tools.formats.map_files import read_array
from pile_tools.formats.names import check_name
from pile_tools.formats.recorded_files import hash_claim, listed_entry, open_recorded
from pile_tools.formats.sources import ArrayView, Source
from pile_tools.formats.store import Store

__all__ = [
    "DATASETS_NAME",
    "ORIGINS_NAME",
    "PIECES_NAME",
    "STARTS_NAME",
    "OriginDataset",
    "OriginFiles",
    "OriginsRecord",
    "documents_name",
]

ORIGINS_NAME: Final = "origins.json"
STARTS_NAME: Final = "piece_starts.npy"
PIECES_NAME: Final = "pieces.npy"
DATASETS_NAME: Final = "datasets.npy"
_FORMAT: Final = "pile-tools origins 1"
# Arrays up to this long are hashed when they are opened (some 10 ms), longer ones before they are first read.
_HASHED: Final = 16 << 20
_REMEDY: Final = "fetch the steps again"


def documents_name(number: int) -> str:
    """Return the name of the table of documents of dataset ``number``."""
    return f"documents-{number}.parquet"


@dataclass(frozen=True, slots=True)
class OriginDataset:
    """A token dataset that the stream reads.

    ``documents`` that it has (None where their boundaries are not known), ``tokens`` of its data, ``samples``
    that its order packs; ``addresses``: it is recorded where its documents came from; ``manifest``: the
    identity of its manifest, carried in ``parents/``, if it has one; ``first``: the number of the first
    dataset of a blend that is the same one, listed once more; ``packed_anew``: an overlay packs some of its
    samples anew; ``sources``: the names of the sources of all its documents, also of those that are not shown
    (None: of documents without one), None where they were not recorded.
    """

    documents: int | None
    tokens: int
    samples: int
    addresses: bool
    manifest: str | None
    first: int
    packed_anew: bool
    sources: tuple[str | None, ...] | None = None

    def is_sound(self, number: int) -> bool:
        counts = (self.tokens, self.samples, *([] if self.documents is None else [self.documents]))
        return (
            all(type(count) is int and count >= 0 for count in counts)
            and isinstance(self.addresses, bool)
            and isinstance(self.packed_anew, bool)
            and isinstance(self.manifest, str | None)
            and all(isinstance(name, str | None) for name in self.sources or ())
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
        for dataset in value["datasets"]:
            if dataset["sources"] is None:
                del dataset["sources"]
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
            record = cls._of(value, name)
            for dataset in record.datasets:
                if dataset.manifest is not None:
                    check_name(dataset.manifest, name, nested=False)
            sound = record.to_bytes() == content and record._is_sound()
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{name}: no record of origins ({error}); fetch the steps again") from None
        if not sound:
            raise DataError(f"{name}: edited by hand or damaged; fetch the steps again")
        return record

    @classmethod
    def _of(cls, value: Mapping[str, Any], name: str) -> Self:
        datasets = tuple(
            OriginDataset(
                **dataset | ({"sources": tuple(dataset["sources"])} if "sources" in dataset else {})
            )
            for dataset in value["datasets"]
        )
        files = tuple(FileEntry.from_json(entry, name) for entry in value["files"])
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


class OriginFiles:
    """``origins.json`` in ``store``, whose identity ``order.json`` names, and the arrays that it names.

    ``starts``, ``pieces`` and ``datasets`` (None but of a blend) are views of the arrays, as described above.
    """

    def __init__(self, store: Store, identity: str, sequences: int) -> None:
        self.name = f"{store.name}/{ORIGINS_NAME}"
        self._store = store
        content = store.read(ORIGINS_NAME)
        if content is None:
            raise DataError(f"{self.name}: missing; copy it too, or fetch the steps again")
        self.record = OriginsRecord.parse(content, self.name)
        if self.record.identity != identity or self.record.sequences != sequences:
            raise DataError(f"{self.name}: of other steps than those beside it; fetch the steps again")
        self._is_proved = False
        self._arrays: list[tuple[Source, FileEntry]] = []
        self.starts = self._array(STARTS_NAME, 1, "int64")
        self.pieces = self._array(PIECES_NAME, 2, "int32")
        self.datasets = self._array(DATASETS_NAME, 1, "int16") if self.record.blend else None
        if (
            len(self.starts) != sequences + 1
            or self.pieces.shape[1:] != (4,)
            or (self.datasets is not None and len(self.datasets) != sequences)
        ):
            raise DataError(
                f"{self.name}: names arrays that are not of {sequences} sequences; fetch them again"
            )
        if sum(source.size for source, _ in self._arrays) <= _HASHED:
            self.prove()

    def prove(self) -> None:
        """Prove the arrays before their first use; DataError for one that is not the one recorded.

        Behind a URL their lengths were compared, and what is read is checked.
        """
        if not self._is_proved and self._store.path is not None:
            remedy = f"copy it again, or {_REMEDY}"
            claims = [hash_claim(source, entry, remedy) for source, entry in self._arrays]
            self._store.proofs.prove(self.name, claims)
        self._is_proved = True

    def _array(self, name: str, ndim: int, dtype: str) -> ArrayView:
        entry = listed_entry(self.record.files, name, self.name, _REMEDY)
        source = self._store.open(entry.name, entry.bytes)
        self._arrays.append((source, entry))
        return read_array(source, ndim, (dtype,))

    def open(self, name: str) -> Source | None:
        """Open a file that the record names, proved; None where it names none of that name."""
        entry = self.record.entry(name)
        return None if entry is None else open_recorded(self._store, entry, f"copy it again, or {_REMEDY}")
