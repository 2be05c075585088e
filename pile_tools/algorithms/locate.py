"""Where the tokens of a sample are: from a sample to pieces of documents, and pieces to bytes."""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError

__all__ = ["Pieces", "byte_ranges", "copy_pieces", "locate"]

Int64Array = npt.NDArray[np.int64]


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
    samples, sample_idx, doc_idx, sizes, n_wanted, fill, row, position, document, offset, n_tokens
):
    """Walk the pieces of all samples; return (pieces, 0, 0, 0) or (−kind of error, its three values)."""
    count = 0
    for k in range(len(samples)):
        sample = np.int64(samples[k])
        if sample < 0 or sample >= len(sample_idx) - 1:
            return -1, sample, np.int64(len(sample_idx) - 1), np.int64(k)
        place = np.int64(sample_idx[sample, 0])
        start = np.int64(sample_idx[sample, 1])
        last = np.int64(sample_idx[sample + 1, 0])
        last_offset = np.int64(sample_idx[sample + 1, 1])
        if place < 0 or last < place or last >= len(doc_idx) or start < 0 or last_offset < 0:
            return -2, sample, place, last
        found = np.int64(0)
        while place <= last:
            number = np.int64(doc_idx[place])
            if number < 0 or number >= len(sizes):
                return -3, place, number, np.int64(len(sizes))
            size = np.int64(sizes[number])
            stop = last_offset + 1 if place == last else size
            if size < 0 or stop > size or start > stop:
                return -4, sample, number, size
            length = stop - start
            if found + length > n_wanted:
                return -5, sample, found + length, n_wanted
            if length > 0:
                if fill:
                    row[count] = k
                    position[count] = found
                    document[count] = number
                    offset[count] = start
                    n_tokens[count] = length
                count += 1
            found += length
            start = np.int64(0)
            place += 1
        if found != n_wanted:
            return -5, sample, found, n_wanted
    return count, np.int64(0), np.int64(0), np.int64(0)


def _raise(kind: int, a: int, b: int, c: int) -> None:
    if kind == -1:
        raise DataError(f"shuffle_idx holds sample {a}, but there are {b}; it is no permutation")
    if kind == -2:
        raise DataError(f"sample_idx puts sample {a} between places {b} and {c} of doc_idx")
    if kind == -3:
        raise DataError(f"doc_idx holds document {b} at place {a}, but the dataset has {c}")
    if kind == -4:
        raise DataError(f"sample_idx cuts sample {a} outside of document {b}, which has {c} tokens")
    raise DataError(f"sample_idx gives sample {a} {b} tokens instead of {c}")


def locate(
    samples: npt.NDArray[Any],
    sample_idx: npt.NDArray[Any],
    doc_idx: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int32],
    seq_length: int,
) -> Pieces:
    """Return the pieces of documents that make up ``samples`` [n] (rows of ``sample_idx``).

    Neighbouring samples share a token, so each has seq_length + 1. Empty documents give no piece.
    Raises DataError where the arrays contradict each other or the sizes.
    """
    empty = np.empty(0, np.int64)
    arguments = (samples, sample_idx, doc_idx, sizes, seq_length + 1)
    count, a, b, c = _walk(*arguments, False, empty, empty, empty, empty, empty)
    if count < 0:
        _raise(count, a, b, c)
    arrays = [np.empty(count, np.int64) for _ in range(5)]
    _walk(*arguments, True, *arrays)
    return Pieces(*arrays)


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


def byte_ranges(
    pieces: Pieces,
    pointers: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int32],
    itemsize: int,
    data_bytes: int,
) -> tuple[Int64Array, Int64Array]:
    """Return first byte and length of each piece in the data, int64[n] each.

    Raises DataError where a document does not begin where the one before it ends, or leaves the data.
    """
    begins = pointers[pieces.document]
    ends = begins + sizes[pieces.document].astype(np.int64) * itemsize
    before = np.maximum(pieces.document - 1, 0)
    expected = np.where(pieces.document > 0, pointers[before] + sizes[before].astype(np.int64) * itemsize, 0)
    wrong = np.flatnonzero((begins != expected) | (begins < 0) | (ends > data_bytes))
    if len(wrong):
        document = int(pieces.document[wrong[0]])
        raise DataError(f"document {document} points to byte {pointers[document]}; the .idx file is damaged")
    return begins + pieces.offset * itemsize, pieces.n_tokens * itemsize
