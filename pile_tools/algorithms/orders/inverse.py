"""From documents to the samples that hold them, and from samples to their places in the stream.

An order leads from the stream to documents. The way back needs no index beside it: doc_idx is scanned for
the documents' places at memory speed, sample_idx is sorted by place and is searched by halving, and
shuffle_idx is scanned for the few samples that were found.
"""

from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.errors import DataError

__all__ = [
    "DocumentPieces",
    "document_pieces",
    "document_places",
    "documents_of_bytes",
    "find_places",
    "samples_of_spans",
]


# Up to this many numbers are compared one by one, which is vectorised; more are looked up in a filter.
_FEW: Final = 4
_BLOCK: Final = 8192
# Bits of the filter for each number that is sought: one value in 256 passes it by chance.
_BITS_EACH: Final = 256
_MIN_BITS: Final = 1 << 16
_MAX_BITS: Final = 1 << 29
_RESULTS: Final = 1 << 16


@numba.njit(cache=True, nogil=True)
def _scan_few(values, start, wanted, out):  # type: ignore[no-untyped-def]
    """Write places of ``wanted`` from ``start`` on until ``out`` may not hold another block's.

    Returns (places written, where to go on).
    """
    count = 0
    while start < len(values):
        block = values[start : start + _BLOCK]
        if count + len(block) > len(out):
            break
        found = False
        for number in wanted:
            for value in block:
                found |= value == number
        if found:
            for place in range(len(block)):
                for number in wanted:
                    if block[place] == number:
                        out[count] = start + place
                        count += 1
        start += len(block)
    return count, start


@numba.njit(cache=True, nogil=True)
def _scan_filter(values, start, wanted, bits, mask, out):  # type: ignore[no-untyped-def]
    """As ``_scan_few``, for sorted ``wanted`` whose low bits (``mask``) are set in ``bits``."""
    count = 0
    while start < len(values):
        stop = min(start + _BLOCK, len(values))
        if count + stop - start > len(out):
            break
        for place in range(start, stop):
            value = np.int64(values[place])
            low = np.uint64(value) & mask
            if (bits[low >> np.uint64(6)] >> (low & np.uint64(63))) & np.uint64(1):
                at = np.searchsorted(wanted, value)
                if at < len(wanted) and wanted[at] == value:
                    out[count] = place
                    count += 1
        start = stop
    return count, start


@numba.njit(cache=True, nogil=True)
def _set_bits(bits, mask, numbers):  # type: ignore[no-untyped-def]
    for number in numbers:
        low = np.uint64(number) & mask
        bits[low >> np.uint64(6)] |= np.uint64(1) << (low & np.uint64(63))


def find_places(values: npt.NDArray[Any], wanted: npt.ArrayLike, limit: int | None = None) -> Int64Array:
    """Return the places, ascending, of ``values`` [n] that hold one of the numbers ``wanted`` [m].

    ``values`` are integers, sought among the first ``limit``; what is below 0 is not found. Reads them
    once and holds, besides the result, at most 32 bytes for each number that is sought, and 64 MiB.
    """
    values = values[:limit]
    numbers = np.unique(np.asarray(wanted, np.int64))
    if values.dtype.itemsize < 8:
        numbers = numbers[numbers <= np.iinfo(values.dtype).max]
    numbers = numbers[numbers >= 0]
    if len(numbers) == 0 or len(values) == 0:
        return np.empty(0, np.int64)
    out = np.empty(_RESULTS, np.int64)
    size = min(max(_MIN_BITS, 1 << (len(numbers) * _BITS_EACH - 1).bit_length()), _MAX_BITS)
    bits = np.zeros(size // 64, np.uint64)
    mask = np.uint64(size - 1)
    few = len(numbers) <= _FEW
    if few:
        numbers = numbers.astype(values.dtype)
    else:
        _set_bits(bits, mask, numbers)
    parts: list[Int64Array] = []
    start = 0
    while start < len(values):
        if few:
            count, start = _scan_few(values, start, numbers, out)
        else:
            count, start = _scan_filter(values, start, numbers, bits, mask, out)
        parts.append(out[:count].copy())
    return np.concatenate(parts)


@numba.njit(cache=True, nogil=True)
def _owners(places, pointers, out):  # type: ignore[no-untyped-def]
    for i in range(len(places)):
        low, high = 0, len(pointers)
        while low < high:
            middle = (low + high) // 2
            if pointers[middle] <= places[i]:
                low = middle + 1
            else:
                high = middle
        out[i] = low - 1


def documents_of_bytes(places: npt.ArrayLike, pointers: npt.NDArray[np.int64]) -> Int64Array:
    """Return the document that each byte of the data is in: the last whose pointer is not past it."""
    places = np.asarray(places, np.int64)
    out = np.empty(len(places), np.int64)
    _owners(places, pointers, out)  # unlike np.searchsorted it takes an unaligned array as it is
    return out


@dataclass(frozen=True, slots=True)
class DocumentPieces:
    """Where places of doc_idx are shown; all arrays int64[n], in order of place and sample.

    ``place`` in doc_idx; ``document`` there; ``sample`` (row of sample_idx); ``position`` of the piece's
    first token in the sample; ``offset`` of that token in the document; ``n_tokens``, at least 1.
    """

    place: Int64Array
    document: Int64Array
    sample: Int64Array
    position: Int64Array
    offset: Int64Array
    n_tokens: Int64Array


@numba.njit(cache=True, nogil=True)
def _first_sample(sample_idx, place, offset):  # type: ignore[no-untyped-def]
    """The first sample whose last token is at (``place``, ``offset``) or after it."""
    low, high = 0, len(sample_idx) - 1
    while low < high:
        middle = (low + high) // 2
        last = np.int64(sample_idx[middle + 1, 0])
        if last < place or (last == place and np.int64(sample_idx[middle + 1, 1]) < offset):
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(cache=True, nogil=True)
def _position(sample, place, offset, sample_idx, doc_idx, sizes):  # type: ignore[no-untyped-def]
    """Tokens from the start of ``sample`` to (``place``, ``offset``); −1 where the maps are damaged."""
    first = np.int64(sample_idx[sample, 0])
    if first < 0 or first > place or sample_idx[sample, 1] < 0:
        return np.int64(-1)
    position = offset - np.int64(sample_idx[sample, 1])
    for before in range(first, place):
        document = np.int64(doc_idx[before])
        if document < 0 or document >= len(sizes):
            return np.int64(-1)
        position += np.int64(sizes[document])
    return position


@numba.njit(cache=True, nogil=True)
def _walk_places(places, sample_idx, doc_idx, sizes, fill, out):  # type: ignore[no-untyped-def]
    """Walk the pieces of all places; return (pieces, 0, 0) or (−1, a place, its document)."""
    count = 0
    for place in places:
        document = np.int64(doc_idx[place])
        if document < 0 or document >= len(sizes):
            return -1, place, document
        size = np.int64(sizes[document])
        sample = _first_sample(sample_idx, place, 0)
        while sample < len(sample_idx) - 1 and sample_idx[sample, 0] <= place:
            start = np.int64(sample_idx[sample, 1]) if sample_idx[sample, 0] == place else np.int64(0)
            last = sample_idx[sample + 1, 0] == place
            stop = np.int64(sample_idx[sample + 1, 1]) + 1 if last else size
            if start < 0 or stop > size:
                return -1, place, document
            if start < stop:
                if fill:
                    position = _position(sample, place, start, sample_idx, doc_idx, sizes)
                    if position < 0:
                        return -1, place, document
                    out[0, count] = place
                    out[1, count] = document
                    out[2, count] = sample
                    out[3, count] = position
                    out[4, count] = start
                    out[5, count] = stop - start
                count += 1
            sample += 1
    return count, np.int64(0), np.int64(0)


def document_pieces(
    places: npt.ArrayLike,
    sample_idx: npt.NDArray[Any],
    doc_idx: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int32],
) -> DocumentPieces:
    """Return every piece in which the documents at ``places`` of doc_idx are shown by a sample.

    Neighbouring samples share a token, which is in a piece of each. Raises DataError where the arrays
    contradict each other.
    """
    places = np.asarray(places, np.int64)
    empty = np.empty((6, 0), np.int64)
    count, place, document = _walk_places(places, sample_idx, doc_idx, sizes, False, empty)
    out = np.empty((6, max(count, 0)), np.int64)
    if count > 0:
        count, place, document = _walk_places(places, sample_idx, doc_idx, sizes, True, out)
    if count < 0:
        raise DataError(f"doc_idx and sample_idx contradict document {document} at place {place}")
    return DocumentPieces(*out)


@numba.njit(cache=True, nogil=True)
def _walk_spans(places, offsets, lengths, sample_idx, doc_idx, sizes, seq_length, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with span, sample and position of each span that a sample holds; return how many.

    −1 − place where the maps are damaged.
    """
    count = 0
    samples = len(sample_idx) - 1
    for span in range(len(places)):
        place, offset = places[span], offsets[span]
        sample = _first_sample(sample_idx, place, offset)
        if sample == samples:
            continue
        position = _position(sample, place, offset, sample_idx, doc_idx, sizes)
        if position < 0 or position > seq_length:
            return -1 - place
        if position + lengths[span] <= seq_length + 1:
            out[0, count] = span
            out[1, count] = sample
            out[2, count] = position
            count += 1
        # The last token of a sample is the first of the next.
        if position == seq_length and sample + 1 < samples and lengths[span] <= seq_length + 1:
            out[0, count] = span
            out[1, count] = sample + 1
            out[2, count] = 0
            count += 1
    return count


def samples_of_spans(
    places: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    sample_idx: npt.NDArray[Any],
    doc_idx: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int32],
    seq_length: int,
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return (span, sample, position) for each sample that holds a span of tokens whole, int64[n] each.

    Span i is ``lengths[i]`` tokens, at least 1, from token ``offsets[i]`` of the document at
    ``places[i]`` of doc_idx on; it may run into the documents after it. ``span`` is i, ``position`` of its
    first token in the sample. Raises DataError where the arrays contradict each other.
    """
    out = np.empty((3, 2 * len(places)), np.int64)
    count = _walk_spans(places, offsets, lengths, sample_idx, doc_idx, sizes, seq_length, out)
    if count < 0:
        raise DataError(f"doc_idx and sample_idx contradict each other at place {-1 - count}")
    return out[0, :count].copy(), out[1, :count].copy(), out[2, :count].copy()


def document_places(doc_idx: npt.NDArray[np.int32], documents: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return the places of ``documents`` in doc_idx, ascending, and which of its document's each is."""
    places = find_places(doc_idx, documents)
    numbers = doc_idx[places]
    order = np.argsort(numbers, kind="stable")
    in_order = numbers[order]
    first = np.searchsorted(in_order, in_order)
    epochs = np.empty(len(places), np.int64)
    epochs[order] = np.arange(len(places)) - first
    return places, epochs
