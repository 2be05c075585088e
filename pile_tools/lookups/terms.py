"""How often terms, and pairs of terms close together, had been read by each checkpoint."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pile_tools.algorithms.term_counts import Terms, check_term, count_terms, split_texts
from pile_tools.algorithms.token_search import TokenBytes
from pile_tools.algorithms.words import split_words
from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.formats.tables import BATCH_SIZE_KEY, FIRST_STEP_KEY, STREAM_KEY
from pile_tools.lookups.patterns import check_ids
from pile_tools.lookups.stream import (
    Int64Array,
    Part,
    Progress,
    Stream,
    Tokens,
    checkpoints,
    in_threads,
    no_progress,
    step_range,
)

__all__ = ["MAX_PAIRED_TERMS", "MAX_WINDOW", "read_terms", "term_counts"]

MAX_PAIRED_TERMS: Final = 1000
MAX_WINDOW: Final = 1000
_MAX_TERM_BYTES: Final = 1 << 12
_BLOCK_TOKENS: Final = 1 << 20

Texts = tuple[npt.NDArray[np.uint8], Int64Array]


def read_terms(path: Path) -> list[str]:
    """Return the terms in the file ``path``: UTF-8, one on each line, which ends with "\\n" or "\\r\\n".

    Raises PileToolsError where there is no such file, ParameterError for an empty file and, with its number,
    for a line that is empty or no term.
    """
    try:
        text = path.read_bytes().decode().removeprefix("\ufeff")
    except FileNotFoundError:
        raise PileToolsError(f"{path}: no such file; name one with a term on each line") from None
    except UnicodeDecodeError as error:
        raise ParameterError(f"{path}: byte {error.start} is not UTF-8") from None
    # Not str.splitlines, which cuts at characters that a term may hold, U+2028 among them.
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    empty = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if empty or not lines:
        where = f"line {empty[0]} is empty" if empty else "it is empty"
        raise ParameterError(f"{path}: {where}; it must have a term on each line")
    for number, line in enumerate(lines, 1):
        try:
            _check_term(line)
        except ParameterError as error:
            raise ParameterError(f"{path}: line {number}: {error}") from None
    return lines


def _check_term(term: str) -> None:
    if any(character in term for character in "\n\r"):
        raise ParameterError(f"term {term!r} has a newline in it; a term is one word or several on a line")
    if len(term) > _MAX_TERM_BYTES:
        raise ParameterError(f"a term of {len(term)} characters, more than {_MAX_TERM_BYTES}")
    check_term(term)


def _check(terms: Sequence[str], window: int) -> None:
    if not terms:
        raise ParameterError("no term is given")
    for term in terms:
        _check_term(term)
    if window != 0 and not 2 <= window <= MAX_WINDOW:
        raise ParameterError(f"a window of {window} words: must be from 2 to {MAX_WINDOW}")
    if window and len(terms) > MAX_PAIRED_TERMS:
        raise ParameterError(f"pairs of {len(terms)} terms: at most {MAX_PAIRED_TERMS} terms can be paired")


def term_counts(
    stream: Stream,
    terms: Sequence[str],
    *,
    every: int | None = None,
    window: int = 0,
    steps: tuple[int | None, int | None] | None = None,
    progress: Progress = no_progress,
) -> pa.Table:
    """Return cumulative counts of terms and of pairs (see ``BatchViewer.term_counts``).

    The table's metadata says what it counts: ``pile_tools_stream``, the stream's identity,
    ``pile_tools_batch_size`` and, the step from which on it counts, ``pile_tools_first_step``.
    """
    _check(terms, window)
    compiled = Terms.of(terms)
    start, stop = step_range(stream, steps)
    marks = checkpoints(start, stop, every)
    for part in stream.parts:
        _check_forms(part, terms)
    texts = [_texts_of(part) for part in stream.parts]
    counts = np.zeros((len(marks), len(terms)), np.int64)
    pairs = np.zeros((len(marks), len(terms), len(terms)) if window else (0, 0, 0), np.int64)

    def count(block: tuple[int, int, int]) -> tuple[int, Int64Array, Int64Array]:
        positions = np.arange(block[1], block[2])
        which, samples = stream.samples_at(positions)
        single, paired = np.zeros(len(terms), np.int64), np.zeros(pairs.shape[1:], np.int64)
        for number, part in enumerate(stream.parts):
            here = np.flatnonzero(which == number)
            if len(here):
                one, two = count_terms(*texts[number](part.tokens(samples[here])), compiled, window)
                single += one
                paired += two
        return block[0], single, paired

    for interval, single, paired in in_threads(count, _blocks(stream, start, marks)):
        counts[interval] += single
        if window:
            pairs[interval] += paired
        progress("count", int(marks[interval]), stop)
    table = _table(terms, marks, np.cumsum(counts, axis=0), np.cumsum(pairs, axis=0))
    counted = {
        STREAM_KEY: stream.identity,
        BATCH_SIZE_KEY: str(stream.batch_size),
        FIRST_STEP_KEY: str(start),
    }
    return table.replace_schema_metadata({key: value.encode() for key, value in counted.items()})


def _check_forms(part: Part, terms: Sequence[str]) -> None:
    """Raise ParameterError for a term whose words no text of ``part`` can hold in the form given.

    As for the texts of ``find``: a byte-level tokenizer that makes one character of a letter and its accent
    has stored no other form of them.
    """
    from pile_tools.formats.token_texts import byte_level_tokens, stored_form

    tokenizer, max_id = part.tokenizer()
    if byte_level_tokens(tokenizer, max_id + 1) is None:
        return
    for term in terms:
        stored = stored_form(tokenizer, term)
        if split_words(stored)[0] != split_words(term)[0]:
            raise ParameterError(
                f"term {term!r} is not in the form in which the tokenizer stores text; count {stored!r} "
                f"({stored!a} and not {term!a})"
            )


def _blocks(stream: Stream, start: int, marks: Int64Array) -> list[tuple[int, int, int]]:
    """Cut the intervals between ``marks`` into blocks of positions (interval, first, stop)."""
    rows = max(1, _BLOCK_TOKENS // (stream.seq_length + 1))
    blocks = []
    for interval, mark in enumerate(marks.tolist()):
        first, stop = start * stream.batch_size, mark * stream.batch_size
        blocks += [(interval, place, min(place + rows, stop)) for place in range(first, stop, rows)]
        start = mark
    return blocks


def _texts_of(part: Part) -> Callable[[Tokens], Texts]:
    """Return a function from rows of tokens to their texts, cut at special tokens such as EOD."""
    from pile_tools.formats.token_texts import byte_level_tokens, special_tokens

    tokenizer, max_id = part.tokenizer()
    separators = np.zeros(max_id + 1, np.bool_)
    separators[special_tokens(tokenizer)] = True
    content = byte_level_tokens(tokenizer, max_id + 1)
    if content is not None:
        token_bytes = TokenBytes.of(content)

        def split(tokens: Tokens) -> Texts:
            check_ids(part, tokens, max_id)
            return split_texts(tokens, token_bytes, separators)

        return split

    def decoded(tokens: Tokens) -> Texts:
        check_ids(part, tokens, max_id)
        pieces = [
            run[~separators[run]]
            for row in tokens
            for run in np.split(row, np.flatnonzero(separators[row]) + 1)
        ]
        texts = [tokenizer.decode(piece.tolist(), skip_special_tokens=False).encode() for piece in pieces]
        bounds = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
        return np.frombuffer(b"".join(texts), np.uint8), bounds

    return decoded


def _table(terms: Sequence[str], marks: Int64Array, counts: Int64Array, pairs: Int64Array) -> pa.Table:
    columns: dict[str, list[Any]] = {"checkpoint": [], "term": [], "other": [], "count": []}
    # A pair that is never met has no rows; one that is met has one for each checkpoint.
    met = np.argwhere(pairs[-1]).tolist() if len(pairs) else []
    for interval, mark in enumerate(marks.tolist()):
        columns["checkpoint"] += [mark] * (len(terms) + len(met))
        columns["term"] += [*terms, *(terms[one] for one, _ in met)]
        columns["other"] += [*([None] * len(terms)), *(terms[two] for _, two in met)]
        columns["count"] += [
            *counts[interval].tolist(),
            *(int(pairs[interval, one, two]) for one, two in met),
        ]
    types = (pa.int64(), pa.string(), pa.string(), pa.int64())
    return pa.table(
        {name: pa.array(values, kind) for (name, values), kind in zip(columns.items(), types, strict=True)}
    )
