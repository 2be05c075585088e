"""Where patterns are in the stream: in file order mapped to steps, or sample by sample in stream order.

Both give the same matches. Reading in file order costs what the data weighs, whatever the order; gathering
costs several times as much for each token, but reads no more than the steps asked for. A match lies in one
sequence of the stream, and may cross the pieces of documents in it. Those inside a document are found where
the document lies in the file; those that cross have to begin in a document whose end is the beginning of a
pattern, and only the sequences that go on after such an end are gathered.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.algorithms.orders.inverse import documents_of_bytes
from pile_tools.jobs.progress import Progress, in_threads
from pile_tools.lookups.document_positions import show_spans
from pile_tools.lookups.patterns import CompiledPatterns, check_ids
from pile_tools.stream.components import MapsComponent
from pile_tools.stream.parts import Part
from pile_tools.stream.stream import Stream

__all__ = ["Hits", "gather_cost", "search_gathering", "search_scanning"]

_BLOCK_TOKENS: Final = 4 << 20
_GATHER_TOKENS: Final = 1 << 20
# Matches that are held before they are mapped to the stream, each scan of the order serving so many.
_FLUSH: Final = 8 << 20
# A gathered token costs as much as so many read in file order.
_GATHER_FACTOR: Final = 4


@dataclass(frozen=True, slots=True)
class Hits:
    """Matches in the stream; all arrays int64[n].

    ``stream`` the position of the sequence in it, ``position`` of the match's first token in the sequence,
    ``n_tokens`` that it touches, ``pattern`` its number, ``skip`` bytes of the first token before it.
    """

    stream: Int64Array
    position: Int64Array
    n_tokens: Int64Array
    pattern: Int64Array
    skip: Int64Array

    @classmethod
    def joined(cls, several: list["Hits"]) -> Self:
        """Return all of ``several``, in order of stream, position, skip and pattern."""
        columns = [
            np.concatenate([getattr(hits, name) for hits in several] or [np.empty(0, np.int64)])
            for name in cls.__slots__
        ]
        order = np.lexsort((columns[3], columns[4], columns[1], columns[0]))
        return cls(*(column[order] for column in columns))

    def __len__(self) -> int:
        return len(self.stream)

    def take(self, chosen: Any) -> "Hits":
        """Return the matches at ``chosen`` (a mask, places or a slice)."""
        return Hits(*(getattr(self, name)[chosen] for name in self.__slots__))


def gather_cost(stream: Stream, start: int, stop: int) -> int:
    """Return what gathering steps [start, stop) costs, in tokens read in file order."""
    return (stop - start) * stream.batch_size * (stream.seq_length + 1) * _GATHER_FACTOR


def search_gathering(
    stream: Stream,
    compiled: dict[int, CompiledPatterns],
    start: int,
    stop: int,
    progress: Progress,
) -> Iterator[Hits]:
    """Yield the matches in positions [start, stop) of the stream that are of the parts in ``compiled``.

    In the order of the stream, each time those of some sequences.
    """
    rows = max(1, _GATHER_TOKENS // (stream.seq_length + 1))

    def search(first: int) -> Hits:
        positions = np.arange(first, min(first + rows, stop))
        which, samples = stream.samples_at(positions)
        found = []
        for number, patterns in compiled.items():
            here = np.flatnonzero(which == number)
            if len(here):
                part = stream.parts[number]
                found.append(_search_rows(part, patterns, samples[here], positions[here]))
        return Hits.joined(found)

    for number, hits in enumerate(in_threads(search, range(start, stop, rows)), 1):
        progress("find", min(number * rows, stop - start), stop - start)
        yield hits


def _search_rows(part: Part, compiled: CompiledPatterns, samples: Int64Array, positions: Int64Array) -> Hits:
    """Return the matches in samples of a part, which are at ``positions`` of the stream."""
    tokens = part.tokens(samples)
    width = tokens.shape[1]
    flat = tokens.reshape(-1)
    check_ids(part, flat, compiled.max_id)
    found = compiled.matcher.search(flat)
    row, position = np.divmod(found.start, width)
    inside = position + found.n_tokens <= width
    hits = Hits(positions[row], position, found.n_tokens, found.pattern, found.skip)
    return hits.take(inside)


def search_scanning(
    stream: Stream,
    part: Part,
    compiled: CompiledPatterns,
    bounds: tuple[int, int],
    progress: Progress,
) -> Iterator[Hits]:
    """Yield the matches of ``part`` that are at positions [bounds) of the stream, in no order.

    Reads all of the data once, in the order of the file.
    """
    maps = part.maps()
    if maps is None:
        raise ValueError("a sequential part is searched in the order of the stream")
    blocks = range(0, part.n_tokens, _BLOCK_TOKENS)
    held: list[Int64Array] = []
    opened: list[Int64Array] = []
    count = 0
    scan = _block_search(part, maps, compiled)
    for number, (spans, open_documents) in enumerate(in_threads(scan, blocks), 1):
        held.append(spans)
        opened.append(open_documents)
        count += spans.shape[1]
        progress("find", min(number * _BLOCK_TOKENS, part.n_tokens), part.n_tokens)
        if count >= _FLUSH:
            yield _mapped(part, np.concatenate(held, axis=1), stream.seq_length, bounds)
            held, count = [], 0
    if held:
        yield _mapped(part, np.concatenate(held, axis=1), stream.seq_length, bounds)
    if opened:
        yield from _crossing(stream, part, maps, compiled, np.concatenate(opened), bounds)


def _block_search(
    part: Part, maps: MapsComponent, compiled: CompiledPatterns
) -> Callable[[int], tuple[Int64Array, Int64Array]]:
    """Return a function that searches the block of data from a token on.

    It returns spans int64[5, n] (document, offset, n_tokens, pattern, skip) and the documents that end in
    the block with the beginning of a pattern.
    """
    matcher, itemsize = compiled.matcher, part.dtype.itemsize

    def search(begin: int) -> tuple[Int64Array, Int64Array]:
        stop = min(begin + _BLOCK_TOKENS, part.n_tokens)
        low = max(0, begin - matcher.longest)
        tokens = part.read(low, min(stop + matcher.longest, part.n_tokens))
        check_ids(part, tokens, compiled.max_id)
        found = matcher.search(tokens, begin - low, stop - low)
        start = found.start + low
        document = documents_of_bytes(start * itemsize, maps.pointers)
        offset = start - maps.pointers[document] // itemsize
        inside = offset + found.n_tokens <= maps.sizes[document]
        spans = np.stack([document, offset, found.n_tokens, found.pattern, found.skip])[:, inside]
        first, last = documents_of_bytes(np.array([begin, stop - 1]) * itemsize, maps.pointers).tolist()
        documents = np.arange(first, last + 1)
        begins = maps.pointers[first : last + 1] // itemsize
        ends = begins + maps.sizes[first : last + 1]
        here = (ends > begin) & (ends <= stop) & (ends > begins)
        is_open = matcher.open_ends(tokens, ends[here] - low, np.maximum(begins[here] - low, 0))
        return spans, documents[here][is_open]

    return search


def _mapped(part: Part, spans: Int64Array, seq_length: int, bounds: tuple[int, int]) -> Hits:
    document, offset, n_tokens, pattern, skip = spans
    span, stream, position = show_spans(part, document, offset, n_tokens, seq_length)
    hits = Hits(stream, position, n_tokens[span], pattern[span], skip[span])
    return hits.take((stream >= bounds[0]) & (stream < bounds[1]))


def _crossing(
    stream: Stream,
    part: Part,
    maps: MapsComponent,
    compiled: CompiledPatterns,
    documents: Int64Array,
    bounds: tuple[int, int],
) -> Iterator[Hits]:
    """Yield the matches that cross pieces, of sequences that go on after the end of one of ``documents``."""
    last = maps.sizes[documents].astype(np.int64) - 1
    _, shown, _ = show_spans(part, documents, last, np.full_like(documents, 2), stream.seq_length)
    shown = np.unique(shown[(shown >= bounds[0]) & (shown < bounds[1])])
    width = stream.seq_length + 1
    rows = max(1, _GATHER_TOKENS // width)

    def search(first: int) -> Hits:
        positions = shown[first : first + rows]
        _, samples = stream.samples_at(positions)
        hits = _search_rows(part, compiled, samples, positions)
        pieces = part.pieces(samples)
        begins = pieces.row * width + pieces.position
        start = np.searchsorted(positions, hits.stream) * width + hits.position
        first_piece = np.searchsorted(begins, start, side="right")
        last_piece = np.searchsorted(begins, start + hits.n_tokens - 1, side="right")
        return hits.take(first_piece != last_piece)

    yield from in_threads(search, range(0, len(shown), rows))
