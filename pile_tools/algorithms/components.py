"""Connected components of a graph given by its edges.

Union-find with path halving (Tarjan, van Leeuwen 1984).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["component_roots", "unite"]


@njit(cache=True, nogil=True)
def _find(parent: NDArray[np.int64], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _unite(parent: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
    for i in range(a.shape[0]):
        one, two = _find(parent, a[i]), _find(parent, b[i])
        # The lower node becomes the root, so that a root is the first of its component.
        if one < two:
            parent[two] = one
        elif two < one:
            parent[one] = two


@njit(cache=True, nogil=True)
def _flatten(parent: NDArray[np.int64]) -> None:
    for node in range(parent.shape[0]):
        parent[node] = parent[parent[node]]


def unite(parent: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
    """Add the edges (a[i], b[i]) to the forest ``parent``, int64 [n], which begins as ``arange(n)``."""
    _unite(parent, np.ascontiguousarray(a, dtype=np.int64), np.ascontiguousarray(b, dtype=np.int64))


def component_roots(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lowest node of each node's component, int64 [n], and flatten ``parent`` in place."""
    # A parent is never above its child, so one pass from the lowest node up reaches every root.
    _flatten(parent)
    return parent
