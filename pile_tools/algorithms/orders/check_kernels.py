"""Compiled code that checks the index maps of large orders (see ``orders.check_maps``)."""

import numba
import numpy as np

__all__ = ["count", "first_repeated", "first_repeated_read", "first_wrong_cut", "mark"]


@numba.njit(cache=True, nogil=True)
def mark(values, bits, limit):  # type: ignore[no-untyped-def]
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
def first_repeated(values, bits, limit):  # type: ignore[no-untyped-def]
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
    """Note what was read as ``check_maps.first_repeated_read`` says."""
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
def count(values, first, counts):  # type: ignore[no-untyped-def]
    """Count ``values``, which begin at ``first``, into ``counts``; return the index of the first outside, or
    −1."""
    for index in range(len(values)):
        value = np.int64(values[index]) - first
        if value < 0 or value >= len(counts):
            return index
        counts[value] += 1
    return -1


@numba.njit(cache=True, nogil=True)
def first_wrong_cut(sizes, doc_idx, start, stop, seq_length, sample_idx, state):  # type: ignore[no-untyped-def]
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
