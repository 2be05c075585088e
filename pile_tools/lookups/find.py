"""Find texts and token ids in the stream: occurrences in training order, and their counts."""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pile_tools.errors import ParameterError
from pile_tools.lookups.context import contexts, matched_documents
from pile_tools.lookups.decoded import DecodedMatch, as_hits, search_decoded
from pile_tools.lookups.patterns import CompiledPatterns, compile_texts, compile_tokens
from pile_tools.lookups.search import Hits, gather_cost, search_gathering, search_scanning
from pile_tools.lookups.stream import Progress, Stream, checkpoints, no_progress, step_range

__all__ = [
    "MAX_LISTED",
    "Counts",
    "Query",
    "Searched",
    "count_occurrences",
    "find",
    "make_query",
    "searched",
]

MAX_LISTED: Final = 1_000_000
# The first occurrences are sought in this share of the data before all of it is scanned.
_EARLY_SHARE: Final = 16


@dataclass(frozen=True, slots=True)
class Query:
    """What is sought, all of one kind: texts, sequences of token ids, or one regular expression."""

    texts: tuple[str, ...] = ()
    tokens: tuple[tuple[int, ...], ...] = ()
    regex: str | None = None

    @property
    def labels(self) -> list[str]:
        """Each pattern as it was given."""
        if self.regex is not None:
            return [self.regex]
        return [*self.texts, *(",".join(map(str, pattern)) for pattern in self.tokens)]


def make_query(
    text: str | Sequence[str] | None,
    tokens: Sequence[int] | Sequence[Sequence[int]] | None,
    regex: str | None,
) -> Query:
    """Return the query for one text or several, one sequence of ids or several, or a regular expression."""
    if sum(given is not None for given in (text, tokens, regex)) != 1:
        raise ParameterError("give one of a text, token ids and a regular expression")
    if text is not None:
        query = Query(texts=_texts(text))
    elif tokens is not None:
        query = Query(tokens=_token_ids(tokens))
    elif isinstance(regex, str):
        query = Query(regex=regex)
    else:
        raise ParameterError(f"regular expression {regex!r} is no text (str)")
    if not query.labels:
        raise ParameterError("no pattern is given")
    if len(set(query.labels)) < len(query.labels):
        raise ParameterError("a pattern is given twice")
    return query


def _texts(given: Any) -> tuple[str, ...]:
    try:
        several = (given,) if isinstance(given, str) else tuple(given)
    except TypeError:
        several = (given,)
    # Those of bytes are numbers.
    if not all(isinstance(text, str) for text in several):
        raise ParameterError(f"text {given!r} is no text (str), nor several")
    return several


def _token_ids(given: Any) -> tuple[tuple[int, ...], ...]:
    try:
        several = [given] if not len(given) or np.ndim(given[0]) == 0 else given
        return tuple(tuple(map(operator.index, ids)) for ids in several)
    except (TypeError, ValueError, LookupError):
        raise ParameterError(
            f"token ids {given!r} are not whole numbers; give a sequence of them, or several"
        ) from None


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search reads: steps [start, stop), their sequences, and the tokens of these."""

    start: int
    stop: int
    sequences: int
    tokens: int

    def __str__(self) -> str:
        steps = (
            f"step {self.start}" if self.stop == self.start + 1 else f"steps {self.start} to {self.stop - 1}"
        )
        return f"{steps} ({self.sequences:,} sequences, {self.tokens:,} tokens)"


def searched(stream: Stream, steps: tuple[int | None, int | None] | None = None) -> Searched:
    """Return what a search in ``steps`` reads; raises as ``step_range`` does."""
    start, stop = step_range(stream, steps)
    sequences = (stop - start) * stream.batch_size
    return Searched(start, stop, sequences, sequences * (stream.seq_length + 1))


def find(
    stream: Stream,
    query: Query,
    *,
    steps: tuple[int | None, int | None] | None = None,
    first: bool = False,
    limit: int | None = None,
    context: int = 60,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> pa.Table:
    """Return the occurrences of the query in training order (see ``BatchViewer.find``)."""
    if limit is not None and limit < 1:
        raise ParameterError(f"limit {limit} must be at least 1")
    if context < 0:
        raise ParameterError(f"context {context} must not be negative")
    start, stop = step_range(stream, steps)
    limit = 1 if first else limit
    compiled = _compile(stream, query)
    if compiled is None:
        decoded = _Decoded(stream, query, (start, stop), context, workers, progress)
        matches = decoded.matches(limit)
        hits = as_hits(matches)
        around = {
            name: pa.array([getattr(match, name) for match in matches], pa.string())
            for name in ("before", "match", "after")
        }
    else:
        search = _Search(stream, compiled, start, stop, progress)
        hits = search.all_hits() if limit is None else search.first_hits(limit)
        around = contexts(stream, hits, [len(text.encode()) for text in query.texts], context)
    step, row = np.divmod(hits.stream, stream.batch_size)
    columns: dict[str, Any] = {
        "step": step,
        "row": row,
        "position": hits.position,
        "n_tokens": hits.n_tokens,
        "pattern": pa.array([query.labels[number] for number in hits.pattern.tolist()], pa.string()),
    }
    return pa.table(columns | matched_documents(stream, hits) | around)


def _compile(stream: Stream, query: Query) -> dict[int, CompiledPatterns] | None:
    """Compile the query for each part; None where the decoded text has to be searched."""
    if query.regex is not None:
        return None
    compiled = {}
    for number, part in enumerate(stream.parts):
        if query.texts:
            found = compile_texts(part, query.texts)
            if found is None:
                return None
            compiled[number] = found
        else:
            compiled[number] = compile_tokens(part, query.tokens, stream.seq_length)
    return compiled


def _too_many() -> ParameterError:
    return ParameterError(
        f"more than {MAX_LISTED:,} occurrences; count them (--count), or list those of fewer steps (--steps) "
        "or the first (--limit)"
    )


@dataclass(frozen=True, slots=True)
class Counts:
    """``table`` with the columns checkpoint, pattern and count; ``first_step`` by pattern, None: nowhere."""

    table: pa.Table
    first_step: dict[str, int | None]

    @property
    def totals(self) -> dict[str, int]:
        """Occurrences of each pattern in all steps."""
        last = self.table.num_rows - len(self.first_step)
        return {row["pattern"]: row["count"] for row in self.table.slice(last).to_pylist()}


def count_occurrences(
    stream: Stream,
    query: Query,
    *,
    steps: tuple[int | None, int | None] | None = None,
    every: int | None = None,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> Counts:
    """Count occurrences up to checkpoints (see ``BatchViewer.count``)."""
    start, stop = step_range(stream, steps)
    marks = checkpoints(start, stop, every)
    patterns = len(query.labels)
    counts = np.zeros((len(marks), patterns), np.int64)
    earliest = np.full(patterns, stop, np.int64)
    compiled = _compile(stream, query)
    if compiled is None:
        several = _Decoded(stream, query, (start, stop), 0, workers, progress).hits()
    else:
        several = _Search(stream, compiled, start, stop, progress).hits()
    for hits in several:
        step = hits.stream // stream.batch_size
        interval = np.searchsorted(marks, step, side="right")
        np.add.at(counts, (interval, hits.pattern), 1)
        np.minimum.at(earliest, hits.pattern, step)
    table = pa.table(
        {
            "checkpoint": np.repeat(marks, patterns),
            "pattern": pa.array(query.labels * len(marks), pa.string()),
            "count": np.cumsum(counts, axis=0).reshape(-1),
        }
    )
    found = [None if step == stop else step for step in earliest.tolist()]
    return Counts(table, dict(zip(query.labels, found, strict=True)))


class _Decoded:
    """A query over the decoded text of steps [start, stop) of a stream."""

    def __init__(
        self,
        stream: Stream,
        query: Query,
        steps: tuple[int, int],
        context: int,
        workers: int | None,
        progress: Progress,
    ) -> None:
        self._blocks = search_decoded(
            stream,
            tuple(query.labels),
            is_regex=query.regex is not None,
            context=context,
            bounds=(steps[0] * stream.batch_size, steps[1] * stream.batch_size),
            workers=workers,
            progress=progress,
        )

    def hits(self) -> Iterator[Hits]:
        """Yield all matches, in training order."""
        return map(as_hits, self._blocks)

    def matches(self, limit: int | None) -> list[DecodedMatch]:
        """Return the first ``limit`` matches, or all; ParameterError for more than can be listed."""
        found: list[DecodedMatch] = []
        for block in self._blocks:
            found += block
            if limit is not None and len(found) >= limit:
                self._blocks.close()
                return found[:limit]
            if len(found) > MAX_LISTED:
                raise _too_many()
        return found


class _Search:
    """Patterns compiled for each part of a stream, over its steps [start, stop)."""

    def __init__(
        self,
        stream: Stream,
        compiled: dict[int, CompiledPatterns],
        start: int,
        stop: int,
        progress: Progress,
    ) -> None:
        self._stream = stream
        self._compiled = compiled
        self._steps = (start, stop)
        self._progress = progress
        scanned = [number for number, part in enumerate(stream.parts) if part.maps() is not None]
        self._scan_cost = sum(stream.parts[number].n_tokens for number in scanned)
        self._scanned = scanned if gather_cost(stream, start, stop) > self._scan_cost else []

    def hits(self, start: int | None = None) -> Iterator[Hits]:
        """Yield all matches from step ``start`` on, in no order."""
        size = self._stream.batch_size
        first, stop = (self._steps[0] if start is None else start) * size, self._steps[1] * size
        gathered = {n: compiled for n, compiled in self._compiled.items() if n not in self._scanned}
        if gathered:
            yield from search_gathering(self._stream, gathered, first, stop, self._progress)
        for number in self._scanned:
            part, compiled = self._stream.parts[number], self._compiled[number]
            yield from search_scanning(self._stream, part, compiled, (first, stop), self._progress)

    def all_hits(self) -> Hits:
        """Return all matches in training order; ParameterError for more than can be listed."""
        found: list[Hits] = []
        total = 0
        for hits in self.hits():
            found.append(hits)
            total += len(hits)
            if total > MAX_LISTED:
                raise _too_many()
        return Hits.joined(found)

    def first_hits(self, limit: int) -> Hits:
        """Return the first ``limit`` matches in training order."""
        start, stop = self._steps
        size = self._stream.batch_size
        early = stop
        if self._scanned:
            each = gather_cost(self._stream, 0, 1)
            early = min(stop, start + max(1, self._scan_cost // (_EARLY_SHARE * each)))
        found: list[Hits] = []
        total = 0
        for hits in search_gathering(
            self._stream, self._compiled, start * size, early * size, self._progress
        ):
            found.append(hits)
            total += len(hits)
            if total >= limit:
                return Hits.joined(found).take(slice(limit))
        if early < stop:
            for hits in self.hits(early):
                # What is held never grows beyond what can be among the first.
                found = [Hits.joined([*found, hits]).take(slice(limit))]
        return Hits.joined(found).take(slice(limit))
