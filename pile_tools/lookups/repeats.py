"""What the model had seen how often by each checkpoint: documents, samples and tokens."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.algorithms.orders.exposure import repetition, repetition_of_spans
from pile_tools.algorithms.orders.piece_lists import Listed
from pile_tools.errors import UnanswerableError
from pile_tools.jobs.progress import Progress, no_progress
from pile_tools.lookups.intervals import inputs, row_intervals, sample_intervals
from pile_tools.stream.components import MapsComponent
from pile_tools.stream.parts import Part, same_documents
from pile_tools.stream.steps import checkpoints
from pile_tools.stream.stream import Stream

__all__ = ["repeats"]


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
    several: list[MapsComponent], intervals: list[npt.NDArray[np.int32]]
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


def _same_packings(several: list[MapsComponent]) -> list[list[int]]:
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
        raise UnanswerableError(
            f"{parts[0].name}: blended with itself once by maps and once in its own order, so that repeats "
            "cannot be told; ask for occurrences of documents (`pile-tools seen`)"
        )
    part = parts[0]
    if (listed := part.listed()) is not None:
        return _repeats_of_listed(stream, parts, listed, marks)
    totals = {"tokens": part.n_tokens}
    if not several:
        read = _by_times([sample_intervals(stream, one, marks) for one in parts], len(marks))
        found = {"samples": read, "tokens": read * stream.seq_length}
        totals["samples"] = part.n_tokens // (stream.seq_length + 1)
        if part.n_documents is not None:  # a document a sequence
            found["documents"] = read
            totals["documents"] = part.n_documents
        return totals, found
    rows = [row_intervals(stream, one, maps, marks) for one, maps in zip(parts, several, strict=True)]
    packings = _same_packings(several)
    totals["samples"] = sum(len(rows[group[0]]) for group in packings)
    totals["documents"] = len(several[0].sizes)
    by_document, by_token = repetition(*_end_to_end(several, rows), len(marks))
    found = {"documents": by_document, "tokens": by_token, "samples": np.zeros((1, len(marks)), np.int64)}
    for group in packings:
        read = _by_times([rows[number] for number in group], len(marks))
        found["samples"] = _added(found["samples"], read)
    return totals, found


def _repeats_of_listed(
    stream: Stream, parts: list[Part], listed: Listed, marks: Int64Array
) -> tuple[dict[str, int], dict[str, Int64Array]]:
    """The same of steps that were fetched: of the whole dataset, what these steps read how often."""
    part = parts[0]
    if len(parts) > 1:
        raise UnanswerableError(
            f"{part.name}: fetched from a blend that lists a dataset twice, so that repeats cannot be told; "
            "ask them of the blend itself, or ask for occurrences of documents (`pile-tools seen`)"
        )
    if listed.packed_anew:
        raise UnanswerableError(
            f"{part.name}: fetched from an overlay that packs samples anew, of which this cannot be told; "
            "ask for occurrences of documents (`pile-tools seen`)"
        )
    intervals = sample_intervals(stream, part, marks)
    read = _by_times([intervals], len(marks))
    found = {"samples": read, "tokens": read * stream.seq_length}
    totals = {"samples": listed.samples, "tokens": listed.tokens}
    if part.n_documents is None:
        return totals, found
    totals["documents"] = part.n_documents
    sequences = np.flatnonzero(intervals >= 0)
    pieces, epochs = listed.of(sequences)
    n_inputs = inputs(pieces, stream.seq_length)
    shown = np.flatnonzero(n_inputs)
    found["documents"], found["tokens"] = repetition_of_spans(
        pieces.document[shown],
        epochs[shown],
        pieces.offset[shown],
        (pieces.offset + n_inputs)[shown],
        intervals[sequences[pieces.row[shown]]].astype(np.int64),
        len(marks),
    )
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
