"""Origins of fetched sequences: the pieces of documents that they are, as the whole stream has them."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.locate import Pieces
from pile_tools.errors import DataError
from pile_tools.formats.history import History, carry_manifest
from pile_tools.formats.map_files import read_array
from pile_tools.formats.origins import (
    DATASETS_NAME,
    ORIGINS_NAME,
    PIECES_NAME,
    STARTS_NAME,
    OriginDataset,
    OriginsRecord,
    documents_name,
)
from pile_tools.formats.sources import ArrayView, SourceFile
from pile_tools.formats.store import Store
from pile_tools.lookups.listed import Listed, check_listed, listed_pieces

if TYPE_CHECKING:
    from pile_tools.formats.origin_documents import OriginDocuments

__all__ = ["Origins"]

Int64Array = npt.NDArray[np.int64]


class Origins:
    """``origins.json`` in ``store`` and the files that it names, of sequences of ``n_tokens`` tokens."""

    def __init__(self, store: Store, identity: str, sequences: int, n_tokens: int) -> None:
        self.name = f"{store.name}/{ORIGINS_NAME}"
        content = store.read(ORIGINS_NAME)
        if content is None:
            raise DataError(f"{self.name}: missing; copy it too, or fetch the steps again")
        self.record = OriginsRecord.parse(content, self.name)
        if self.record.identity != identity or self.record.sequences != sequences:
            raise DataError(f"{self.name}: of other steps than those beside it; fetch the steps again")
        self._store = store
        self._n_tokens = n_tokens
        self._starts = self._array(STARTS_NAME, 1, "int64")
        self._pieces = self._array(PIECES_NAME, 2, "int32")
        if len(self._starts) != sequences + 1 or self._pieces.shape[1:] != (4,):
            raise DataError(f"{self.name}: its arrays are not of {sequences} sequences; fetch them again")
        self._datasets = self._array(DATASETS_NAME, 1, "int16") if self.record.blend else None
        if self._datasets is not None and len(self._datasets) != sequences:
            raise DataError(f"{self._datasets.source.name}: not of {sequences} sequences; fetch them again")
        self._lock = threading.Lock()
        self._tables: dict[int, OriginDocuments | None] = {}
        self._listed: tuple[Int64Array, npt.NDArray[np.int32]] | None = None

    def _array(self, name: str, ndim: int, dtype: str) -> ArrayView:
        entry = self.record.entry(name)
        if entry is None:
            raise DataError(f"{self.name}: does not name {name}; fetch the steps again")
        return read_array(self._store.open(entry.name, entry.bytes), ndim, (dtype,))

    def dataset(self, number: int) -> OriginDataset:
        return self.record.datasets[number]

    def which(self, sequences: Int64Array) -> Int64Array:
        """Return the numbers of the datasets that ``sequences`` [n] are of."""
        if self._datasets is None:
            return np.zeros_like(sequences)
        found = _rows(self._datasets, sequences, np.ones_like(sequences)).astype(np.int64)
        wrong = np.flatnonzero((found < 0) | (found >= len(self.record.datasets)))
        if len(wrong):
            raise DataError(
                f"{self._datasets.source.name}: dataset {found[wrong[0]]} of {len(self.record.datasets)}; "
                "it is damaged, fetch the steps again"
            )
        return found

    def pieces(self, number: int, sequences: Int64Array) -> tuple[Pieces, Int64Array]:
        """Return pieces and epochs of ``sequences`` [n], which are of dataset ``number``."""
        bounds = _rows(self._starts, sequences, np.full_like(sequences, 2)).reshape(-1, 2).astype(np.int64)
        counts = bounds[:, 1] - bounds[:, 0]
        if np.any(counts < 1):
            raise DataError(
                f"{self._starts.source.name}: does not ascend; it is damaged, fetch the steps again"
            )
        rows = _rows(self._pieces, bounds[:, 0], counts)
        documents = self.dataset(number).documents or 0
        check_listed(self._pieces.source.name, counts, rows, documents, self._n_tokens)
        return listed_pieces(counts, rows)

    def listed(self, number: int) -> Listed:
        """Return the pieces of all sequences, those of other datasets of a blend too."""
        if self._listed is None:
            starts, pieces = self._starts.whole(), self._pieces.whole()
            if starts[0] != 0 or starts[-1] != len(pieces):
                raise DataError(
                    f"{self._starts.source.name}: not the starts of {len(pieces)} pieces; it is damaged, "
                    "fetch the steps again"
                )
            check_listed(self._pieces.source.name, np.diff(starts), pieces, None, self._n_tokens)
            self._listed = starts, pieces
        dataset = self.dataset(number)
        return Listed(*self._listed, dataset.tokens, dataset.samples)

    def documents(self, number: int) -> "OriginDocuments | None":
        """Return the table of the documents of dataset ``number``; None where they are not known."""
        from pile_tools.formats.origin_documents import OriginDocuments

        with self._lock:
            if number not in self._tables:
                entry = self.record.entry(documents_name(number))
                table = None
                if entry is not None:
                    source = self._store.open(entry.name, entry.bytes)
                    file: Any = SourceFile(source)
                    table = OriginDocuments(file, source.name)
                self._tables[number] = table
            return self._tables[number]

    def history(self, number: int) -> History | None:
        """Return the history of dataset ``number``, carried along; None where it has none."""
        identity = self.dataset(number).manifest
        return None if identity is None else History.of_ancestor(self._store, identity)

    def carry(self, number: int, output: Path) -> list[str]:
        """Write ``parents/`` of ``output`` for dataset ``number``; return the names of the files."""
        history = self.history(number)
        return [] if history is None else carry_manifest(self._store, history.own, output)


def _rows(array: ArrayView, starts: Int64Array, counts: Int64Array) -> npt.NDArray[Any]:
    """As ``ArrayView.take``, without a loop over the ranges where the array is mapped."""
    if array.mapped is None or np.any((starts < 0) | (starts + counts > len(array))):
        return array.take(starts, counts)
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    found: npt.NDArray[Any] = array.mapped[np.repeat(starts, counts) + within]
    return found
