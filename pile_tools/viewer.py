"""BatchViewer: which tokens a step shows to the model, and which documents they are from."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.array_types import Int64Array, Tokens
from pile_tools.errors import MissingStreamError, ParameterError, PileToolsError
from pile_tools.formats.index_maps import OrderPlace
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.jobs.bars import ProgressOption, reporting
from pile_tools.storage.block_cache import BlockCache
from pile_tools.storage.store import Io
from pile_tools.storage.urls import expanded, is_url, without_credentials
from pile_tools.stream.components import UNKNOWN
from pile_tools.stream.document_table import Pieces
from pile_tools.stream.opening import find_stream
from pile_tools.stream.stream import Stream
from pile_tools.stream.torch_data import StreamDataset
from pile_tools.suites import Suite

if TYPE_CHECKING:
    import pyarrow as pa

    from pile_tools.lookups.diff import Difference
    from pile_tools.lookups.find import Counts

__all__ = ["BatchViewer", "PieceView", "RowView", "common_batch_size", "diff", "open_named"]


@dataclass(frozen=True, slots=True)
class PieceView:
    """A piece of a document in a sequence, with what is known of it.

    ``position`` of its first token in the sequence, ``offset`` of that token in the document,
    ``n_tokens`` in this sequence, ``document_tokens`` in the whole document; ``shard``, ``shard_row`` and
    ``source`` are None where the dataset has no ``documents.parquet``; ``text`` where no tokenizer is
    known; ``document``, ``offset`` and ``document_tokens`` where the boundaries of documents are not
    known; ``dataset`` unless the stream is a blend.
    """

    document: int | None
    position: int
    offset: int | None
    n_tokens: int
    document_tokens: int | None
    shard: str | None
    shard_row: int | None
    source: str | None
    text: str | None
    dataset: int | None = None

    @property
    def last(self) -> int | None:
        """Number in the document of the piece's last token."""
        return None if self.offset is None else self.offset + self.n_tokens - 1

    @property
    def is_begin(self) -> bool:
        """Whether the document begins here."""
        return self.offset == 0

    @property
    def is_end(self) -> bool:
        """Whether the document ends here."""
        return self.last is not None and self.last + 1 == self.document_tokens


@dataclass(frozen=True, slots=True)
class RowView:
    """A sequence: ``row`` of its step, ``tokens`` [seq_length + 1], their ``text``, the ``pieces`` of it."""

    row: int
    tokens: Tokens
    text: str | None
    pieces: tuple[PieceView, ...]


class BatchViewer:
    """The stream of a token dataset in an order: step ⇄ sequence ⇄ document ⇄ source line.

    Step k reads samples [k·B, (k + 1)·B) of the order. Open one with ``BatchViewer.open``. All arrays
    are in the dataset's own dtype. Reading writes nothing. Threads may share a viewer, and so may
    processes, forked or spawned. ``stream`` is what the lookups below read. "~" in a path is the home
    directory; ``progress`` is True for a bar on standard error, False for none, or a function that is called
    with (label, done, total).
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]

    @classmethod
    def open(
        cls,
        location: str | os.PathLike[str],
        *,
        order: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
        io: Io = "mmap",
        cache: BlockCache | None = None,
        trust_files: bool = False,
    ) -> Self:
        """Open the token dataset at ``location`` (directory, prefix or URL) with an order.

        ``order`` names one where there are several (see ``formats.index_maps.find_order``);
        ``batch_size`` reads the order at another batch size than the one recorded with it, and is
        needed for maps that another tool saved; ``tokenizer`` is a ``tokenizer.json`` or a Hub id, by
        default the one in the dataset's directory. ``io`` is how files of this machine are read: "mmap",
        or "pread", slower, for files that may shrink meanwhile. ``cache`` keeps what is fetched.

        Index maps and other files beside the tokens are proved before their first use: that they are those
        that their records list, and that maps are an order of the dataset's documents. What was proved once
        is remembered (see ``storage.ledger``). ``trust_files`` believes them as they are; ``unproved`` says
        so.

        Raises MissingFileError for what does not exist, RemoteError where a server does not give it,
        DataError for what is damaged, MismatchError for what does not belong together, ParameterError where
        something must be named.
        """
        return cls(
            Stream.open(
                expanded(location),
                order=_expanded(order),
                batch_size=batch_size,
                tokenizer=_expanded(tokenizer),
                io=io,
                cache=cache,
                trust_files=trust_files,
            )
        )

    @classmethod
    def from_suite(
        cls,
        suite: str | os.PathLike[str],
        *,
        order: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
        io: Io = "mmap",
        cache: BlockCache | None = None,
        trust_files: bool = False,
    ) -> Self:
        """Open the stream of a suite, by its name or the path of a suite file; nothing is downloaded first.

        ``order`` names one of the suite's orders where it has several; the rest as for ``open``, with
        the suite's batch size and tokenizer unless given.
        """
        return cls(
            Stream.from_suite(
                expanded(suite),
                order=_expanded(order),
                batch_size=batch_size,
                tokenizer=_expanded(tokenizer),
                io=io,
                cache=cache,
                trust_files=trust_files,
            )
        )

    @property
    def name(self) -> str:
        """The path by which messages name the stream."""
        return self.stream.name

    @property
    def order(self) -> OrderPlace:
        """Where the order is, with its label and its record."""
        return self.stream.order

    @property
    def suite(self) -> Suite | None:
        """The suite that was opened; None of any other stream."""
        return self.stream.suite

    @property
    def dataset(self) -> TokenDataset:
        """The token dataset; ParameterError for a blend of several."""
        return self.stream.dataset

    @property
    def batch_size(self) -> int:
        """Samples in a step."""
        return self.stream.batch_size

    @property
    def seq_length(self) -> int:
        """Tokens that the model reads of a sample, which has one more."""
        return self.stream.seq_length

    @property
    def first_step(self) -> int:
        """The first step that can be read: 0 unless the dataset holds a part of a stream."""
        return self.stream.first_step

    @property
    def steps(self) -> int:
        """The step after the last whole batch; a last, partial one is not read in training."""
        return self.stream.steps

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of the tokens; of a blend, the one that holds those of all."""
        return self.stream.dtype

    @property
    def identity(self) -> str:
        """SHA-256 that names dataset and order by content, 64 hexadecimal digits.

        It is the same for every batch size, and however the dataset is cut into shards.
        """
        return self.stream.identity

    @property
    def unproved(self) -> tuple[str, ...]:
        """What the answers so far do not rest on a proof of, a line each; nothing where all was proved."""
        return self.stream.unproved

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer was given or is beside each dataset."""
        return self.stream.has_tokenizer

    @property
    def knows_documents(self) -> bool:
        """Whether it is known where documents begin and end."""
        return self.stream.knows_documents

    def batch(self, step: int) -> Tokens:
        """Return the tokens of ``step``, [batch_size, seq_length + 1]. OutOfRangeError past the last."""
        return self.stream.batch(step)

    def inputs_labels(self, step: int) -> tuple[Tokens, Tokens]:
        """Return inputs and labels of ``step``, two views [batch_size, seq_length] of one array."""
        batch = self.batch(step)
        return batch[:, :-1], batch[:, 1:]

    def batches(self, start: int, stop: int) -> Iterator[Tokens]:
        """Iterate over the batches of steps [start, stop)."""
        if start < stop:
            self.stream.positions(start)
            self.stream.positions(stop - 1)
        return (self.batch(step) for step in range(start, stop))

    def rank_batch(
        self, step: int, *, rank: int, world_size: int, micro_batch_size: int | None = None
    ) -> Tokens:
        """Return what data-parallel rank ``rank`` of ``world_size`` reads in ``step``.

        [batch_size / world_size, seq_length + 1]: its micro-batches one after the other, where
        micro-batch g holds samples k·B + g·m·D + r·m + [0, m). Without ``micro_batch_size`` there is
        one. As GPT-NeoX's samplers do.
        """
        rows = self.stream.rank_rows(rank=rank, world_size=world_size, micro_batch_size=micro_batch_size)
        return self.stream.take_rows(step, rows.reshape(-1))

    def sequence(self, step: int, row: int) -> Tokens:
        """Return row ``row`` of ``step``, [seq_length + 1]."""
        tokens: Tokens = self.stream.tokens(self.stream.positions(step, row))[0]
        return tokens

    def text(self, step: int, row: int) -> str:
        """Return the text of a sequence; U+FFFD where it begins or ends inside a character."""
        position = self.stream.positions(step, row)
        return self.stream.decode(position, self.stream.tokens(position)[0])

    def step_digest(self, step: int) -> str:
        """Return XXH3-128 of the bytes of ``batch(step)`` (C order, little endian), 32 hexadecimal digits."""
        return self.stream.step_digest(step).hex()

    def trace(self, step: int, row: int) -> "pa.Table":
        """Return the pieces of documents of a sequence, in order of position, as an Arrow table.

        Columns: document, position, offset, n_tokens (int64), shard (string), shard_row (int64), source
        (string); of a blend, dataset (int64) first. shard, shard_row and source are null where the dataset
        has no ``documents.parquet``, document and offset where boundaries of documents are not known.
        Raises DataError where ``documents.parquet`` does not belong to the dataset.
        """
        return self._table(*self.stream.located(self.stream.positions(step, row))[0])

    def pieces(self, step: int, row: int) -> list[PieceView]:
        """Return the pieces of a sequence with their texts, to be shown (see ``PieceView``)."""
        return list(next(self.rows(step, row)).pieces)

    def rows(self, step: int, row: int | None = None) -> Iterator[RowView]:
        """Iterate over the rows of ``step``, or only ``row``, with all that is known of them.

        The tokens of all are read at once. Raises what ``batch``, ``text`` and ``trace`` raise.
        """
        positions = self.stream.positions(step, row)
        tokens = self.stream.tokens(positions)
        located = self.stream.located(positions)
        rows = range(self.batch_size) if row is None else [row]
        return (self._row_view(*values) for values in zip(rows, positions, tokens, located, strict=True))

    def _row_view(
        self, row: int, position: Int64Array, tokens: Tokens, located: tuple[int, Pieces]
    ) -> RowView:
        number, pieces = located
        part = self.stream.parts[number]
        decode = part.decoder if self.has_tokenizer else None
        sizes = part.document_tokens(pieces.found.document).tolist()
        views = []
        for piece, size in zip(self._table(number, pieces).to_pylist(), sizes, strict=True):
            shown = tokens[piece["position"] : piece["position"] + piece["n_tokens"]]
            text = None if decode is None else decode(shown)
            views.append(PieceView(**piece, document_tokens=None if size == UNKNOWN else size, text=text))
        return RowView(row, tokens, None if decode is None else decode(tokens), tuple(views))

    def _table(self, number: int, pieces: Pieces) -> "pa.Table":
        part = self.stream.parts[number]
        return pieces.table(part.provenance(), part.number)

    def seen(
        self,
        document: int | None = None,
        *,
        documents: "Sequence[int] | npt.NDArray[Any] | None" = None,
        shard: str | None = None,
        row: int | None = None,
        dataset: int | None = None,
        world_size: int | None = None,
        micro_batch_size: int | None = None,
    ) -> "pa.Table":
        """Return every piece in which the stream shows a document, in stream order, as an Arrow table.

        The document is given by number (``document``) or by where it came from (``shard`` and ``row``);
        ``documents`` asks for several at once. ``dataset`` is the number of the dataset in a blend.
        Columns, all int64: step, row, position, offset, n_tokens as in ``trace``, and epoch: which of the
        document's places in doc_idx, counted from 0, the piece is from. For ``documents``, document comes
        first; with ``world_size`` (and ``micro_batch_size``), the data-parallel rank last.
        """
        from pile_tools.lookups.occurrences import document_at, occurrences, the_part

        given = [document is not None, documents is not None, shard is not None or row is not None]
        if sum(given) != 1:
            raise ParameterError("name the document by its number, or by shard and row")
        wanted = document if documents is None else documents
        if wanted is None:
            if shard is None or row is None:
                raise ParameterError("a shard and a row name a document together; give both")
            wanted = document_at(the_part(self.stream, dataset), shard, row)
        return occurrences(
            self.stream, wanted, dataset=dataset, world_size=world_size, micro_batch_size=micro_batch_size
        )

    def find(
        self,
        text: "str | Sequence[str] | None" = None,
        *,
        tokens: "Sequence[int] | Sequence[Sequence[int]] | None" = None,
        regex: str | None = None,
        steps: tuple[int | None, int | None] | None = None,
        first: bool = False,
        limit: int | None = None,
        context: int = 60,
        workers: int | None = None,
        progress: ProgressOption = False,
    ) -> "pa.Table":
        """Return where the stream shows a text, token ids or matches of a regular expression.

        A text is found wherever it is in the decoded text of a sequence, at any alignment with the tokens
        and after a space or not; a regular expression is applied to that text; ``tokens`` is one sequence of
        ids, or several. A match lies in one sequence and may cross the documents in it; matches of texts
        and tokens may overlap. ``steps`` (start, stop) restricts the search, ``first`` and ``limit`` the
        answer; ``context`` is how many characters are given before and after.

        An Arrow table in training order: step, row, position of the first token that the match touches,
        n_tokens (int64), pattern (string), document, offset, source, shard, shard_row of the document that
        it begins in (null where not known), before, match, after (string, null without a tokenizer).
        """
        from pile_tools.lookups.find import find, make_query

        query = make_query(text, tokens, regex)
        with reporting(progress) as report:
            return find(
                self.stream,
                query,
                steps=steps,
                first=first,
                limit=limit,
                context=context,
                workers=workers,
                progress=report,
            )

    def count(
        self,
        text: "str | Sequence[str] | None" = None,
        *,
        tokens: "Sequence[int] | Sequence[Sequence[int]] | None" = None,
        regex: str | None = None,
        steps: tuple[int | None, int | None] | None = None,
        every: int | None = None,
        workers: int | None = None,
        progress: ProgressOption = False,
    ) -> "Counts":
        """Count what ``find`` finds, up to each multiple of ``every`` steps and up to the last.

        ``table`` of the result has the columns checkpoint, pattern and count: occurrences in the steps
        before the checkpoint, from the first of ``steps`` on; ``first_step`` says where each pattern is
        first.
        """
        from pile_tools.lookups.find import count_occurrences, make_query

        query = make_query(text, tokens, regex)
        with reporting(progress) as report:
            return count_occurrences(
                self.stream, query, steps=steps, every=every, workers=workers, progress=report
            )

    def repeats(self, *, every: int | None = None, progress: ProgressOption = False) -> "pa.Table":
        """Return how many documents, samples and tokens had been seen how often by each checkpoint.

        Checkpoints are the multiples of ``every`` steps and the last step. Columns: checkpoint (int64), kind
        ("documents", "samples", "tokens"; no documents where their boundaries are not known), times (int64)
        and count (int64): how many had been seen exactly so many times. A token is seen when it is among the
        inputs of a sequence, its first seq_length tokens; a document once for each of its places in doc_idx
        of which a token has been seen. All of the dataset is counted, what the order leaves out as seen 0
        times. Of a blend that lists a dataset twice all of its parts count together; samples do where both
        pack it alike.
        """
        from pile_tools.lookups.repeats import repeats

        with reporting(progress) as report:
            return repeats(self.stream, every=every, progress=report)

    def mixture(self, *, every: int | None = None, progress: ProgressOption = False) -> "pa.Table":
        """Return how many tokens of each source the model saw between checkpoints.

        Columns: start and checkpoint (int64; steps from start up to checkpoint, not included), source
        (string, null where documents name none), tokens (int64, inputs), share of the interval (float64),
        cumulative (int64, since the first step). The largest source first. Raises UnanswerableError where
        the sources are not known.
        """
        from pile_tools.lookups.mixture import mixture

        with reporting(progress) as report:
            return mixture(self.stream, every=every, progress=report)

    def terms(
        self,
        terms: Sequence[str],
        *,
        every: int | None = None,
        window: int = 0,
        steps: tuple[int | None, int | None] | None = None,
        progress: ProgressOption = False,
    ) -> "pa.Table":
        """Count how often the model had read each term, and each pair of terms close together, by checkpoint.

        A term is a word or several in a row, with white space between them. A word is a longest run of
        ``\\w`` characters (letters, digits, "_") and the combining marks (Unicode's categories M*) that
        follow one, so that "1" is not found in "2013"; a Han, Hiragana or Katakana character, with its marks,
        is one alone. Case does not count: letters are lowered one by one, ς to σ, so that "οδος" is "ΟΔΟΣ",
        but "straße" and "STRASSE" are two words, and İ is i; no other forms of Unicode are made alike. Words
        are those of a sequence's text, cut at special tokens such as EOD. With ``window`` of 2 or more, two
        occurrences that do not overlap and lie within so many consecutive words count as a pair.

        Columns: checkpoint (int64), term, other (string; null: the term alone) and count (int64), cumulative
        from the first of ``steps`` on. Of each pair that is met at all, in the order of ``terms``, there is a
        row for every checkpoint; of any other there is none. Raises ParameterError for a term with anything
        but words and white space in it ("don't", "C++"): ``count`` counts texts.
        """
        from pile_tools.lookups.terms import term_counts

        with reporting(progress) as report:
            return term_counts(self.stream, terms, every=every, window=window, steps=steps, progress=report)

    def torch_dataset(
        self,
        *,
        rank: int = 0,
        world_size: int = 1,
        micro_batch_size: int | None = None,
        start_step: int | None = None,
        stop_step: int | None = None,
    ) -> "StreamDataset":
        """Return the micro-batches of a data-parallel rank as a map-style dataset for a ``DataLoader``.

            loader = DataLoader(viewer.torch_dataset(micro_batch_size=8), batch_size=None, num_workers=2)

        yields int64 tensors [micro_batch_size, seq_length + 1] in the order of the stream; ``start_step``
        resumes. Without ``micro_batch_size`` a rank's part of a step is one. The dataset needs no PyTorch;
        for one of PyTorch's ``IterableDataset`` kind wrap it in ``pile_tools.train.IterableStream``.
        """
        self.stream.prove()  # once, before there are workers
        return StreamDataset(
            self.stream,
            rank=rank,
            world_size=world_size,
            micro_batch_size=micro_batch_size,
            start_step=start_step,
            stop_step=stop_step,
        )


def _expanded(location: str | os.PathLike[str] | None) -> str | None:
    return None if location is None else expanded(location)


def diff(
    left: BatchViewer,
    right: BatchViewer,
    *,
    steps: tuple[int | None, int | None] | None = None,
    limit: int = 100,
    progress: ProgressOption = False,
) -> "Difference":
    """Compare two streams step by step (see ``lookups.diff.diff``)."""
    from pile_tools.lookups import diff as module

    with reporting(progress) as report:
        return module.diff(left.stream, right.stream, steps=steps, limit=limit, progress=report)


def open_named(
    name: str, data: str | None, *, suite: str | None = None, order: str | None = None, **options: Any
) -> BatchViewer:
    """Open what ``name`` is: a dataset (or a blend or an overlay) in ``order``, or an order of ``data``.

    With ``suite`` it may be that suite, or one of its orders. Raises MissingStreamError for what is none of
    these.
    """
    if suite is not None and name == suite:
        return BatchViewer.from_suite(suite, order=order, **options)
    try:
        find_stream(name)
    except MissingStreamError:
        if suite is not None:
            return BatchViewer.from_suite(suite, order=name, **options)
        if data in (None, "."):
            try:
                find_stream(".")
            except MissingStreamError:
                is_there = is_url(name) or os.path.exists(name)
                absent = "" if is_there else " (there is no such file or directory)"
                raise MissingStreamError(
                    f"{without_credentials(name)}: no token dataset; if it is an order of one, name that "
                    f"dataset with --data{absent}"
                ) from None
        return BatchViewer.open(data or ".", order=name, **options)
    return BatchViewer.open(name, order=order, **options)


def common_batch_size(names: Sequence[str]) -> int | None:
    """Return the batch size at which the overlays among ``names`` were named, so that all are compared at it.

    None where no overlay is among them, or overlays of several batch sizes.
    """
    sizes = set()
    for name in names:
        with suppress(PileToolsError):  # what is none is an order, or is named when it is opened
            if (overlay := find_stream(name).overlay) is not None:
                sizes.add(overlay.batch_size)
    return sizes.pop() if len(sizes) == 1 else None
