"""Exact Jaccard similarities of sets of 64-bit shingle hashes.

Two different shingles share a hash with probability 2⁻⁶⁴; for two documents of m shingles together the
similarity is wrong with probability below m²/2⁶⁵ (3·10⁻¹⁰ for a hundred thousand shingles).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["intersection_sizes", "jaccard"]


@njit(cache=True, nogil=True)
def _intersection(values: NDArray[np.uint64], i: int, i_end: int, j: int, j_end: int, least: int) -> int:
    """Size of the intersection of two sorted sets, or −1 as soon as it cannot be ``least`` any more."""
    common = 0
    while i < i_end and j < j_end:
        x, y = values[i], values[j]
        common += x == y
        i += x <= y
        j += y <= x
        if common + min(i_end - i, j_end - j) < least:
            return -1
    return common if common >= least else -1


@njit(cache=True, nogil=True)
def _least_common(size_a: int, size_b: int, threshold: float) -> int:
    """The smallest intersection c with c / (size_a + size_b − c) ≥ threshold in float64."""
    total = size_a + size_b
    least = int(threshold * total / (1.0 + threshold)) - 2
    if least < 0:
        least = 0
    while least <= min(size_a, size_b) and least / (total - least) < threshold:
        least += 1
    return least


@njit(cache=True, nogil=True)
def _intersection_sizes(
    values: NDArray[np.uint64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    threshold: float,
    common: NDArray[np.int64],
) -> None:
    for p in range(a.shape[0]):
        i, i_end, j, j_end = starts[a[p]], ends[a[p]], starts[b[p]], ends[b[p]]
        if i == i_end or j == j_end:
            common[p] = -1
            continue
        least = _least_common(i_end - i, j_end - j, threshold)
        if least > min(i_end - i, j_end - j):
            common[p] = -1
        else:
            common[p] = _intersection(values, i, i_end, j, j_end, least)


def intersection_sizes(
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    threshold: float,
) -> NDArray[np.int64]:
    """Return for each pair its common shingles where the similarity reaches ``threshold``, else −1: int64.

    Set i is ``values[offsets[i]:offsets[i + 1]]``, sorted, without repeats; pair p is sets a[p] and b[p].
    An empty set is similar to nothing. The comparison is that of the float64 quotient with ``threshold``.
    """
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    common = np.empty(len(a), dtype=np.int64)
    _intersection_sizes(values, offsets[:-1], offsets[1:], a, b, threshold, common)
    return common


def jaccard(
    common: NDArray[np.int64], size_a: NDArray[np.int64], size_b: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return float64 similarities of pairs with ``common`` shingles of ``size_a`` and ``size_b``."""
    similarity: NDArray[np.float64] = common / (size_a + size_b - common)
    return similarity
