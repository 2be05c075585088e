"""Location of the tokens of a sample: from a sample to pieces of documents, and from pieces to bytes.

Many samples are walked by compiled code, few by NumPy: numba takes longer to import than they take.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.errors import DataError

__all__ = ["FEW", "Pieces", "check_pointers", "check_samples", "copy_pieces", "locate", "walk_few"]

FEW: Final = 16
"""Rows up to which NumPy is used; beyond, what numba costs is soon won back."""

# Documents that NumPy looks at together.
_BLOCK: Final = 4096

Problem = tuple[int, int, int, int]
"""Kind of the problem (−1 to −4), row, and the two values that its message names."""


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
    arguments = (starts, stops, doc_idx, sizes, seq_length + 1)
    problem, arrays = walk_few(*arguments) if len(starts) <= FEW else _walk_many(*arguments)
    if problem is not None:
        kind, row, left, right = problem
        sample = int(samples[row])
        messages = {
            -1: f"sample_idx puts sample {sample} between places {left} and {right} of doc_idx, which has "
            f"{len(doc_idx)}",
            -2: f"doc_idx holds document {right} at place {left}, but the dataset has {len(sizes)}",
            -3: f"sample_idx cuts sample {sample} outside of document {left}, which has {right} tokens",
            -4: f"sample_idx gives sample {sample} {left} tokens instead of {right}",
        }
        raise DataError(messages[kind])
    return Pieces(*arrays)


def _walk_many(
    starts: npt.NDArray[Any],
    stops: npt.NDArray[Any],
    doc_idx: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int32],
    n_wanted: int,
) -> tuple[Problem | None, list[Int64Array]]:
    """Return what ``walk_few`` returns, by compiled code."""
    from pile_tools.algorithms.orders.locate_kernels import walk

    empty = np.empty(0, np.int64)
    arguments = (starts, stops, doc_idx, sizes, n_wanted)
    count, row, left, right = walk(*arguments, False, empty, empty, empty, empty, empty)
    if count < 0:
        return (int(count), int(row), int(left), int(right)), []
    arrays = [np.empty(count, np.int64) for _ in range(5)]
    walk(*arguments, True, *arrays)
    return None, arrays


def walk_few(
    starts: npt.NDArray[Any],
    stops: npt.NDArray[Any],
    doc_idx: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int32],
    n_wanted: int,
) -> tuple[Problem | None, list[Int64Array]]:
    """Walk the documents of each sample; return the columns of ``Pieces``, or the first problem met.

    The same walk as ``locate_kernels.walk``, by NumPy and in blocks of documents: a damaged sample_idx asks
    for no more of them than it takes to see that.
    """
    columns: list[list[Int64Array]] = [[np.empty(0, np.int64)] for _ in range(5)]
    for row in range(len(starts)):
        (place, offset), (last, last_offset) = starts[row].tolist(), stops[row].tolist()
        if place < 0 or last < place or last >= len(doc_idx) or offset < 0 or last_offset < 0:
            return (-1, row, place, last), []
        total = 0
        while place <= last:
            documents = doc_idx[place : min(last + 1, place + _BLOCK)].astype(np.int64)
            outside = np.flatnonzero((documents < 0) | (documents >= len(sizes)))
            known = documents[: outside[0]] if len(outside) else documents
            size = sizes[known].astype(np.int64)
            offsets, ends = np.zeros_like(size), size.copy()
            offsets[:1] = offset
            if place + len(known) > last:
                ends[-1] = last_offset + 1
            lengths = ends - offsets
            totals = total + np.cumsum(lengths)
            wrong = (size < 0) | (ends > size) | (offsets > ends)
            stopped = np.flatnonzero(wrong | (totals > n_wanted))
            if len(stopped):
                index = stopped[0]
                if wrong[index]:
                    return (-3, row, int(known[index]), int(size[index])), []
                return (-4, row, int(totals[index]), n_wanted), []
            if len(outside):
                return (-2, row, place + len(known), int(documents[len(known)])), []
            kept = lengths > 0
            values = (np.full_like(size, row), totals - lengths, known, offsets, lengths)
            for column, value in zip(columns, values, strict=True):
                column.append(value[kept])
            total, offset, place = int(totals[-1]), 0, place + len(documents)
        if total != n_wanted:
            return (-4, row, total, n_wanted), []
    return None, [np.concatenate(column) for column in columns]


def check_samples(samples: npt.NDArray[Any], n_samples: int) -> None:
    """Raise DataError for the first number of a shuffle_idx that is no row of sample_idx."""
    outside = np.flatnonzero((samples < 0) | (samples >= n_samples))
    if len(outside):
        raise DataError(
            f"shuffle_idx holds sample {samples[outside[0]]}, but there are {n_samples}; it is no permutation"
        )


def copy_pieces(
    part: npt.NDArray[np.uint8],
    part_start: int,
    starts: Int64Array,
    lengths: Int64Array,
    targets: Int64Array,
    out: npt.NDArray[np.uint8],
) -> None:
    """Copy the share of ``part`` in byte ranges of the data it is cut from.

    ``part`` uint8 holds the data from byte ``part_start`` on. Range i is the ``lengths[i]`` bytes from
    ``starts[i]``; the bytes of it that are in ``part`` go to ``out`` (uint8) from ``targets[i]`` on.
    """
    if len(starts) > FEW:
        from pile_tools.algorithms.orders.locate_kernels import copy

        copy(part, part_start, starts, lengths, targets, out)
        return
    part_stop = part_start + len(part)
    for start, length, target in zip(starts.tolist(), lengths.tolist(), targets.tolist(), strict=True):
        first, stop = max(start, part_start), min(start + length, part_stop)
        if first < stop:
            begin = target + first - start
            out[begin : begin + stop - first] = part[first - part_start : stop - part_start]


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
