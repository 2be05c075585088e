"""Where two streams differ: steps, sequences and documents."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.errors import ParameterError
from pile_tools.jobs.progress import Progress, in_threads, no_progress
from pile_tools.lookups.digests import trusted_digests
from pile_tools.stream.steps import step_range
from pile_tools.stream.stream import Stream

__all__ = ["Difference", "diff"]

_CHUNK: Final = 8


@dataclass(frozen=True, slots=True)
class Difference:
    """How two streams, a and b, differ.

    ``steps`` [start, stop) that were compared, ``by`` "digests" or "tokens"; ``differing`` int64[n], the
    steps whose tokens are not the same; ``spans`` the steps that each stream has; ``believed`` the URLs whose
    tokens were not compared with the digests. Of the first ``detailed`` differing steps: ``sequences``, a row
    for each that differs (step, row, position of its first token that does, n_tokens that do), and
    ``documents``, a row for each stream's documents of such tokens (stream, [dataset], document, source,
    shard, shard_row, n_tokens); none where documents are not known.
    """

    steps: tuple[int, int]
    by: str
    differing: Int64Array
    spans: tuple[tuple[int, int], tuple[int, int]]
    detailed: int
    sequences: pa.Table
    documents: pa.Table
    believed: tuple[str, ...] = ()

    @property
    def first_step(self) -> int | None:
        """The first step that differs, None where none does."""
        return int(self.differing[0]) if len(self.differing) else None

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The differing steps as ranges [start, stop)."""
        cuts = np.flatnonzero(np.diff(self.differing) != 1) + 1
        parts = [part for part in np.split(self.differing, cuts) if len(part)]
        return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def diff(
    one: Stream,
    two: Stream,
    *,
    steps: tuple[int | None, int | None] | None = None,
    limit: int = 100,
    progress: Progress = no_progress,
) -> Difference:
    """Compare two streams, by their digests where both have them, else token by token.

    The sequences and documents of the first ``limit`` differing steps are told. Ids are compared, whatever
    the dtypes. Raises ParameterError for streams whose steps are not of one shape.
    """
    if limit < 0:
        raise ParameterError(f"limit {limit} must not be negative")
    if one.seq_length != two.seq_length:
        raise ParameterError(
            f"sequence lengths {one.seq_length} and {two.seq_length}: streams of different sequence lengths "
            "cannot be compared"
        )
    if one.batch_size != two.batch_size:
        raise ParameterError(
            f"steps of {one.batch_size} and of {two.batch_size} sequences cannot be compared; open both at "
            "one batch size (--batch-size)"
        )
    spans = (one.first_step, one.steps), (two.first_step, two.steps)
    common = max(spans[0][0], spans[1][0]), min(spans[0][1], spans[1][1])
    if steps is not None:
        start, stop = step_range(one, steps)
        step_range(two, (start, stop))
    else:
        start, stop = common
    if start >= stop:
        raise ParameterError(f"steps {spans[0][0]}:{spans[0][1]} and {spans[1][0]}:{spans[1][1]} share none")
    by_digests = _by_digests(one, two, start, stop)
    places: list[str] = []
    if by_digests is None:
        differing, by = _by_tokens(one, two, start, stop, progress), "tokens"
    else:
        differing, by = by_digests, "digests"
        datasets = [*one.datasets, *two.datasets]
        places = [dataset.store.name for dataset in datasets if dataset.is_remote]
    detailed = differing[:limit]
    sequences, documents = _details(one, two, detailed)
    believed = tuple(dict.fromkeys(places))
    return Difference((start, stop), by, differing, spans, len(detailed), sequences, documents, believed)


def _by_digests(one: Stream, two: Stream, start: int, stop: int) -> Int64Array | None:
    """Return the differing steps by the stored digests, None where they cannot tell."""
    if one.dtype != two.dtype:
        return None
    rows = []
    for stream in (one, two):
        digests = trusted_digests(stream)
        if digests is None:
            return None
        rows.append(digests[start - stream.first_step : stop - stream.first_step])
    return start + np.flatnonzero((rows[0] != rows[1]).any(axis=1))


def _by_tokens(one: Stream, two: Stream, start: int, stop: int, progress: Progress) -> Int64Array:
    def compare(first: int) -> list[int]:
        steps = range(first, min(first + _CHUNK, stop))
        return [step for step in steps if not np.array_equal(one.batch(step), two.batch(step))]

    differing: list[int] = []
    for number, found in enumerate(in_threads(compare, range(start, stop, _CHUNK)), 1):
        differing += found
        progress("diff", min(number * _CHUNK, stop - start), stop - start)
    return np.array(differing, np.int64)


def _details(one: Stream, two: Stream, steps: Int64Array) -> tuple[pa.Table, pa.Table]:
    sequences: dict[str, list[int]] = {"step": [], "row": [], "position": [], "n_tokens": []}
    # (dataset, document) to differing tokens, of each stream.
    documents: tuple[dict[tuple[int, int], int], ...] = ({}, {})
    for step in steps.tolist():
        differs = one.batch(step) != two.batch(step)
        rows = np.flatnonzero(differs.any(axis=1))
        sequences["step"] += [step] * len(rows)
        sequences["row"] += rows.tolist()
        sequences["position"] += differs[rows].argmax(axis=1).tolist()
        sequences["n_tokens"] += differs[rows].sum(axis=1).tolist()
        for stream, found in zip((one, two), documents, strict=True):
            _add_documents(stream, step * stream.batch_size + rows, differs[rows], found)
    tables = [
        _document_table(name, stream, found)
        for name, stream, found in zip("ab", (one, two), documents, strict=True)
    ]
    return (
        pa.table({name: pa.array(values, pa.int64()) for name, values in sequences.items()}),
        pa.concat_tables(tables),
    )


def _add_documents(
    stream: Stream, positions: Int64Array, differs: Any, found: dict[tuple[int, int], int]
) -> None:
    """Count the differing tokens of each document in the sequences at ``positions`` of the stream."""
    which, samples = stream.samples_at(positions)
    for number, part in enumerate(stream.parts):
        here = np.flatnonzero(which == number)
        if not len(here) or part.n_documents is None:
            continue
        pieces = part.pieces(samples[here])
        before = np.concatenate(
            [np.zeros((len(here), 1), np.int64), np.cumsum(differs[here], axis=1)], axis=1
        )
        counts = before[pieces.row, pieces.position + pieces.n_tokens] - before[pieces.row, pieces.position]
        for document, count in zip(pieces.document.tolist(), counts.tolist(), strict=True):
            if count:
                found[number, document] = found.get((number, document), 0) + count


def _document_table(name: str, stream: Stream, found: dict[tuple[int, int], int]) -> pa.Table:
    columns: dict[str, list[Any]] = {"stream": [], "dataset": [], "document": []}
    columns |= {"source": [], "shard": [], "shard_row": [], "n_tokens": []}
    for number, part in enumerate(stream.parts):
        documents = sorted(document for dataset, document in found if dataset == number)
        provenance = part.provenance() if documents else None
        columns["stream"] += [name] * len(documents)
        columns["dataset"] += [part.number] * len(documents)
        columns["document"] += documents
        columns["n_tokens"] += [found[number, document] for document in documents]
        rows = None if provenance is None else provenance.lookup(documents, ("source", "shard", "row"))
        for column, place in (("source", 0), ("shard", 1), ("shard_row", 2)):
            values = [None] * len(documents) if rows is None else rows.column(place).to_pylist()
            columns[column] += values
    kinds = {"stream": pa.string(), "source": pa.string(), "shard": pa.string()}
    return pa.table(
        {column: pa.array(values, kinds.get(column, pa.int64())) for column, values in columns.items()}
    )
