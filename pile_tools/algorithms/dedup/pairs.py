"""Which pairs of a bucket of candidates are compared, so that time stays bounded however large it is.

First every member with the bucket's first (``star_pairs``): that settles a bucket of true duplicates in
linear time. Then, among members that this left in different components, all pairs of a bucket of at
most ``ALL_PAIRS`` members, and in a larger one each member with the next ``WINDOW`` in the bucket's
order (``cross_pairs``). Both are functions of the corpus alone.
"""

from collections.abc import Iterator

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["ALL_PAIRS", "WINDOW", "cross_pairs", "order_large_buckets", "star_pairs"]

ALL_PAIRS = 64
WINDOW = 16


@njit(cache=True, nogil=True)
def _star_pairs(members: NDArray[np.int64], offsets: NDArray[np.int64], pairs: NDArray[np.int64]) -> None:
    filled = 0
    for bucket in range(offsets.shape[0] - 1):
        for i in range(offsets[bucket] + 1, offsets[bucket + 1]):
            pairs[filled, 0] = members[offsets[bucket]]
            pairs[filled, 1] = members[i]
            filled += 1


def star_pairs(members: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (first, other) for each other member of each bucket, by ascending other: int64 [pairs, 2].

    Bucket i is ``members[offsets[i]:offsets[i + 1]]``, ascending; no member is in two buckets.
    """
    pairs = np.empty((len(members) - (len(offsets) - 1), 2), dtype=np.int64)
    _star_pairs(members, offsets, pairs)
    ordered: NDArray[np.int64] = pairs[np.argsort(pairs[:, 1], kind="stable")]
    return ordered


def order_large_buckets(
    members: NDArray[np.int64], offsets: NDArray[np.int64], keys: NDArray[np.uint64]
) -> None:
    """Order, in place, the members of buckets above ``ALL_PAIRS`` by (key, member).

    ``keys`` (uint64, one for each place of ``members``) are those of another band: members that agree
    in it too come to stand within one window.
    """
    for bucket in np.flatnonzero(np.diff(offsets) > ALL_PAIRS).tolist():
        place = slice(offsets[bucket], offsets[bucket + 1])
        members[place] = members[place][np.lexsort((members[place], keys[place]))]


@njit(cache=True, nogil=True)
def _cross_pairs(
    members: NDArray[np.int64],
    offsets: NDArray[np.int64],
    labels: NDArray[np.int64],
    bucket: int,
    place: int,
    pairs: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Fill ``pairs`` from member ``place`` of ``bucket`` on; return how many, and where to go on."""
    filled = 0
    room = pairs.shape[0] - max(ALL_PAIRS, WINDOW)
    while bucket < offsets.shape[0] - 1:
        start, end = offsets[bucket], offsets[bucket + 1]
        large = end - start > ALL_PAIRS
        # The first of a small bucket has met all the others already.
        i = start + place if large else max(start + place, start + 1)
        while i < end:
            if filled > room:
                return filled, bucket, i - start
            last = min(i + 1 + WINDOW, end) if large else end
            for j in range(i + 1, last):
                if labels[i] != labels[j]:
                    pairs[filled, 0] = min(members[i], members[j])
                    pairs[filled, 1] = max(members[i], members[j])
                    filled += 1
            i += 1
        bucket += 1
        place = 0
    return filled, bucket, 0


def cross_pairs(
    members: NDArray[np.int64], offsets: NDArray[np.int64], labels: NDArray[np.int64], chunk: int = 1 << 20
) -> Iterator[NDArray[np.int64]]:
    """Yield the pairs (lower, higher) of members with different ``labels``: int64 [up to ``chunk``, 2].

    ``labels`` has one value for each place of ``members``.
    """
    pairs = np.empty((max(chunk, ALL_PAIRS + WINDOW + 1), 2), dtype=np.int64)
    bucket, place = 0, 0
    while bucket < len(offsets) - 1:
        filled, bucket, place = _cross_pairs(members, offsets, labels, bucket, place, pairs)
        if filled:
            yield pairs[:filled].copy()
