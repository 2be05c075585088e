"""Where the tokens of a sample are: from a sample to pieces of documents, and pieces to bytes."""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.errors import DataError

__all__ = ["Pieces", "check_pointers", "check_samples", "copy_pieces", "locate"]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces of documents, in order of row and position; all arrays int64[n].

    ``row`` of the request; ``position`` of the piece's first token in the sample; ``document`` it is
    from; ``offset`` of that token in the document; ``n_tokens``, at least 1.
    """

    row: Int64Array
    position: Int64Array
    document: Int64Array
    offset: Int64Array
    n_tokens: Int64Array


@numba.njit(cache=True, nogil=True)
def _walk(  # type: ignore[no-untyped-def]
    starts, stops, doc_idx, sizes, n_wanted, fill, row, position, document, offset, n_tokens
):
    """Walk the pieces of all samples; return (pieces, 0, 0, 0) or (−kind of error, row, its two values)."""
    count = 0
    for k in range(len(starts)):
        place = np.int64(starts[k, 0])
        start = np.int64(starts[k, 1])
        last = np.int64(stops[k, 0])
        last_offset = np.int64(stops[k, 1])
        if place < 0 or last < place or last >= len(doc_idx) or start < 0 or last_offset < 0:
            return -1, k, place, last
        found = np.int64(0)
        while place <= last:
            number = np.int64(doc_idx[place])
            if number < 0 or number >= len(sizes):
                return -2, k, place, number
            size = np.int64(sizes[number])
            stop = last_offset + 1 if place == last else size
            if size < 0 or stop > size or start > stop:
                return -3, k, number, size
            length = stop - start
            found += length
            if found > n_wanted:
                return -4, k, found, n_wanted
            if length > 0:
                if fill:
                    row[count] = k
                    position[count] = found - length
                    document[count] = number
                    offset[count] = start
                    n_tokens[count] = length
                count += 1
            start = np.int64(0)
            place += 1
        if found != n_wanted:
            return -4, k, found, n_wanted
    return count, 0, np.int64(0), np.int64(0)


def locate(
    starts: npt.NDArray[Any],
    stops: npt.NDArray[Any],
    doc_idx: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int32],
    seq_length: int,
    samples: npt.NDArray[Any],
) -> Pieces:
    """Return the pieces of documents that make up samples, one for each row of ``starts``.

    ``starts`` and ``stops`` [n, 2] are the rows of sample_idx of each sample and of the one after it:
    neighbours share a token, so each sample has seq_length + 1. ``samples`` [n] are their numbers, for
    messages. Empty documents give no piece. Raises DataError where the arrays contradict each other.
    """
    empty = np.empty(0, np.int64)
    arguments = (starts, stops, doc_idx, sizes, seq_length + 1)
    count, row, one, two = _walk(*arguments, False, empty, empty, empty, empty, empty)
    if count < 0:
        sample = int(samples[row])
        messages = {
            -1: f"sample_idx puts sample {sample} between places {one} and {two} of doc_idx, which has "
            f"{len(doc_idx)}",
            -2: f"doc_idx holds document {two} at place {one}, but the dataset has {len(sizes)}",
            -3: f"sample_idx cuts sample {sample} outside of document {one}, which has {two} tokens",
            -4: f"sample_idx gives sample {sample} {one} tokens instead of {two}",
        }
        raise DataError(messages[count])
    arrays = [np.empty(count, np.int64) for _ in range(5)]
    _walk(*arguments, True, *arrays)
    return Pieces(*arrays)


def check_samples(samples: npt.NDArray[Any], n_samples: int) -> None:
    """Raise DataError for the first number of a shuffle_idx that is no row of sample_idx."""
    outside = np.flatnonzero((samples < 0) | (samples >= n_samples))
    if len(outside):
        raise DataError(
            f"shuffle_idx holds sample {samples[outside[0]]}, but there are {n_samples}; it is no permutation"
        )


@numba.njit(cache=True, nogil=True)
def copy_pieces(  # type: ignore[no-untyped-def]
    part, part_start, starts, lengths, targets, out
):
    """Copy the share of ``part`` in byte ranges of the data it is cut from.

    ``part`` uint8 holds the data from byte ``part_start`` on. Range i is the ``lengths[i]`` bytes from
    ``starts[i]``; the bytes of it that lie in ``part`` go to ``out`` (uint8) from ``targets[i]`` on.
    """
    part_stop = part_start + len(part)
    for i in range(len(starts)):
        first = max(starts[i], part_start)
        stop = min(starts[i] + lengths[i], part_stop)
        if first < stop:
            target = targets[i] + first - starts[i]
            source_bytes = part[first - part_start : stop - part_start]
            target_bytes = out[target : target + stop - first]
            # Counted from 0 to a length, which the compiler turns into wide copies.
            for byte in range(len(source_bytes)):
                target_bytes[byte] = source_bytes[byte]


def check_pointers(
    documents: Int64Array,
    pointers: Int64Array,
    sizes: npt.NDArray[Any],
    pointers_before: Int64Array,
    sizes_before: npt.NDArray[Any],
    itemsize: int,
    data_bytes: int,
) -> None:
    """Raise DataError where a document does not begin where the one before it ends, or leaves the data.

    All arrays [n]; what is before document 0 is not looked at.
    """
    expected = pointers_before + sizes_before.astype(np.int64) * itemsize
    ends = pointers + sizes.astype(np.int64) * itemsize
    wrong = np.flatnonzero(
        (pointers != np.where(documents > 0, expected, 0)) | (pointers < 0) | (ends > data_bytes)
    )
    if len(wrong):
        place = int(wrong[0])
        raise DataError(
            f"document {documents[place]} points to byte {pointers[place]}; the .idx file is damaged"
        )
