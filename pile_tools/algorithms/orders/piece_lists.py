"""Pieces of sequences that are listed, and not made by the maps of an order: those of fetched steps."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.algorithms.orders.locate import Pieces
from pile_tools.errors import DataError

__all__ = ["Listed", "check_listed", "check_starts", "listed_pieces"]


@dataclass(frozen=True, slots=True)
class Listed:
    """The pieces of all sequences of a part.

    Those of sequence k are rows [``starts[k]``, ``starts[k + 1]``) of ``pieces``, int32[p, 4]: document,
    offset, n_tokens and epoch (see ``places.Shown``), −1 what is not known. ``tokens`` and ``samples`` count
    those of the whole dataset in its order, of which this is a part; ``packed_anew``: an overlay packs some
    of these anew.
    """

    starts: Int64Array
    pieces: npt.NDArray[np.int32]
    tokens: int
    samples: int
    packed_anew: bool

    def of(self, sequences: Int64Array) -> tuple[Pieces, Int64Array]:
        """Return the pieces of ``sequences`` [n], and the epoch of each."""
        begins = self.starts[sequences]
        counts = self.starts[sequences + 1] - begins
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        return listed_pieces(counts, self.pieces[np.repeat(begins, counts) + within])


def listed_pieces(counts: Int64Array, rows: npt.NDArray[np.int32]) -> tuple[Pieces, Int64Array]:
    """Return pieces and epochs of sequences that have ``counts`` [n] pieces, ``rows`` [p, 4] one by one."""
    found = rows.astype(np.int64)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(found[:, 2])])
    heads = np.cumsum(counts) - counts
    position = before[:-1] - np.repeat(before[heads], counts)
    row = np.repeat(np.arange(len(counts)), counts)
    return Pieces(row, position, found[:, 0], found[:, 1], found[:, 2]), found[:, 3]


def check_starts(name: str, starts: Int64Array, pieces: int) -> None:
    """Check ``starts`` of the sequences of so many ``pieces``; DataError, naming ``name``, unless right."""
    if starts[0] != 0 or starts[-1] != pieces or np.any(np.diff(starts) < 1):
        raise DataError(f"{name}: not the starts of {pieces} pieces; it is damaged, fetch the steps again")


def check_listed(
    name: str, counts: Int64Array, rows: npt.NDArray[np.int32], documents: int | None, n_tokens: int
) -> None:
    """Check pieces ``rows`` of sequences of ``n_tokens`` tokens; DataError, naming ``name``, unless right.

    ``documents`` that there are, None where any number may be one.
    """
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(rows[:, 2], dtype=np.int64)])[bounds]
    known = rows[:, 0] >= 0
    problem = None
    if np.any(counts < 1) or np.any(rows[:, 2] < 1) or np.any(np.diff(sums) != n_tokens):
        problem = f"pieces that are no sequences of {n_tokens} tokens"
    elif np.any(rows < -1) or np.any((rows[:, 1] >= 0) != known) or np.any(rows[~known, 3] >= 0):
        problem = "pieces of no document"
    elif documents is not None and np.any(rows[:, 0] >= documents):
        problem = f"document {rows[:, 0].max()} of {documents}"
    if problem is not None:
        raise DataError(f"{name}: holds {problem}; it is damaged, fetch the steps again")
