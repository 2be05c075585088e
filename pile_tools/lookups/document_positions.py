"""From documents, and from spans of their tokens, to the places in the stream that show them."""

from dataclasses import dataclass

import numpy as np

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.algorithms.orders.inverse import (
    document_pieces,
    document_places,
    find_places,
    samples_of_spans,
)
from pile_tools.errors import DataError
from pile_tools.stream.components import MapsComponent
from pile_tools.stream.parts import Part

__all__ = ["Shown", "show_documents", "show_spans"]


@dataclass(frozen=True, slots=True)
class Shown:
    """Pieces of documents in the stream; all arrays int64[n], in order of stream and position.

    ``stream`` the position of the sequence in it; ``document``; ``position`` of the piece's first token in
    the sequence; ``offset`` of that token in the document; ``n_tokens``; ``epoch``: which of the
    document's places in doc_idx, counted from 0, the piece is from, −1 where an overlay packs it anew.
    """

    stream: Int64Array
    document: Int64Array
    position: Int64Array
    offset: Int64Array
    n_tokens: Int64Array
    epoch: Int64Array


def show_documents(part: Part, documents: Int64Array, seq_length: int) -> Shown:
    """Return every piece in which the stream shows ``documents`` (numbers, each counted once)."""
    documents = np.unique(documents)
    below = part.below()
    if below is not None:
        return _show_changed(part, *below, documents, seq_length)
    listed = part.listed()
    maps = part.maps()
    if listed is not None:
        sequences = np.searchsorted(listed.starts, find_places(listed.pieces[:, 0], documents), side="right")
        sequences = np.unique(sequences) - 1
        pieces, epochs = listed.of(sequences)
        mine = np.isin(pieces.document, documents)
        stream = part.positions(sequences)[pieces.row]
        columns = [stream, pieces.document, pieces.position, pieces.offset, pieces.n_tokens, epochs]
        columns = [column[mine] for column in columns]
        stream = stream[mine]
    elif maps is None:
        stream = part.positions(documents)
        zeros = np.zeros_like(documents)
        columns = [stream, documents, zeros, zeros, zeros + seq_length + 1, zeros]
    else:
        places, epochs = document_places(maps.doc_idx, documents)
        found = document_pieces(places, maps.sample_idx, maps.doc_idx, maps.sizes)
        stream = _positions(part, maps, found.sample)
        epoch = epochs[np.searchsorted(places, found.place)]
        columns = [stream, found.document, found.position, found.offset, found.n_tokens, epoch]
    order = np.lexsort((columns[2], columns[0]))
    order = order[stream[order] >= 0]
    return Shown(*(column[order] for column in columns))


def _show_changed(
    part: Part, below: Part, samples: Int64Array, documents: Int64Array, seq_length: int
) -> Shown:
    """The same of an overlay: what the part below shows, but for the ``samples`` that are packed anew."""
    known = documents[documents < (below.n_documents or 0)]
    old = show_documents(below, known, seq_length)
    kept = ~np.isin(old.stream, part.positions(samples))
    found = part.pieces(samples)
    mine = np.isin(found.document, documents)
    stream = part.positions(samples)[found.row[mine]]
    # A piece that was packed anew is of no place in doc_idx.
    no_epoch = np.full(len(stream), -1, np.int64)
    columns = [
        np.concatenate(pair)
        for pair in (
            (old.stream[kept], stream),
            (old.document[kept], found.document[mine]),
            (old.position[kept], found.position[mine]),
            (old.offset[kept], found.offset[mine]),
            (old.n_tokens[kept], found.n_tokens[mine]),
            (old.epoch[kept], no_epoch),
        )
    ]
    order = np.lexsort((columns[2], columns[0]))
    order = order[columns[0][order] >= 0]
    return Shown(*(column[order] for column in columns))


def show_spans(
    part: Part, documents: Int64Array, offsets: Int64Array, lengths: Int64Array, seq_length: int
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return (span, position in the stream, position in the sequence) where the stream shows a span whole.

    Span i is ``lengths[i]`` tokens from token ``offsets[i]`` of document ``documents[i]`` on. What is past
    the document's end is taken from whichever documents follow it in the order.
    """
    maps = part.maps()
    if maps is None:
        span = np.flatnonzero(offsets + lengths <= seq_length + 1)
        stream, position = part.positions(documents[span]), offsets[span]
    else:
        places, _ = document_places(maps.doc_idx, np.unique(documents))
        place_documents = maps.doc_idx[places].astype(np.int64)
        order = np.argsort(place_documents, kind="stable")
        sorted_documents = place_documents[order]
        first = np.searchsorted(sorted_documents, documents)
        counts = np.searchsorted(sorted_documents, documents, side="right") - first
        span = np.repeat(np.arange(len(documents)), counts)
        within = np.arange(len(span)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = places[order[first[span] + within]]
        which, row, position = samples_of_spans(
            place, offsets[span], lengths[span], maps.sample_idx, maps.doc_idx, maps.sizes, seq_length
        )
        span, stream = span[which], _positions(part, maps, row)
    read = stream >= 0
    return span[read], stream[read], position[read]


def _positions(part: Part, maps: MapsComponent, rows: Int64Array) -> Int64Array:
    """Return the positions in the stream of rows of sample_idx, −1 of one that is not read."""
    wanted, inverse = np.unique(rows, return_inverse=True)
    samples = find_places(maps.shuffle_idx, wanted, part.samples)
    found = maps.shuffle_idx[samples].astype(np.int64)
    order = np.argsort(found)
    found = found[order]
    twice = np.flatnonzero(found[1:] == found[:-1])
    if len(twice):
        raise DataError(
            f"{part.name}: shuffle_idx holds sample {found[twice[0]]} twice; the order is damaged, make it "
            "again"
        )
    at = np.searchsorted(found, wanted)
    is_read = at < len(found)
    is_read[is_read] = found[at[is_read]] == wanted[is_read]
    positions = np.full(len(wanted), -1, np.int64)
    positions[is_read] = part.positions(samples[order[at[is_read]]])
    return positions[inverse.reshape(-1)]
