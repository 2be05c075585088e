"""Connected components of a graph given by its edges.

Union-find with path halving (Tarjan, van Leeuwen 1984).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["component_roots", "representatives", "unite"]


@njit(cache=True, nogil=True)
def _find(parent: NDArray[np.signedinteger], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _unite(parent: NDArray[np.signedinteger], a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
    for i in range(a.shape[0]):
        one, two = _find(parent, a[i]), _find(parent, b[i])
        # The lower node becomes the root, so that a root is the first of its component.
        if one < two:
            parent[two] = one
        elif two < one:
            parent[one] = two


@njit(cache=True, nogil=True)
def _flatten(parent: NDArray[np.signedinteger]) -> None:
    for node in range(parent.shape[0]):
        parent[node] = parent[parent[node]]


def unite(parent: NDArray[np.signedinteger], a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
    """Add the edges (a[i], b[i]) to the forest ``parent``: int32 or int64 [n], ``arange(n)`` at first."""
    _unite(parent, np.ascontiguousarray(a, dtype=np.int64), np.ascontiguousarray(b, dtype=np.int64))


def component_roots(parent: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
    """Return the lowest node of each node's component: ``parent``, flattened in place."""
    # A parent is never above its child, so one pass from the lowest node up reaches every root.
    _flatten(parent)
    return parent


@njit(cache=True, nogil=True)
def _representatives(
    roots: NDArray[np.signedinteger],
    fixed: int,
    take_last: bool,
    weights: NDArray[np.int64],
    chosen: NDArray[np.signedinteger],
) -> None:
    for node in range(roots.shape[0]):
        old = chosen[roots[node]]
        if old < 0:
            chosen[roots[node]] = node
        elif old >= fixed:
            heavier = weights.shape[0] > 0 and weights[node] > weights[old]
            if take_last or heavier:
                chosen[roots[node]] = node
    for node in range(roots.shape[0]):
        chosen[node] = chosen[roots[node]]


def representatives(
    roots: NDArray[np.signedinteger],
    *,
    fixed: int = 0,
    take_last: bool = False,
    weights: NDArray[np.int64] | None = None,
) -> NDArray[np.signedinteger]:
    """Return one node of each node's component, in the dtype of ``roots`` (from ``component_roots``).

    The first, or with ``take_last`` the last, or the first of the greatest of ``weights``. A component
    with nodes below ``fixed`` is represented by its first.
    """
    chosen = np.full(len(roots), -1, dtype=roots.dtype)
    _representatives(roots, fixed, take_last, np.empty(0, np.int64) if weights is None else weights, chosen)
    return chosen
