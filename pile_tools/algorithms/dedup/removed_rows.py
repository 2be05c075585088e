"""Numbers of what is left when some of a sequence are taken out."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["original_rows"]


def original_rows(removed: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the rows of a file stood before the rows ``removed`` were taken out of it.

    ``removed``: int64, strictly rising; ``rows``: int64 [n], numbers in what is left. Before the i-th
    removed row stand removed[i] − i rows that are left, so row r moved up by the number of i for which
    that is at most r.
    """
    shift = np.searchsorted(removed - np.arange(len(removed)), rows, side="right")
    return rows + shift
