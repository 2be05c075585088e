"""Proof that three arrays are an order of some documents, whatever recipe made them.

Each check reads its array once, block after block, and calls ``advance`` with the bytes that a block has.
"""

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError

__all__ = ["check_doc_idx", "check_maps", "check_sample_idx", "check_shuffle_idx", "first_repeated_read"]

Advance = Callable[[int], None]
# Entries between two calls of ``advance``: some 10 ms.
_BLOCK: Final = 1 << 20


def _no_advance(n_bytes: int) -> None:
    """Tell nobody."""


@numba.njit(cache=True, nogil=True)
def _mark(values, bits, limit):  # type: ignore[no-untyped-def]
    """Set the bit of each of ``values``; return the index of the first outside of [0, limit), or −1.

    Nothing depends on the bits that were there, so that memory works on many of the scattered writes at once.
    """
    for index in range(len(values)):
        value = np.int64(values[index])
        if value < 0 or value >= limit:
            return index
        bits[value >> 3] |= np.uint8(1 << (value & 7))
    return -1


@numba.njit(cache=True, nogil=True)
def _first_repeated(values, bits, limit):  # type: ignore[no-untyped-def]
    """Set the bit of each of ``values``; return the index of the first outside of [0, limit) or set before,
    or −1."""
    for index in range(len(values)):
        value = np.int64(values[index])
        if value < 0 or value >= limit:
            return index
        bit = np.uint8(1 << (value & 7))
        if bits[value >> 3] & bit:
            return index
        bits[value >> 3] |= bit
    return -1


@numba.njit(cache=True, nogil=True)
def first_repeated_read(positions, samples, positions_read, samples_read):  # type: ignore[no-untyped-def]
    """Note that ``positions`` of a stream were read as ``samples``, in two sets of bits.

    Returns the index of the first sample that another position was read as before, or −1. A position that
    was read before is not looked at again.
    """
    for index in range(len(positions)):
        position, sample = positions[index], samples[index]
        position_bit, sample_bit = np.uint8(1 << (position & 7)), np.uint8(1 << (sample & 7))
        if positions_read[position >> 3] & position_bit:
            continue
        if samples_read[sample >> 3] & sample_bit:
            return index
        positions_read[position >> 3] |= position_bit
        samples_read[sample >> 3] |= sample_bit
    return -1


@numba.njit(cache=True, nogil=True)
def _count(values, first, counts):  # type: ignore[no-untyped-def]
    """Count ``values``, which begin at ``first``, into ``counts``; return the index of the first outside, or
    −1."""
    for index in range(len(values)):
        value = np.int64(values[index]) - first
        if value < 0 or value >= len(counts):
            return index
        counts[value] += 1
    return -1


@numba.njit(cache=True, nogil=True)
def _first_wrong_cut(sizes, doc_idx, start, stop, seq_length, sample_idx, state):  # type: ignore[no-untyped-def]
    """Compare the rows of sample_idx that point into ``doc_idx[start:stop]``; return the first wrong row.

    ``state`` holds the next row and its offset in the document at ``start``, and is moved on. Returns −1
    where all rows are right, −2 for a document that has no size.
    """
    block = np.empty(4096, np.int64)
    row, offset = state[0], state[1]
    for first in range(start, stop, len(block)):
        length = min(len(block), stop - first)
        # The sizes first, so that memory works on many of the scattered reads at once.
        for k in range(length):
            document = np.int64(doc_idx[first + k])
            if document < 0 or document >= len(sizes) or sizes[document] < 0:
                return -2
            block[k] = sizes[document]
        for k in range(length):
            while offset < block[k] and row < len(sample_idx):
                if sample_idx[row, 0] != first + k or sample_idx[row, 1] != offset:
                    return row
                row += 1
                offset += seq_length
            if row == len(sample_idx):
                state[0], state[1] = row, offset
                return -1
            offset -= block[k]
    state[0], state[1] = row, offset
    return -1


def check_shuffle_idx(shuffle_idx: npt.NDArray[Any], n_samples: int, advance: Advance = _no_advance) -> None:
    """Check that ``shuffle_idx`` holds each of 0 … ``n_samples`` − 1 once; DataError for what is not so."""
    if len(shuffle_idx) != n_samples:
        raise DataError(f"shuffle_idx has {len(shuffle_idx)} entries, not {n_samples}")
    if n_samples == 0:
        return
    n_bytes = (n_samples + 7) // 8
    bits = np.zeros(n_bytes, np.uint8)
    sound = True
    for start in range(0, n_samples, _BLOCK):
        block = shuffle_idx[start : start + _BLOCK]
        sound = sound and _mark(block, bits, n_samples) < 0
        advance(block.nbytes)
    # As many entries as bits, so that all bits are set where none was set twice.
    last = np.uint8((1 << ((n_samples - 1) % 8 + 1)) - 1)
    if sound and bits[-1:] == last and np.all(bits[:-1] == 255):
        return
    index = int(_first_repeated(shuffle_idx, np.zeros(n_bytes, np.uint8), n_samples))
    sample = int(shuffle_idx[index])
    where = f"sample {sample} twice, again" if 0 <= sample < n_samples else str(sample)
    raise DataError(f"shuffle_idx holds {where} at place {index}; it is no permutation")


def check_doc_idx(
    doc_idx: npt.NDArray[np.int32],
    n_documents: int,
    *,
    documents: tuple[int, int] | None = None,
    part: str | None = None,
    epochs: int | None = None,
    advance: Advance = _no_advance,
) -> None:
    """Check that ``doc_idx`` holds every document of the range ``documents`` equally often.

    ``n_documents`` that the dataset has; ``documents`` None: a range that is not known, without a gap, which
    for the ``part`` "train" of a split begins with the first document and is not that alone, and for "test"
    ends with the last; ``epochs``: how often, where that is known. Raises DataError for the first document
    that is wrong.
    """
    start, stop = (0, n_documents) if documents is None else documents
    most = len(doc_idx) // max(1, stop - start) if documents is not None else len(doc_idx)
    counts = np.zeros(stop - start, np.uint8 if most < 128 else np.int32)
    for first in range(0, len(doc_idx), _BLOCK):
        block = doc_idx[first : first + _BLOCK]
        index = int(_count(block, start, counts))
        if index >= 0:
            known = f"the dataset has {n_documents}"
            if documents not in (None, (0, n_documents)):
                known = f"the order is of documents {start}:{stop}"
            raise DataError(f"doc_idx holds document {block[index]} at place {first + index}, but {known}")
        advance(block.nbytes)
    if documents is None and len(doc_idx):
        used = np.flatnonzero(counts)
        start, stop = int(used[0]), int(used[-1]) + 1
        counts = counts[start:stop]
        _check_range(start, stop, n_documents, part)
    expected = epochs if epochs is not None else len(doc_idx) // max(1, stop - start)
    uneven = np.flatnonzero(counts != expected)
    if len(uneven) or len(doc_idx) != expected * (stop - start):
        document = int(uneven[0]) if len(uneven) else 0
        times = int(np.count_nonzero(doc_idx == start + document))
        raise DataError(
            f"doc_idx holds document {start + document} {times:,} times, but an order of documents "
            f"{start}:{stop} with {len(doc_idx):,} entries has each {expected:,} times"
        )


def _check_range(start: int, stop: int, n_documents: int, part: str | None) -> None:
    """Check that documents [start, stop) can be the ``part`` of a split; DataError where they cannot."""
    is_train = part == "train" and (start > 0 or stop == 1 < n_documents)
    if is_train or (part == "test" and stop < n_documents):
        raise DataError(
            f"doc_idx holds documents {start}:{stop} of {n_documents} alone, which is no {part} part of a "
            "split"
        )


def check_sample_idx(
    sizes: npt.NDArray[np.int32],
    doc_idx: npt.NDArray[np.int32],
    seq_length: int,
    sample_idx: npt.NDArray[Any],
    advance: Advance = _no_advance,
) -> None:
    """Check that ``sample_idx`` cuts the documents at every ``seq_length`` tokens; DataError for the first
    row that does not."""
    row = 0
    if sample_idx[0, 0] == 0 and sample_idx[0, 1] == 0:
        state = np.array([1, seq_length], np.int64)
        row = -1
        for start in range(0, len(doc_idx), _BLOCK):
            before, stop = int(state[0]), min(start + _BLOCK, len(doc_idx))
            row = int(_first_wrong_cut(sizes, doc_idx, start, stop, seq_length, sample_idx, state))
            if row != -1:
                break
            advance((int(state[0]) - before) * sample_idx.itemsize * 2)
        if row == -2:
            raise DataError("doc_idx holds a document that has no size")
        if row == -1 and state[0] < len(sample_idx):
            row = int(state[0])
    if row >= 0:
        raise DataError(f"sample_idx does not cut sample {row} at every {seq_length} tokens of doc_idx")


def check_maps(
    sizes: npt.NDArray[np.int32],
    doc_idx: npt.NDArray[np.int32],
    sample_idx: npt.NDArray[Any],
    shuffle_idx: npt.NDArray[Any],
    seq_length: int,
    *,
    documents: tuple[int, int] | None = None,
    part: str | None = None,
    epochs: int | None = None,
) -> None:
    """Check that the arrays are an order of documents of ``sizes``, whatever recipe made them.

    doc_idx holds each document of the range ``documents`` ``epochs`` times (None: of a range that is not
    known, equally often; see ``check_doc_idx``), sample_idx cuts them at every ``seq_length`` tokens,
    shuffle_idx is a permutation. Raises DataError for the first thing that is wrong.
    """
    check_doc_idx(doc_idx, len(sizes), documents=documents, part=part, epochs=epochs)
    check_sample_idx(sizes, doc_idx, seq_length, sample_idx)
    check_shuffle_idx(shuffle_idx, len(sample_idx) - 1)
