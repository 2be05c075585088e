"""What the lookups see of a stream: its steps, and the token datasets and orders that it is made of."""

import operator
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.listed import Listed
from pile_tools.algorithms.locate import Pieces
from pile_tools.errors import OutOfRangeError, ParameterError, PileToolsError
from pile_tools.formats.machine import default_workers

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Addresses",
    "Int64Array",
    "Maps",
    "Part",
    "Progress",
    "Stream",
    "Tokens",
    "checkpoints",
    "in_threads",
    "no_progress",
    "parse_steps",
    "same_documents",
    "step_range",
]

Int64Array = npt.NDArray[np.int64]
Tokens = npt.NDArray[Any]
Progress = Callable[[str, int, int], None]
"""Told of progress: what is being done, how much of it is done, and of how much."""

T = TypeVar("T")
R = TypeVar("R")


def no_progress(label: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Maps:
    """The index maps of an order, and the sizes and pointers of its dataset."""

    doc_idx: npt.NDArray[np.int32]
    sample_idx: npt.NDArray[Any]
    shuffle_idx: npt.NDArray[Any]
    sizes: npt.NDArray[np.int32]
    pointers: Int64Array


class Addresses(Protocol):
    """Where the documents of a dataset came from."""

    @property
    def name(self) -> str: ...

    def lookup(self, documents: Any, columns: Sequence[str] = ...) -> "pa.Table":
        """Return the rows of ``documents``, in their order."""

    def document_of(self, shard: str, row: int) -> int | None:
        """Return the number of the document from (``shard``, ``row``), None where there is none."""

    def column(self, name: str) -> "pa.ChunkedArray":
        """Return a column of all documents."""


class Part(Protocol):
    """A token dataset in its order: all of a stream, or one dataset of a blend.

    Its samples are counted in its own order: sample k is row ``shuffle_idx[k]`` of sample_idx. ``identity``
    names the dataset by its content, ``number`` in the blend (None: the stream is no blend), ``samples`` in
    its order, ``n_tokens`` and ``dtype`` of its data, ``n_documents`` (None where their boundaries are not
    known).
    """

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def number(self) -> int | None: ...
    @property
    def samples(self) -> int: ...
    @property
    def n_tokens(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def n_documents(self) -> int | None: ...

    def below(self) -> "tuple[Part, Int64Array] | None":
        """Return the part that this one changes and the samples that are packed anew, ascending; None where
        it is no overlay."""

    def maps(self) -> Maps | None:
        """Return the maps, None where sample k is sequence k of the data, and of an overlay.

        Of a sequential order a document is one sequence, unless their pieces are ``listed``.
        """

    def listed(self) -> Listed | None:
        """Return the pieces of its samples where they are listed; ``maps`` is None then."""

    def read(self, start: int, stop: int) -> Tokens:
        """Return tokens [``start``, ``stop``) of the data, in the order of the file."""

    def tokens(self, samples: Int64Array) -> Tokens:
        """Return the tokens of samples, [n, seq_length + 1]."""

    def pieces(self, samples: Int64Array) -> Pieces:
        """Return the pieces of documents of samples."""

    def positions(self, samples: Int64Array) -> Int64Array:
        """Return the positions in the stream of samples, −1 of one that is not read."""

    def provenance(self) -> Addresses | None:
        """Return where the documents came from, None where that is not recorded."""

    def sources(self) -> tuple[str | None, ...]:
        """Return the sources of all documents of the dataset (of an overlay: its parent's), shown or not."""

    def tokenizer(self) -> tuple[Any, int]:
        """Return the tokenizer and its largest id; ParameterError where there is none."""


class Stream(Protocol):
    """What ``BatchViewer`` offers to the lookups. Position p of the stream is step p // batch_size."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def seq_length(self) -> int: ...
    @property
    def first_step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def parts(self) -> tuple[Part, ...]: ...

    def samples_at(self, positions: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Return the parts that positions of the stream are of, and the samples there, int64[n] each."""


def same_documents(part: Part) -> Part:
    """Return the part whose documents ``part`` shows, itself unless it is an overlay.

    Raises PileToolsError for an overlay that packs samples anew: its samples follow no packing.
    """
    while (found := part.below()) is not None:
        part, samples = found
        if len(samples):
            raise PileToolsError(
                f"{part.name}: an overlay that packs {len(samples)} samples anew, of which this cannot be "
                "told; ask it of its parent, or ask for occurrences of documents (`pile-tools seen`)"
            )
    return part


def step_range(stream: Stream, steps: tuple[int | None, int | None] | None) -> tuple[int, int]:
    """Return the steps (start, stop) that ``steps`` means, None at an end for the end of the stream.

    Raises OutOfRangeError for steps that the stream does not have, ParameterError for none at all, which is
    also what a stream has that is shorter than a batch.
    """
    if stream.steps <= stream.first_step:
        raise ParameterError(
            f"{stream.name}: not one whole batch of {stream.batch_size}, so no step; read it at a smaller "
            "batch size (--batch-size)"
        )
    try:
        first, last = (None, None) if steps is None else steps
        start = stream.first_step if first is None else operator.index(first)
        stop = stream.steps if last is None else operator.index(last)
    except (TypeError, ValueError):
        raise ParameterError(
            f"steps {steps!r} are not two whole numbers (start, stop); None at an end means the stream's"
        ) from None
    if start < stream.first_step or stop > stream.steps:
        raise OutOfRangeError(
            f"{stream.name}: no steps {start}:{stop} at batch size {stream.batch_size}; there are "
            f"{stream.first_step}:{stream.steps}"
        )
    if start >= stop:
        raise ParameterError(f"steps {start}:{stop} hold no step; the first number must be the smaller")
    return start, stop


def checkpoints(start: int, stop: int, every: int | None) -> Int64Array:
    """Return the multiples of ``every`` after ``start`` and before ``stop``, and ``stop``."""
    try:
        every = None if every is None else operator.index(every)
    except TypeError:
        raise ParameterError(f"every {every!r} steps: must be a whole number") from None
    if every is not None and every < 1:
        raise ParameterError(f"every {every} steps: must be at least 1")
    inner = np.arange(0) if every is None else np.arange((start // every + 1) * every, stop, every)
    return np.append(inner, stop).astype(np.int64)


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield ``function`` of each item, in order, a few of them under way at once."""
    threads = default_workers()
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def parse_steps(text: str) -> tuple[int | None, int | None]:
    """Return the steps [start, stop) written as "10:20", "10:", ":20" or, one step, "10"."""
    match = re.fullmatch(r"(\d*):(\d*)|(\d+)", text.strip(), re.ASCII)
    if match is None:
        raise ParameterError(f"steps {text!r} are not of the form START:STOP, such as 0:10")
    if match[3]:
        return int(match[3]), int(match[3]) + 1
    return int(match[1]) if match[1] else None, int(match[2]) if match[2] else None
