"""Origins of fetched sequences: the pieces of documents that they are, as the whole stream has them."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.listed import Listed, check_listed, check_starts, listed_pieces
from pile_tools.algorithms.locate import Pieces
from pile_tools.errors import DataError
from pile_tools.formats.history import History, carry_manifest, check_carried
from pile_tools.formats.origins import OriginDataset, OriginFiles, documents_name
from pile_tools.formats.sources import SourceFile
from pile_tools.formats.store import Store

if TYPE_CHECKING:
    from pile_tools.formats.origin_documents import OriginDocuments

__all__ = ["Origins"]

Int64Array = npt.NDArray[np.int64]


class Origins:
    """``origins.json`` in ``store`` and the files that it names, of sequences of ``n_tokens`` tokens."""

    def __init__(self, store: Store, identity: str, sequences: int, n_tokens: int) -> None:
        self._files = OriginFiles(store, identity, sequences)
        self.record = self._files.record
        self._store = store
        self._n_tokens = n_tokens
        self._lock = threading.Lock()
        self._tables: dict[int, OriginDocuments | None] = {}
        self._listed: tuple[Int64Array, npt.NDArray[np.int32]] | None = None

    def dataset(self, number: int) -> OriginDataset:
        return self.record.datasets[number]

    def which(self, sequences: Int64Array) -> Int64Array:
        """Return the numbers of the datasets that ``sequences`` [n] are of."""
        self._files.prove()
        if self._files.datasets is None:
            return np.zeros_like(sequences)
        found = self._files.datasets.take(sequences, np.ones_like(sequences)).astype(np.int64)
        wrong = np.flatnonzero((found < 0) | (found >= len(self.record.datasets)))
        if len(wrong):
            raise DataError(
                f"{self._files.datasets.source.name}: dataset {found[wrong[0]]}, but there are "
                f"{len(self.record.datasets)}; it is damaged, fetch the steps again"
            )
        return found

    def pieces(self, number: int, sequences: Int64Array) -> tuple[Pieces, Int64Array]:
        """Return pieces and epochs of ``sequences`` [n], which are of dataset ``number``."""
        self._files.prove()
        two = np.full_like(sequences, 2)
        bounds = self._files.starts.take(sequences, two).reshape(-1, 2).astype(np.int64)
        counts = bounds[:, 1] - bounds[:, 0]
        if np.any(counts < 1):
            raise DataError(
                f"{self._files.starts.source.name}: does not ascend; it is damaged, fetch the steps again"
            )
        rows = self._files.pieces.take(bounds[:, 0], counts)
        documents = self.dataset(number).documents or 0
        check_listed(self._files.pieces.source.name, counts, rows, documents, self._n_tokens)
        return listed_pieces(counts, rows)

    def listed(self, number: int) -> Listed:
        """Return the pieces of all sequences, those of other datasets of a blend too."""
        self._files.prove()
        if self._listed is None:
            starts, pieces = self._files.starts.whole(), self._files.pieces.whole()
            check_starts(self._files.starts.source.name, starts, len(pieces))
            check_listed(self._files.pieces.source.name, np.diff(starts), pieces, None, self._n_tokens)
            self._listed = starts, pieces
        dataset = self.dataset(number)
        return Listed(*self._listed, dataset.tokens, dataset.samples, dataset.packed_anew)

    def documents(self, number: int) -> "OriginDocuments | None":
        """Return the table of the documents of dataset ``number``; None where they are not known."""
        from pile_tools.formats.origin_documents import OriginDocuments

        with self._lock:
            if number not in self._tables:
                source = self._files.open(documents_name(number))
                if source is None and self.dataset(number).documents is not None:
                    raise DataError(
                        f"{self._files.name}: does not name {documents_name(number)}; fetch the steps again"
                    )
                file: Any = None if source is None else SourceFile(source)
                self._tables[number] = None if source is None else OriginDocuments(file, source.name)
            return self._tables[number]

    def history(self, number: int) -> History | None:
        """Return the history of dataset ``number``, carried along; None where it has none."""
        identity = self.dataset(number).manifest
        return None if identity is None else History.of_ancestor(self._store, identity)

    def check_carried(self, dataset: int) -> None:
        """Raise DataError where a file that ``carry`` copies is missing."""
        history = self.history(dataset)
        if history is not None:
            check_carried(self._store, history.own)

    def carry(self, number: int, output: Path) -> list[str]:
        """Write ``parents/`` of ``output`` for dataset ``number``; return the names of the files."""
        history = self.history(number)
        return [] if history is None else carry_manifest(self._store, history.own, output)
