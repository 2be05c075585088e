"""What the model had seen by each checkpoint: how often, and from which source."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pile_tools.algorithms.exposure import repetition, tokens_by_source
from pile_tools.errors import DataError, PileToolsError
from pile_tools.lookups.stream import (
    Int64Array,
    Maps,
    Part,
    Progress,
    Stream,
    checkpoints,
    no_progress,
    same_documents,
)

__all__ = ["mixture", "repeats"]

_BLOCK: Final = 1 << 22


def _intervals(
    stream: Stream, part: Part, rows: int, marks: Int64Array
) -> Iterator[tuple[int, npt.NDArray[np.int32]]]:
    """Yield, block by block, the intervals of steps, cut at ``marks``, that read samples of ``part``.

    Each time the first sample and int32[n], −1 for a sample that is not read; none past ``rows``.
    """
    for start in range(0, min(part.samples, rows), _BLOCK):
        positions = part.positions(np.arange(start, min(start + _BLOCK, part.samples, rows)))
        found = np.searchsorted(marks, positions // stream.batch_size, side="right")
        yield start, np.where(positions < 0, -1, found).astype(np.int32)


def _row_intervals(stream: Stream, part: Part, maps: Maps, marks: Int64Array) -> npt.NDArray[np.int32]:
    """Return the same for each row of sample_idx."""
    rows = len(maps.sample_idx) - 1
    out = np.full(rows, -1, np.int32)
    for start, intervals in _intervals(stream, part, rows, marks):
        shuffled = maps.shuffle_idx[start : start + len(intervals)]
        outside = np.flatnonzero((shuffled < 0) | (shuffled >= rows))
        if len(outside):
            raise DataError(
                f"{part.name}: shuffle_idx holds sample {shuffled[outside[0]]}, but there are {rows}; the "
                "order is damaged, make it again"
            )
        out[shuffled] = intervals
    return out


def _sample_intervals(stream: Stream, part: Part, marks: Int64Array) -> npt.NDArray[np.int32]:
    """Return the same for each sample of a sequential part."""
    parts = [intervals for _, intervals in _intervals(stream, part, part.samples, marks)]
    return np.concatenate([np.empty(0, np.int32), *parts])


def _by_times(several: list[npt.NDArray[np.int32]], n_intervals: int) -> Int64Array:
    """Return how many samples are read for the (t + 1)-th time in each interval, int64[len(several), I].

    Each of ``several`` has the interval in which a part reads each sample, −1 for one that it does not.
    """
    intervals = np.full((len(several), max(map(len, several))), n_intervals, np.int32)
    for row, own in zip(intervals, several, strict=True):
        row[: len(own)] = np.where(own < 0, n_intervals, own)
    if len(several) > 1:
        intervals.sort(axis=0)
    return np.stack([np.bincount(row, minlength=n_intervals + 1)[:n_intervals] for row in intervals])


def _end_to_end(
    several: list[Maps], intervals: list[npt.NDArray[np.int32]]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[Any], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return doc_idx, sample_idx, sizes and intervals of several orders of a dataset as those of one."""
    if len(several) == 1:
        return several[0].doc_idx, several[0].sample_idx, several[0].sizes, intervals[0]
    places = np.cumsum([0, *(len(maps.doc_idx) for maps in several)])
    sample_idx = [
        maps.sample_idx + np.array([first, 0], np.int64) for maps, first in zip(several, places, strict=False)
    ]
    # Between two of them is a row of what the first packs into no sample.
    gap = np.full(1, -1, np.int32)
    joined = [array for own in intervals for array in (own, gap)][:-1]
    doc_idx = np.concatenate([maps.doc_idx for maps in several])
    return doc_idx, np.concatenate(sample_idx), several[0].sizes, np.concatenate(joined)


def _same_packings(several: list[Maps]) -> list[list[int]]:
    """Group maps of one dataset by their packing: in each group row r of sample_idx is the same sample."""
    groups: list[list[int]] = []
    for number, maps in enumerate(several):
        for group in groups:
            other = several[group[0]]
            if np.array_equal(maps.sample_idx, other.sample_idx) and np.array_equal(
                maps.doc_idx, other.doc_idx
            ):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def _repeats_of(
    stream: Stream, parts: list[Part], marks: Int64Array
) -> tuple[dict[str, int], dict[str, Int64Array]]:
    """Return, by kind, how many one dataset has and how many of them ``parts``, all of it, read how often.

    [times, interval], as in ``repetition``; no documents where their boundaries are not known.
    """
    several = [maps for part in parts if (maps := part.maps()) is not None]
    if several and len(several) < len(parts):
        raise PileToolsError(
            f"{parts[0].name}: blended with itself once by maps and once in its own order, so that repeats "
            "cannot be told; ask for occurrences of documents (`pile-tools seen`)"
        )
    part = parts[0]
    totals = {"tokens": part.n_tokens}
    if not several:
        read = _by_times([_sample_intervals(stream, one, marks) for one in parts], len(marks))
        found = {"samples": read, "tokens": read * stream.seq_length}
        totals["samples"] = part.n_tokens // (stream.seq_length + 1)
        if part.n_documents is not None:  # a document a sequence
            found["documents"] = read
            totals["documents"] = part.n_documents
        return totals, found
    rows = [_row_intervals(stream, one, maps, marks) for one, maps in zip(parts, several, strict=True)]
    packings = _same_packings(several)
    totals["samples"] = sum(len(rows[group[0]]) for group in packings)
    totals["documents"] = len(several[0].sizes)
    by_document, by_token = repetition(*_end_to_end(several, rows), len(marks))
    found = {"documents": by_document, "tokens": by_token, "samples": np.zeros((1, len(marks)), np.int64)}
    for group in packings:
        read = _by_times([rows[number] for number in group], len(marks))
        found["samples"] = _added(found["samples"], read)
    return totals, found


def repeats(stream: Stream, *, every: int | None = None, progress: Progress = no_progress) -> pa.Table:
    """Return how much had been seen how often (see ``BatchViewer.repeats``)."""
    marks = checkpoints(stream.first_step, stream.steps, every)
    totals = {"documents": 0, "samples": 0, "tokens": 0}
    # By kind, [times, interval]: how many were seen for the (times + 1)-th time in the interval.
    seen = {kind: np.zeros((1, len(marks)), np.int64) for kind in totals}
    documents_known = True
    # A blend that lists a dataset twice upsamples it: what both of its parts read is seen twice.
    datasets: dict[str, list[Part]] = {}
    for part in map(same_documents, stream.parts):
        datasets.setdefault(part.identity, []).append(part)
    for number, parts in enumerate(datasets.values()):
        progress("repeats", number, len(datasets))
        own, found = _repeats_of(stream, parts, marks)
        totals |= {kind: totals[kind] + total for kind, total in own.items()}
        seen |= {kind: _added(seen[kind], counts) for kind, counts in found.items()}
        documents_known &= "documents" in found
    if not documents_known:
        del totals["documents"]
    progress("repeats", len(datasets), len(datasets))
    return _times_table(marks, totals, seen)


def _added(one: Int64Array, two: Int64Array) -> Int64Array:
    """Add two arrays of [times, interval], of which one may have more times."""
    out = np.zeros((max(len(one), len(two)), one.shape[1]), np.int64)
    out[: len(one)] += one
    out[: len(two)] += two
    return out


def _times_table(marks: Int64Array, totals: dict[str, int], seen: dict[str, Int64Array]) -> pa.Table:
    columns: dict[str, list[Any]] = {"checkpoint": [], "kind": [], "times": [], "count": []}
    at_least = {kind: np.cumsum(seen[kind], axis=1) for kind in totals}
    for interval, mark in enumerate(marks.tolist()):
        for kind, total in totals.items():
            reached = [total, *at_least[kind][:, interval].tolist(), 0]
            for times in range(len(reached) - 1):
                count = reached[times] - reached[times + 1]
                if count or times == 0:
                    row = (mark, kind, times, count)
                    for values, value in zip(columns.values(), row, strict=True):
                        values.append(value)
    return pa.table(columns)


def mixture(stream: Stream, *, every: int | None = None, progress: Progress = no_progress) -> pa.Table:
    """Return the tokens by source over training (see ``BatchViewer.mixture``)."""
    marks = checkpoints(stream.first_step, stream.steps, every)
    counts: dict[str | None, Int64Array] = {}
    for number, part in enumerate(map(same_documents, stream.parts)):
        progress("mixture", number, len(stream.parts))
        if part.n_documents is None:
            raise PileToolsError(
                f"{part.name}: the boundaries of its documents are not known, so neither are their sources"
            )
        names, codes = _sources(part)
        maps = part.maps()
        if maps is None:
            found = np.zeros((len(marks), len(names)), np.int64)
            intervals = _sample_intervals(stream, part, marks)
            read = np.flatnonzero(intervals >= 0)
            np.add.at(found, (intervals[read], codes[read]), stream.seq_length)
        else:
            found = tokens_by_source(
                maps.doc_idx,
                maps.sample_idx,
                maps.sizes,
                codes,
                _row_intervals(stream, part, maps, marks),
                len(marks),
                len(names),
            )
        for name, column in zip(names, found.T, strict=True):
            counts[name] = counts.get(name, np.zeros(len(marks), np.int64)) + column
    progress("mixture", len(stream.parts), len(stream.parts))
    # The largest first; of documents without a source last.
    names = sorted(counts, key=lambda name: (name is None, -int(counts[name].sum()), name))
    starts = np.concatenate([[stream.first_step], marks[:-1]])
    tokens = np.stack([counts[name] for name in names], axis=1)
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


def _sources(part: Part) -> tuple[list[str | None], npt.NDArray[np.int32]]:
    """Return the names of the sources of a part and, for each document, which of them it is from."""
    provenance = part.provenance()
    if provenance is None:
        raise PileToolsError(
            f"{part.name}: no documents.parquet, so it is not known which source a document is from"
        )
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
