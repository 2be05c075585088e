"""Search the decoded text of sequences: regular expressions, and texts of tokenizers that are not byte-level.

Python's ``re`` decides what matches. It can run for ages on a few characters, so that each sequence has a
limit of processor time, held by a timer whose signal ``re`` heeds.
"""

import re
import signal
import threading
import warnings
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np

from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.formats.machine import default_workers
from pile_tools.lookups.processes import SpawnWithoutMain
from pile_tools.lookups.search import Hits
from pile_tools.lookups.stream import Progress, Stream
from pile_tools.lookups.texts import Texts

__all__ = ["MAX_REGEX", "DecodedMatch", "as_hits", "compile_regex", "search_decoded"]

MAX_REGEX: Final = 1 << 14
SECONDS: Final = 5.0
"""Processor time that one sequence may take."""
# Fewer sequences are searched here: other processes take longer to begin.
_FEW: Final = 512
_BLOCK_ROWS: Final = 128


@dataclass(frozen=True, slots=True)
class DecodedMatch:
    """A match: position of its sequence in the stream, tokens that it touches, pattern, what is around."""

    stream: int
    position: int
    n_tokens: int
    pattern: int
    before: str
    match: str
    after: str


def as_hits(matches: list[DecodedMatch]) -> Hits:
    """Return where the matches are."""
    columns = [
        np.array([getattr(match, name) for match in matches], np.int64)
        for name in ("stream", "position", "n_tokens", "pattern")
    ]
    stream, position, n_tokens, pattern = columns
    return Hits(stream, position, n_tokens, pattern, np.zeros(len(matches), np.int64))


def compile_regex(pattern: str) -> re.Pattern[str]:
    """Compile a regular expression; ParameterError for one that is none, or that matches nothing at all."""
    if not 0 < len(pattern) <= MAX_REGEX:
        raise ParameterError(
            f"a regular expression of {len(pattern)} characters; give one of 1 to {MAX_REGEX}"
        )
    try:
        with warnings.catch_warnings():
            # Of what a later Python may read otherwise, such as "[[]"; this one says what matches.
            warnings.simplefilter("ignore")
            compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ParameterError(f"regular expression {pattern!r}: {error}") from None
    if compiled.match(""):
        raise ParameterError(f"regular expression {pattern!r} matches the empty text, which is everywhere")
    return compiled


class _Ran(BaseException):
    """The time is over; not an Exception, so that nothing on the way takes it for one of its own."""


@contextmanager
def _timer() -> Iterator[None]:
    """Raise ``_Ran`` in this, the main thread, when its process has computed for ``SECONDS``."""

    def ring(number: int, frame: Any) -> None:
        raise _Ran

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class _Searcher:
    """Searches sequences of ``stream`` for texts, or for the one regular expression in ``patterns``."""

    def __init__(self, stream: Stream, patterns: tuple[str, ...], is_regex: bool, context: int) -> None:
        self._stream = stream
        self._patterns = patterns
        self._regex = compile_regex(patterns[0]) if is_regex else None
        self._context = context
        self._texts = [Texts(part) for part in stream.parts]

    def __call__(self, first: int, stop: int) -> list[DecodedMatch]:
        """Return the matches in positions [first, stop) of the stream."""
        positions = np.arange(first, stop)
        which, samples = self._stream.samples_at(positions)
        found: list[DecodedMatch] = []
        for number, part in enumerate(self._stream.parts):
            here = np.flatnonzero(which == number)
            if not len(here):
                continue
            for position, tokens in zip(positions[here].tolist(), part.tokens(samples[here]), strict=True):
                text = self._texts[number].text(tokens)
                for pattern, start, end in self._spans(text, position):
                    token, n_tokens = self._texts[number].span(tokens, text, start, end)
                    around = (
                        text[max(0, start - self._context) : start],
                        text[start:end],
                        text[end : end + self._context],
                    )
                    found.append(DecodedMatch(position, token, n_tokens, pattern, *around))
        return sorted(found, key=lambda match: match.stream)

    def _spans(self, text: str, position: int) -> list[tuple[int, int, int]]:
        """Return (pattern, start, end) of the matches in ``text``."""
        if self._regex is None:
            spans = []
            for number, pattern in enumerate(self._patterns):
                start = text.find(pattern)
                while start >= 0:
                    spans.append((number, start, start + len(pattern)))
                    start = text.find(pattern, start + 1)
            return sorted(spans, key=lambda span: (span[1], span[0]))
        step, row = divmod(position, self._stream.batch_size)
        try:
            with _timer():
                spans = [(0, *match.span()) for match in self._regex.finditer(text)]
        except _Ran:
            raise ParameterError(
                f"regular expression {self._patterns[0]!r} has computed for {SECONDS:g} s on step {step}, "
                f"row {row} alone; simplify it"
            ) from None
        if any(start == end for _, start, end in spans):
            raise ParameterError(
                f"regular expression {self._patterns[0]!r} matches empty text in step {step}, row {row}; "
                "make it match at least one character"
            )
        return spans


_searcher: _Searcher | None = None


def _begin_worker(*arguments: Any) -> None:
    global _searcher
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers an interrupt for all
    _searcher = _Searcher(*arguments)


def _work(first: int, stop: int) -> list[DecodedMatch]:
    if _searcher is None:
        raise RuntimeError("a worker that has not begun")
    return _searcher(first, stop)


def search_decoded(
    stream: Stream,
    patterns: tuple[str, ...],
    *,
    is_regex: bool,
    context: int,
    bounds: tuple[int, int],
    workers: int | None,
    progress: Progress,
) -> Generator[list[DecodedMatch], None, None]:
    """Yield the matches in positions [bounds) of the stream, in its order, some sequences at a time.

    In ``workers`` processes (default: one for each core), or in this one for few sequences. Matches of a
    regular expression do not overlap, those of texts may.
    """
    first, stop = bounds
    blocks = [(place, min(place + _BLOCK_ROWS, stop)) for place in range(first, stop, _BLOCK_ROWS)]
    in_main = threading.current_thread() is threading.main_thread()
    arguments = (stream, patterns, is_regex, context)
    if (workers == 1 or stop - first <= _FEW) and (in_main or not is_regex):
        searcher = _Searcher(*arguments)
        for block in blocks:
            yield searcher(*block)
            progress("find", block[1] - first, stop - first)
        return
    _Searcher(*arguments)  # what is wrong with the query or the tokenizer is said here, and once
    count = min(workers or default_workers(), len(blocks))
    pool = ProcessPoolExecutor(count, SpawnWithoutMain(), initializer=_begin_worker, initargs=arguments)
    waiting: deque[tuple[Future[list[DecodedMatch]], int]] = deque()
    try:
        todo = iter(blocks)
        while True:
            for block in islice(todo, 4 * count - len(waiting)):
                waiting.append((pool.submit(_work, *block), block[1]))
            if not waiting:
                break
            future, done = waiting.popleft()
            yield future.result()
            progress("find", done - first, stop - first)
    except BrokenProcessPool:
        raise PileToolsError(
            "a worker process died (killed, or out of memory); give fewer --workers"
        ) from None
    finally:
        for process in list((pool._processes or {}).values()):
            process.kill()  # one that was started with SIGTERM ignored would go on
        pool.shutdown(wait=True, cancel_futures=True)
