"""Locality-sensitive hashing of signatures in bands (Leskovec, Rajaraman, Ullman: Massive Datasets, 3).

Two documents of similarity s agree in a band of r rows with probability s^r, and in at least one of b
bands with probability 1 − (1 − s^r)^b; then they are candidates.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pile_tools.algorithms.text.words import finish_hash
from pile_tools.errors import ParameterError

__all__ = [
    "RECALL",
    "Bands",
    "band_keys",
    "buckets",
    "candidate_probability",
    "datasketch_bands",
    "recall_bands",
]

RECALL = 0.995
"""Share of the pairs exactly at the threshold that ``recall_bands`` makes candidates, at least."""

_KEY_A = np.uint64(0x8CB92BA72F3D8DD7)
_KEY_B = np.uint64(0xD1B54A32D192ED03)


@dataclass(frozen=True, slots=True)
class Bands:
    """``bands`` bands of ``rows`` signature places each; places beyond bands·rows are not used."""

    bands: int
    rows: int


def _check(threshold: float, num_perm: int) -> None:
    if not 0.0 < threshold <= 1.0:
        raise ParameterError(f"threshold {threshold}: must be above 0 and at most 1")
    if num_perm < 1:
        raise ParameterError(f"num_perm {num_perm}: must be at least 1")


def candidate_probability(similarity: float, bands: Bands) -> float:
    """Probability that two documents of this similarity agree in at least one band."""
    return float(1.0 - (1.0 - similarity**bands.rows) ** bands.bands)


def recall_bands(threshold: float, num_perm: int) -> Bands:
    """The bands for candidates that are verified afterwards: as selective as recall allows.

    The rule: the largest number of rows r for which num_perm // r bands make at least ``RECALL`` of the
    pairs at the threshold candidates; one row where no r does. 16 bands of 8 at 0.87 and 128.
    """
    _check(threshold, num_perm)
    for rows in range(num_perm, 1, -1):
        chosen = Bands(num_perm // rows, rows)
        if candidate_probability(threshold, chosen) >= RECALL:
            return chosen
    return Bands(num_perm, 1)


def datasketch_bands(threshold: float, num_perm: int) -> Bands:
    """The bands that ``datasketch.MinHashLSH(threshold=…, num_perm=…)`` takes, asked of datasketch itself.

    Raises ParameterError where datasketch refuses (fewer than two bands, for example).
    """
    from datasketch import MinHashLSH

    _check(threshold, num_perm)
    try:
        index = MinHashLSH(threshold=threshold, num_perm=num_perm)
    except ValueError as error:
        raise ParameterError(
            f"threshold {threshold} with num_perm {num_perm}: datasketch refuses it ({error}); "
            "raise num_perm or lower the threshold"
        ) from None
    return Bands(index.b, index.r)


@njit(cache=True, nogil=True)
def _band_keys(signatures: NDArray[np.uint32], bands: int, rows: int, keys: NDArray[np.uint64]) -> None:
    for d in range(signatures.shape[0]):
        for band in range(bands):
            one, two = _KEY_A, _KEY_B
            for k in range(band * rows, (band + 1) * rows):
                value = np.uint64(signatures[d, k])
                one = np.uint64(np.uint64(one ^ value) * _KEY_B)
                one = np.uint64(one ^ (one >> np.uint64(32)))
                if keys.shape[0] == 2:
                    two = np.uint64(np.uint64(two + value) * _KEY_A)
                    two = np.uint64(two ^ (two >> np.uint64(29)))
            keys[0, band, d] = finish_hash(one)
            if keys.shape[0] == 2:
                keys[1, band, d] = finish_hash(two)


def band_keys(signatures: NDArray[np.uint32], bands: Bands, *, wide: bool) -> NDArray[np.uint64]:
    """Return the hashes of the bands of n signatures: uint64 [1, bands, n], or [2, bands, n] when ``wide``.

    The 64 bits of a narrow key serve where candidates are verified: a clash costs a comparison. The 128
    bits of a wide key stand for the band's values themselves (N documents clash with probability N²/2¹²⁹).
    """
    if bands.bands * bands.rows > signatures.shape[1]:
        raise ParameterError(
            f"{bands.bands} bands of {bands.rows} rows: a signature has only {signatures.shape[1]} values"
        )
    keys = np.empty((2 if wide else 1, bands.bands, len(signatures)), dtype=np.uint64)
    _band_keys(np.ascontiguousarray(signatures), bands.bands, bands.rows, keys)
    return keys


@njit(cache=True, nogil=True)
def _before(two: NDArray[np.uint64], i: np.int64, j: np.int64) -> bool:
    return bool(two[i] < two[j] or (two[i] == two[j] and i < j))


@njit(cache=True, nogil=True)
def _sift(order: NDArray[np.int64], start: int, root: int, length: int, two: NDArray[np.uint64]) -> None:
    while True:
        child = 2 * root + 1
        if child >= length:
            return
        if child + 1 < length and _before(two, order[start + child], order[start + child + 1]):
            child += 1
        if not _before(two, order[start + root], order[start + child]):
            return
        order[start + root], order[start + child] = order[start + child], order[start + root]
        root = child


@njit(cache=True, nogil=True)
def _sort_run(order: NDArray[np.int64], start: int, end: int, two: NDArray[np.uint64]) -> None:
    """Heap sort of ``order[start:end]`` by (two, position): no recursion, no bad case."""
    length = end - start
    if length == 2:
        if not _before(two, order[start], order[start + 1]):
            order[start], order[start + 1] = order[start + 1], order[start]
        return
    for root in range(length // 2 - 1, -1, -1):
        _sift(order, start, root, length, two)
    for last in range(length - 1, 0, -1):
        order[start], order[start + last] = order[start + last], order[start]
        _sift(order, start, 0, last, two)


@njit(cache=True, nogil=True)
def _collect(
    order: NDArray[np.int64],
    one: NDArray[np.uint64],
    two: NDArray[np.uint64],
    members: NDArray[np.int64],
    offsets: NDArray[np.int64],
) -> tuple[int, int]:
    filled, n_buckets = 0, 0
    start = 0
    n = order.shape[0]
    while start < n:
        end = start + 1
        while end < n and one[order[end]] == one[order[start]]:
            end += 1
        if end - start > 1:
            _sort_run(order, start, end, two)
            i = start
            while i < end:
                j = i + 1
                while j < end and two[order[j]] == two[order[i]]:
                    j += 1
                if j - i > 1:
                    for k in range(i, j):
                        members[filled] = order[k]
                        filled += 1
                    n_buckets += 1
                    offsets[n_buckets] = filled
                i = j
        start = end
    return filled, n_buckets


def buckets(
    one: NDArray[np.uint64], two: NDArray[np.uint64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group n keys: return the positions of those that occur more than once, and int64 [buckets + 1] offsets.

    A key is ``one[i]``, together with ``two[i]`` where given. Positions ascend within a bucket; buckets
    are in the order of their keys.
    """
    order = np.argsort(one)
    second = np.zeros(len(one), dtype=np.uint64) if two is None else two
    members = np.empty(len(one), dtype=np.int64)
    offsets = np.zeros(len(one) // 2 + 1, dtype=np.int64)
    filled, n_buckets = _collect(order, one, second, members, offsets)
    return members[:filled], offsets[: n_buckets + 1]
