"""From which sources the model read its tokens, by checkpoint."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pile_tools.algorithms.exposure import tokens_by_source
from pile_tools.errors import PileToolsError
from pile_tools.lookups.intervals import inputs, row_intervals, sample_intervals
from pile_tools.lookups.stream import Int64Array, Part, Progress, Stream, checkpoints, no_progress

__all__ = ["mixture"]

# Sequences whose pieces are looked at one by one at a time.
_PIECES_BLOCK: Final = 1 << 17
_NONE: Final = np.empty(0, np.int64)


def mixture(stream: Stream, *, every: int | None = None, progress: Progress = no_progress) -> pa.Table:
    """Return the tokens by source over training (see ``BatchViewer.mixture``)."""
    marks = checkpoints(stream.first_step, stream.steps, every)
    counts: dict[str | None, Int64Array] = {}
    for number, part in enumerate(stream.parts):
        progress("mixture", number, len(stream.parts))
        if part.n_documents is None:
            raise PileToolsError(
                f"{part.name}: the boundaries of its documents are not known, so neither are their sources"
            )
        for names, found in _mixture_of(stream, part, marks):
            for name, column in zip(names, found.T, strict=True):
                counts[name] = counts.get(name, np.zeros(len(marks), np.int64)) + column
    progress("mixture", len(stream.parts), len(stream.parts))
    # The largest first; of documents without a source last.
    names = sorted(counts, key=lambda name: (name is None, -int(counts[name].sum()), name))
    starts = np.concatenate([[stream.first_step], marks[:-1]])
    # Fetched steps of which it was not recorded name only the sources that they show, which may be none.
    tokens = np.stack([counts[name] for name in names] or [np.empty((len(marks), 0), np.int64)], axis=1)
    return pa.table(
        {
            "start": np.repeat(starts, len(names)),
            "checkpoint": np.repeat(marks, len(names)),
            "source": pa.array(names * len(marks), pa.string()),
            "tokens": tokens.reshape(-1),
            "share": (tokens / np.maximum(tokens.sum(axis=1, keepdims=True), 1)).reshape(-1),
            "cumulative": np.cumsum(tokens, axis=0).reshape(-1),
        }
    )


def _mixture_of(
    stream: Stream, part: Part, marks: Int64Array
) -> Iterator[tuple[list[str | None], Int64Array]]:
    """Yield names of sources, and inputs from each in each interval, int64[interval, source], to add up."""
    if part.listed() is not None:
        names = list(part.sources())
        yield names, np.zeros((len(marks), len(names)), np.int64)
        yield from _mixture_of_pieces(stream, part, np.arange(part.samples), marks)
        return
    # Of an overlay, what it packs anew is counted piece by piece and the rest as its parent has it.
    base, anew = part, _NONE
    while (found := base.below()) is not None:
        base, anew = found[0], np.union1d(anew, found[1])
    yield from _mixture_of_pieces(stream, part, anew, marks)
    names, codes = _sources(base)
    maps = base.maps()
    if maps is not None:
        rows = row_intervals(stream, base, maps, marks, anew)
        yield (
            names,
            tokens_by_source(maps.doc_idx, maps.sample_idx, maps.sizes, codes, rows, len(marks), len(names)),
        )
        return
    tokens = np.zeros((len(marks), len(names)), np.int64)
    intervals = sample_intervals(stream, base, marks)
    intervals[anew[anew < len(intervals)]] = -1
    read = np.flatnonzero(intervals >= 0)
    np.add.at(tokens, (intervals[read], codes[read]), stream.seq_length)
    yield names, tokens


def _mixture_of_pieces(
    stream: Stream, part: Part, samples: Int64Array, marks: Int64Array
) -> Iterator[tuple[list[str | None], Int64Array]]:
    """The same of ``samples`` of a part alone, ascending, by the pieces that they are of."""
    provenance = part.provenance()
    if provenance is None:
        raise _no_sources(part)
    for start in range(0, len(samples), _PIECES_BLOCK):
        block = samples[start : start + _PIECES_BLOCK]
        positions = part.positions(block)
        block, positions = block[positions >= 0], positions[positions >= 0]
        pieces = part.pieces(block)
        intervals = np.searchsorted(marks, positions // stream.batch_size, side="right")[pieces.row]
        documents, place = np.unique(pieces.document, return_inverse=True)
        column = provenance.lookup(documents, ("source",)).column(0).to_pylist()
        names = {name: code for code, name in enumerate(dict.fromkeys(column))}
        codes = np.array([names[name] for name in column], np.int64)[place.reshape(-1)]
        tokens = np.zeros((len(marks), len(names)), np.int64)
        np.add.at(tokens, (intervals, codes), inputs(pieces, stream.seq_length))
        yield list(names), tokens


def _no_sources(part: Part) -> PileToolsError:
    return PileToolsError(
        f"{part.name}: no documents.parquet, so it is not known which source a document is from"
    )


def _sources(part: Part) -> tuple[list[str | None], npt.NDArray[np.int32]]:
    """Return the names of the sources of a part and, for each document, which of them it is from."""
    provenance = part.provenance()
    if provenance is None:
        raise _no_sources(part)
    names: dict[str | None, int] = {}
    codes = []
    for chunk in provenance.column("source").chunks:
        # A chunk has its own dictionary; the names in it are few, the rows many.
        own = [names.setdefault(name, len(names)) for name in chunk.dictionary.to_pylist()]
        if chunk.null_count:
            own.append(names.setdefault(None, len(names)))
        indices = pc.fill_null(chunk.indices, len(own) - 1).to_numpy(zero_copy_only=False)
        codes.append(np.array(own, np.int32)[indices])
    return list(names), np.concatenate([np.empty(0, np.int32), *codes])
