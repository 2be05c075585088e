"""Whether three arrays are an order of some documents, whatever recipe made them."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError

__all__ = ["check_maps"]


@numba.njit(cache=True, nogil=True)
def _first_wrong_sample(sizes, doc_idx, seq_length, sample_idx):  # type: ignore[no-untyped-def]
    """Return the first row of sample_idx that is not seq_length tokens on from the one before, or −1."""
    if sample_idx[0, 0] != 0 or sample_idx[0, 1] != 0:
        return 0
    position = np.int64(0)
    offset = np.int64(0)
    for sample in range(1, len(sample_idx)):
        offset += seq_length
        while position < len(doc_idx) and offset >= sizes[doc_idx[position]]:
            offset -= sizes[doc_idx[position]]
            position += 1
        if position == len(doc_idx) or sample_idx[sample, 0] != position or sample_idx[sample, 1] != offset:
            return sample
    return -1


@numba.njit(cache=True, nogil=True)
def _first_repeated(numbers, seen):  # type: ignore[no-untyped-def]
    """Mark ``numbers`` in ``seen``; return the first place of one outside of it or marked before, or −1."""
    for place in range(len(numbers)):
        number = np.int64(numbers[place])
        if number < 0 or number >= len(seen) or seen[number]:
            return place
        seen[number] = True
    return -1


@numba.njit(cache=True, nogil=True)
def _count(numbers, counts):  # type: ignore[no-untyped-def]
    """Count ``numbers`` into ``counts``; return the first place of one outside of it, or −1."""
    for place in range(len(numbers)):
        number = np.int64(numbers[place])
        if number < 0 or number >= len(counts):
            return place
        counts[number] += 1
    return -1


def check_maps(
    sizes: npt.NDArray[np.int32],
    doc_idx: npt.NDArray[np.int32],
    sample_idx: npt.NDArray[Any],
    shuffle_idx: npt.NDArray[Any],
    seq_length: int,
) -> None:
    """Check that the arrays are an order of documents of ``sizes``, whatever recipe made them.

    doc_idx holds each document that it has equally often, sample_idx cuts them at every ``seq_length``
    tokens, shuffle_idx is a permutation. Raises DataError for the first thing that is wrong.
    """
    counts = np.zeros(len(sizes), np.int32)
    place = _count(doc_idx, counts)
    if place >= 0:
        raise DataError(
            f"doc_idx holds document {doc_idx[place]} at place {place}, but the dataset has {len(sizes)}"
        )
    most = counts.max(initial=0)
    uneven = np.flatnonzero((counts != 0) & (counts != most))
    if len(uneven):
        document = int(uneven[0])
        raise DataError(
            f"doc_idx holds document {document} {counts[document]} times, but others {most} times"
        )
    sample = _first_wrong_sample(sizes, doc_idx, seq_length, sample_idx)
    if sample >= 0:
        raise DataError(f"sample_idx does not cut sample {sample} at every {seq_length} tokens of doc_idx")
    place = _first_repeated(shuffle_idx, np.zeros(len(sample_idx) - 1, np.bool_))
    if place >= 0:
        raise DataError(f"shuffle_idx holds {shuffle_idx[place]} at place {place}; it is no permutation")
