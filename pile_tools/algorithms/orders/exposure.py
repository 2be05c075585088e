"""What had been seen by when: sources over time, and repetition, from the order itself.

An interval is a number of a stretch of steps. The inputs of a sample are its first seq_length tokens; the
token after them is the first input of the next sample, so that each place of doc_idx shows each of its
tokens once as an input, but for the samples that are not read.
"""

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError

__all__ = ["repetition", "repetition_of_spans", "tokens_by_source"]

# Documents whose places are held at once, some 16 bytes for each place.
_BLOCK: Final = 1 << 22


@numba.njit(cache=True, nogil=True)
def _by_source(doc_idx, sample_idx, sizes, sources, intervals, out):  # type: ignore[no-untyped-def]
    """Add the inputs of each piece to ``out[interval, source]``; return the first bad place, or −1."""
    row = 0
    rows = len(sample_idx) - 1
    for place in range(len(doc_idx)):
        document = np.int64(doc_idx[place])
        if document < 0 or document >= len(sizes):
            return place
        offset = np.int64(0)
        size = np.int64(sizes[document])
        while row < rows and sample_idx[row + 1, 0] == place:
            end = np.int64(sample_idx[row + 1, 1])
            if end < offset or end > size:
                return place
            if intervals[row] >= 0:
                out[intervals[row], sources[document]] += end - offset
            offset = end
            row += 1
        if row == rows:
            return -1
        if sample_idx[row + 1, 0] < place:
            return place
        if intervals[row] >= 0:
            out[intervals[row], sources[document]] += size - offset
    return -1


def tokens_by_source(
    doc_idx: npt.NDArray[np.int32],
    sample_idx: npt.NDArray[Any],
    sizes: npt.NDArray[np.int32],
    sources: npt.NDArray[Any],
    intervals: npt.NDArray[np.int32],
    n_intervals: int,
    n_sources: int,
) -> npt.NDArray[np.int64]:
    """Return the input tokens of each interval from each source, int64[n_intervals, n_sources].

    ``sources`` [D] the source of each document, ``intervals`` [N] that of each row of sample_idx, −1 of
    one that is not read. Raises DataError where the arrays contradict each other.
    """
    out = np.zeros((n_intervals, n_sources), np.int64)
    _raise(_by_source(doc_idx, sample_idx, sizes, sources, intervals, out))
    return out


def _raise(place: int) -> None:
    if place >= 0:
        raise DataError(f"doc_idx and sample_idx contradict each other at place {place}")


@numba.njit(cache=True, nogil=True)
def _count_places(doc_idx, counts):  # type: ignore[no-untyped-def]
    """Count the places of each document; return the first bad place, or −1."""
    for place in range(len(doc_idx)):
        document = np.int64(doc_idx[place])
        if document < 0 or document >= len(counts):
            return place
        counts[document] += 1
    return -1


@numba.njit(cache=True, nogil=True)
def _fill_places(doc_idx, sample_idx, low, heads, places, rows):  # type: ignore[no-untyped-def]
    """Fill places and first rows of the documents from ``low`` on, grouped by document at ``heads``.

    Returns the first bad place, or −1.
    """
    documents = len(heads) - 1
    filled = heads[:-1].copy()
    row = 0
    last = len(sample_idx) - 1
    for place in range(len(doc_idx)):
        # The row whose inputs the first token of the place is among.
        while row < last and (
            sample_idx[row + 1, 0] < place
            or (sample_idx[row + 1, 0] == place and sample_idx[row + 1, 1] == 0)
        ):
            row += 1
        document = np.int64(doc_idx[place]) - low
        if 0 <= document < documents:
            at = filled[document]
            if at >= heads[document + 1]:
                return place
            places[at] = place
            rows[at] = row
            filled[document] += 1
    return -1


@numba.njit(cache=True, nogil=True)
def _row_end(row, place, size, sample_idx):  # type: ignore[no-untyped-def]
    """The token of the document at ``place`` that row ``row`` no longer has among its inputs."""
    if row == len(sample_idx) - 1 or sample_idx[row + 1, 0] > place:
        return size
    return min(size, np.int64(sample_idx[row + 1, 1]))


@numba.njit(cache=True, nogil=True)
def _count_repeats(  # type: ignore[no-untyped-def]
    low, heads, places, rows, sizes, sample_idx, intervals, by_document, by_token
):
    """Add documents to ``by_document[times, interval]`` at their times-th reading, tokens likewise.

    Returns the first bad place, or −1.
    """
    never = by_token.shape[1]
    most = by_token.shape[0]
    now = np.empty(most, np.int64)
    first = np.empty(most, np.int64)
    for document in range(len(heads) - 1):
        begin = heads[document]
        copies = heads[document + 1] - begin
        size = np.int64(sizes[low + document])
        if size == 0 or copies == 0:
            continue
        for copy in range(copies):
            first[copy] = never
        offset = np.int64(0)
        while offset < size:
            end = size
            for copy in range(copies):
                row = rows[begin + copy]
                end = min(end, _row_end(row, places[begin + copy], size, sample_idx))
                interval = never
                if row < len(intervals) and intervals[row] >= 0:
                    interval = np.int64(intervals[row])
                now[copy] = interval
                first[copy] = min(first[copy], interval)
            if end <= offset:
                return places[begin]
            now[:copies].sort()
            for copy in range(copies):
                if now[copy] < never:
                    by_token[copy, now[copy]] += end - offset
            for copy in range(copies):
                # The next row begins here, where it does not begin in a later document.
                if _row_end(rows[begin + copy], places[begin + copy], size, sample_idx) == end:
                    rows[begin + copy] += 1
            offset = end
        first[:copies].sort()
        for copy in range(copies):
            if first[copy] < never:
                by_document[copy, first[copy]] += 1
    return -1


def repetition(
    doc_idx: npt.NDArray[np.int32],
    sample_idx: npt.NDArray[Any],
    sizes: npt.NDArray[np.int32],
    intervals: npt.NDArray[np.int32],
    n_intervals: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return how many documents, and how many tokens, are read for the (t + 1)-th time in each interval.

    int64[most times, n_intervals] each. A document is read when the first of its tokens to be read is; a
    token when it is among the inputs of a sample. ``intervals`` as in ``tokens_by_source``. Holds some
    16 bytes for each place of a few million documents at a time, besides its arguments.
    """
    counts = np.zeros(len(sizes), np.int32)
    _raise(_count_places(doc_idx, counts))
    most = int(counts.max(initial=0))
    by_document = np.zeros((most, n_intervals), np.int64)
    by_token = np.zeros((most, n_intervals), np.int64)
    for low in range(0, len(sizes), _BLOCK):
        heads = np.concatenate([[0], np.cumsum(counts[low : low + _BLOCK], dtype=np.int64)]).astype(np.int64)
        places = np.empty(int(heads[-1]), np.int64)
        rows = np.empty(int(heads[-1]), np.int64)
        _raise(_fill_places(doc_idx, sample_idx, low, heads, places, rows))
        _raise(_count_repeats(low, heads, places, rows, sizes, sample_idx, intervals, by_document, by_token))
    return by_document, by_token


@numba.njit(cache=True, nogil=True)
def _sweep(documents, starts, stops, intervals, by_token):  # type: ignore[no-untyped-def]
    """Add the tokens of spans, in order of document and start, to ``by_token[times, interval]``."""
    held_stops = np.empty(len(by_token), np.int64)
    held = np.empty(len(by_token), np.int64)
    count = 0
    following = 0
    document = np.int64(-1)
    at = np.int64(0)
    while following < len(documents) or count > 0:
        if count == 0:
            document = documents[following]
            at = starts[following]
        while following < len(documents) and documents[following] == document and starts[following] == at:
            held_stops[count] = stops[following]
            held[count] = intervals[following]
            count += 1
            following += 1
        end = held_stops[:count].min()
        if following < len(documents) and documents[following] == document:
            end = min(end, starts[following])
        now = np.sort(held[:count])
        for times in range(count):
            by_token[times, now[times]] += end - at
        kept = 0
        for place in range(count):
            if held_stops[place] > end:
                held_stops[kept] = held_stops[place]
                held[kept] = held[place]
                kept += 1
        count = kept
        at = end


def repetition_of_spans(
    documents: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    intervals: npt.NDArray[np.int64],
    n_intervals: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return what ``repetition`` does, from spans of documents that are read instead of from an order.

    Span i is the tokens [starts[i], stops[i]), at least one, of ``documents[i]``, read in ``intervals[i]``;
    ``places[i]`` says which of the document's places in doc_idx it is of, by any number. int64[n] each.
    """
    by_place = np.lexsort((intervals, places, documents))
    is_first = np.ones(len(documents), np.bool_)
    is_first[1:] = (np.diff(documents[by_place]) != 0) | (np.diff(places[by_place]) != 0)
    firsts = by_place[is_first]
    firsts = firsts[np.lexsort((intervals[firsts], documents[firsts]))]
    times = np.arange(len(firsts)) - np.searchsorted(documents[firsts], documents[firsts])
    by_document = np.zeros((int(times.max(initial=-1)) + 1, n_intervals), np.int64)
    np.add.at(by_document, (times, intervals[firsts]), 1)
    # The most spans over one token: what has begun less what has ended, ends first.
    ends = np.concatenate([np.ones_like(starts), -np.ones_like(stops)])
    by_place = np.lexsort((ends, np.concatenate([starts, stops]), np.concatenate([documents, documents])))
    by_token = np.zeros((int(np.cumsum(ends[by_place]).max(initial=0)), n_intervals), np.int64)
    order = np.lexsort((starts, documents))
    _sweep(documents[order], starts[order], stops[order], intervals[order], by_token)
    return by_document, by_token
