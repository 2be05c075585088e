"""For each node of a graph with similarities on its edges: the most similar neighbour."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["update_best"]


@njit(cache=True, nogil=True)
def _better(
    node: int,
    other: int,
    common: int,
    union: int,
    best: NDArray[np.signedinteger],
    best_common: NDArray[np.signedinteger],
    best_union: NDArray[np.signedinteger],
) -> None:
    old = best[node]
    if old >= 0:
        # Fractions are compared as such: sizes stay far below the square root of 2⁶³.
        gain = common * np.int64(best_union[node]) - np.int64(best_common[node]) * union
        if gain < 0 or (gain == 0 and other >= old):
            return
    best[node] = other
    best_common[node] = common
    best_union[node] = union


@njit(cache=True, nogil=True)
def _update_best(
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    common: NDArray[np.int64],
    union: NDArray[np.int64],
    best: NDArray[np.signedinteger],
    best_common: NDArray[np.signedinteger],
    best_union: NDArray[np.signedinteger],
) -> None:
    for i in range(a.shape[0]):
        _better(a[i], b[i], common[i], union[i], best, best_common, best_union)
        _better(b[i], a[i], common[i], union[i], best, best_common, best_union)


def update_best(
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    common: NDArray[np.int64],
    union: NDArray[np.int64],
    best: NDArray[np.signedinteger],
    best_common: NDArray[np.signedinteger],
    best_union: NDArray[np.signedinteger],
) -> None:
    """Take the edges (a[i], b[i]) of similarity common[i] / union[i] into account, in both directions.

    ``best`` (int32 or int64 [nodes], −1 at first) is the most similar neighbour, the lowest of several, and
    the other two arrays its similarity.
    """
    _update_best(
        np.ascontiguousarray(a),
        np.ascontiguousarray(b),
        np.ascontiguousarray(common),
        np.ascontiguousarray(union),
        best,
        best_common,
        best_union,
    )
