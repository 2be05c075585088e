"""BatchViewer: which tokens a step shows to the model, and which documents they are from."""

import operator
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xxhash

from pile_tools.errors import DataError, OutOfRangeError, ParameterError
from pile_tools.formats.block_cache import BlockCache
from pile_tools.formats.order_files import OrderPlace
from pile_tools.formats.proofs import Proofs, current_proofs, use_proofs
from pile_tools.formats.store import Io
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.suites import Suite, load_suite
from pile_tools.viewer.asking import Asking
from pile_tools.viewer.components import UNKNOWN, Int64Array, Tokens
from pile_tools.viewer.opening import Stream, open_stream
from pile_tools.viewer.reading import Decoder, Pieces
from pile_tools.viewer.suite_stream import open_suite

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BatchViewer", "PieceView", "RowView"]


@dataclass(frozen=True, slots=True)
class PieceView:
    """A piece of a document in a sequence, with what is known of it.

    ``position`` of its first token in the sequence, ``offset`` of that token in the document,
    ``n_tokens`` in this sequence, ``document_tokens`` in the whole document; ``shard``, ``row`` and
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
    row: int | None
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


class BatchViewer(Asking):
    """The stream of a token dataset in an order: step ⇄ sequence ⇄ document ⇄ source line.

    Step k reads samples [k·B, (k + 1)·B) of the order. Open one with ``BatchViewer.open``. All arrays
    are in the dataset's own dtype. Reading writes nothing. Threads may share a viewer, and so may
    processes, forked or spawned.
    """

    def __init__(
        self, stream: Stream, *, batch_size: int | None = None, tokenizer: str | None = None
    ) -> None:
        self._stream = stream
        self.order: OrderPlace = stream.place
        recorded = stream.batch_size if batch_size is None else batch_size
        if recorded is None:
            raise ParameterError(
                f"{self.order.name}: maps that record no batch size; give it with --batch-size (batch_size=)"
            )
        if recorded < 1:
            raise ParameterError(f"batch_size {recorded} must be at least 1")
        self.batch_size = recorded
        self.seq_length = stream.components[0].seq_length
        self._decoders = [Decoder(component.dataset, tokenizer) for component in stream.components]
        self._identity: str | None = None
        self._lock = threading.Lock()
        self.suite: Suite | None = None
        self._arguments: tuple[Any, ...] | None = None

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

        ``order`` names one where there are several (see ``formats.order_files.find_order``);
        ``batch_size`` reads the order at another batch size than the one recorded with it, and is
        needed for maps that another tool saved; ``tokenizer`` is a ``tokenizer.json`` or a Hub id, by
        default the one in the dataset's directory. ``io`` is how files of this machine are read: "mmap",
        or "pread", slower, for files that may shrink meanwhile. ``cache`` keeps what is fetched.

        Index maps and other files beside the tokens are proved before their first use: that they are those
        that their records list, and that maps are an order of the dataset's documents. What was proved once
        is remembered (see ``formats.ledger``). ``trust_files`` believes them as they are; ``unproved`` says
        so.

        Raises PileToolsError for what is not there, DataError for what is damaged or does not belong
        together, ParameterError where something must be named.
        """
        if io not in ("mmap", "pread"):
            raise ParameterError(f"io {io!r} is neither 'mmap' nor 'pread'")
        name = None if tokenizer is None else os.fspath(tokenizer)
        with use_proofs(_proofs(trust_files)) as proofs:
            stream = open_stream(location, order, io, cache)
        viewer = cls(stream, batch_size=batch_size, tokenizer=name)
        named = {"order": order, "batch_size": batch_size, "tokenizer": name, "io": io, "cache": cache}
        named["trust_files"] = proofs.trust
        viewer._arguments = (cls.open, (location,), named)
        return viewer

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
        found = load_suite(suite)
        name = found.tokenizer if tokenizer is None else os.fspath(tokenizer)
        with use_proofs(_proofs(trust_files)) as proofs:
            stream = open_suite(found, order, io, cache)
        viewer = cls(stream, batch_size=batch_size, tokenizer=name)
        viewer.suite = found
        named = {"order": order, "batch_size": batch_size, "tokenizer": tokenizer, "io": io, "cache": cache}
        named["trust_files"] = proofs.trust
        viewer._arguments = (cls.from_suite, (suite,), named)
        return viewer

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the same files anew: mapped memory and descriptors do not travel.
        if self._arguments is None:
            raise TypeError("only a viewer that was made by `BatchViewer.open` can go to another process")
        self.prove()  # here, so that the other process finds it in the ledger
        return _reopen, (*self._arguments, self.identity)

    def prove(self) -> None:
        """Prove the order and what belongs to it, as its first use does; DataError for what is wrong."""
        for component in self._stream.components:
            component.prove()
        if self._stream.blend is not None:
            self._stream.blend.prove()

    @property
    def unproved(self) -> tuple[str, ...]:
        """What the answers so far do not rest on a proof of, a line each; nothing where all was proved."""
        stores = (self.order.store, *(component.dataset.store for component in self._stream.components))
        return tuple(dict.fromkeys(line for store in stores for line in store.proofs.unproved))

    @property
    def dataset(self) -> TokenDataset:
        """The token dataset; ParameterError for a blend of several."""
        if self._stream.blend is not None:
            raise ParameterError(
                f"{self.order.name}: a blend of {len(self._stream.components)} datasets, not of one"
            )
        return self._stream.components[0].dataset

    @property
    def first_step(self) -> int:
        """The first step that can be read: 0 unless the dataset holds a part of a stream."""
        return -(-self._stream.first_sample // self.batch_size)

    @property
    def steps(self) -> int:
        """The step after the last whole batch; a last, partial one is not read in training."""
        return (self._stream.first_sample + self._stream.samples) // self.batch_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of the tokens; of a blend, the one that holds those of all."""
        blend = self._stream.blend
        return self._stream.components[0].dataset.dtype if blend is None else blend.dtype

    @property
    def identity(self) -> str:
        """SHA-256 that names dataset and order by content, 64 hexadecimal digits.

        It is the same for every batch size, and however the dataset is cut into shards.
        """
        if self._identity is None:
            self._identity = self._stream.identity()
        return self._identity

    def batch(self, step: int) -> Tokens:
        """Return the tokens of ``step``, [batch_size, seq_length + 1]. OutOfRangeError past the last."""
        return self._tokens(self._first(step) + np.arange(self.batch_size))

    def inputs_labels(self, step: int) -> tuple[Tokens, Tokens]:
        """Return inputs and labels of ``step``, two views [batch_size, seq_length] of one array."""
        batch = self.batch(step)
        return batch[:, :-1], batch[:, 1:]

    def batches(self, start: int, stop: int) -> Iterator[Tokens]:
        """Iterate over the batches of steps [start, stop)."""
        start, stop = operator.index(start), operator.index(stop)
        if start < stop:
            self._first(start)
            self._first(stop - 1)
        return (self.batch(step) for step in range(start, stop))

    def rank_batch(
        self, step: int, *, rank: int, world_size: int, micro_batch_size: int | None = None
    ) -> Tokens:
        """Return what data-parallel rank ``rank`` of ``world_size`` reads in ``step``.

        [batch_size / world_size, seq_length + 1]: its micro-batches one after the other, where
        micro-batch g holds samples k·B + g·m·D + r·m + [0, m). Without ``micro_batch_size`` there is
        one. As GPT-NeoX's samplers do.
        """
        rows = self.rank_rows(rank=rank, world_size=world_size, micro_batch_size=micro_batch_size)
        return self.take_rows(step, rows.reshape(-1))

    def rank_rows(self, *, rank: int, world_size: int, micro_batch_size: int | None = None) -> Int64Array:
        """Return the rows of a step that ``rank_batch`` returns, int64[micro-batches, micro_batch_size]."""
        size = micro_batch_size
        if size is None and world_size > 0:
            size = self.batch_size // world_size
        if world_size < 1 or not 0 <= rank < world_size:
            raise ParameterError(f"rank {rank} is not one of {world_size} ranks, from 0")
        if size is None or size < 1 or self.batch_size % (size * world_size):
            raise ParameterError(
                f"a batch of {self.batch_size} does not divide into micro-batches of {size} on {world_size} "
                "ranks"
            )
        starts = np.arange(0, self.batch_size, size * world_size) + rank * size
        return starts[:, None] + np.arange(size)

    def take_rows(self, step: int, rows: Int64Array) -> Tokens:
        """Return ``rows`` [n] of ``step``, [n, seq_length + 1]."""
        first = self._first(step)
        outside = rows[(rows < 0) | (rows >= self.batch_size)]
        if len(outside):
            raise OutOfRangeError(
                f"{self.order.name}: no row {outside[0]} in a batch of {self.batch_size}, from 0"
            )
        return self._tokens(first + rows)

    def sequence(self, step: int, row: int) -> Tokens:
        """Return row ``row`` of ``step``, [seq_length + 1]."""
        tokens: Tokens = self._tokens(self._position(step, row))[0]
        return tokens

    def text(self, step: int, row: int) -> str:
        """Return the text of a sequence; U+FFFD where it begins or ends inside a character."""
        position = self._position(step, row)
        return self._decoder(position)(self._tokens(position)[0])

    def digest(self, step: int) -> str:
        """Return XXH3-128 of the bytes of ``batch(step)`` (C order, little endian), 32 hexadecimal digits."""
        return xxhash.xxh3_128_hexdigest(self.batch(step).data)

    def trace(self, step: int, row: int) -> "pa.Table":
        """Return the pieces of documents of a sequence, in order of position, as an Arrow table.

        Columns: document, position, offset, n_tokens (int64), shard (string), row (int64), source
        (string); of a blend, dataset (int64) first. shard, row and source are null where the dataset has
        no ``documents.parquet``, document and offset where boundaries of documents are not known.
        Raises DataError where ``documents.parquet`` does not belong to the dataset.
        """
        return self._table(*self._located(self._position(step, row))[0])

    def pieces(self, step: int, row: int) -> list[PieceView]:
        """Return the pieces of a sequence with their texts, to be shown (see ``PieceView``)."""
        return list(next(self.rows(step, row)).pieces)

    def rows(self, step: int, row: int | None = None) -> Iterator[RowView]:
        """Iterate over the rows of ``step``, or only ``row``, with all that is known of them.

        The tokens of all are read at once. Raises what ``batch``, ``text`` and ``trace`` raise.
        """
        if row is None:
            positions = self._first(step) + np.arange(self.batch_size)
        else:
            positions = self._position(step, row)
        tokens = self._tokens(positions)
        located = self._located(positions)
        return (
            self._row_view(number, tokens[place], *located[place])
            for place, number in enumerate(range(self.batch_size) if row is None else [row])
        )

    def _row_view(self, row: int, tokens: Tokens, which: int, pieces: Pieces) -> RowView:
        viewed = self.parts[which]
        decode = viewed.decoder if self.has_tokenizer else None
        rows = self._table(which, pieces).to_pylist()
        sizes = viewed.document_tokens(pieces.found.document).tolist()
        views = []
        for piece, size in zip(rows, sizes, strict=True):
            part = tokens[piece["position"] : piece["position"] + piece["n_tokens"]]
            text = None if decode is None else decode(part)
            views.append(PieceView(**piece, document_tokens=None if size == UNKNOWN else size, text=text))
        return RowView(row, tokens, None if decode is None else decode(tokens), tuple(views))

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer was given or lies beside each dataset."""
        return all(decoder.is_known for decoder in self._decoders)

    @property
    def knows_documents(self) -> bool:
        """Whether it is known where documents begin and end."""
        return all(part.n_documents is not None for part in self.parts)

    def tokenizer_content(self) -> bytes | None:
        """Return the bytes of the tokenizer; None where none is known. Raises as ``text`` does."""
        return self._decoders[0].file().content if self.has_tokenizer else None

    def _first(self, step: int) -> int:
        """Return the first sample of ``step``, counted in the stream."""
        step = operator.index(step)
        if not self.first_step <= step < self.steps:
            known = "there is not one whole batch"
            if self.steps > self.first_step:
                known = f"the last is {self.steps - 1}"
                if self.first_step:
                    known += f" and the first {self.first_step}"
            raise OutOfRangeError(
                f"{self.order.name}: no step {step} at batch size {self.batch_size}; {known}"
            )
        return step * self.batch_size - self._stream.first_sample

    def _position(self, step: int, row: int) -> Int64Array:
        first, row = self._first(step), operator.index(row)
        if not 0 <= row < self.batch_size:
            raise OutOfRangeError(f"{self.order.name}: no row {row} in a batch of {self.batch_size}, from 0")
        return np.array([first + row], np.int64)

    def _tokens(self, positions: Int64Array) -> Tokens:
        blend = self._stream.blend
        return self._stream.components[0].tokens(positions) if blend is None else blend.tokens(positions)

    def _located(self, positions: Int64Array) -> list[tuple[int, Pieces]]:
        """Return part and pieces of each of ``positions`` [n] of the stream."""
        which, samples = self.samples_at(positions + self._stream.first_sample)
        found: dict[int, tuple[int, Pieces]] = {}
        for number in np.unique(which).tolist():
            rows = np.flatnonzero(which == number)
            pieces = Pieces(self.parts[number].pieces(samples[rows]))
            found |= {row: (number, pieces.of_row(place)) for place, row in enumerate(rows.tolist())}
        return [found[row] for row in range(len(positions))]

    def _table(self, which: int, pieces: Pieces) -> "pa.Table":
        part = self.parts[which]
        return pieces.table(part.provenance(), part.number)

    def _decoder(self, position: Int64Array) -> Decoder:
        blend = self._stream.blend
        return self._decoders[0 if blend is None else int(blend.parts(position)[0][0])]


def _proofs(trust_files: bool) -> Proofs:
    """Return the proofs in force, which ``trust_files`` makes such that believe files as they are."""
    proofs = current_proofs()
    return replace(proofs, trust=True) if trust_files and not proofs.trust else proofs


def _reopen(function: Any, positional: tuple[Any, ...], named: dict[str, Any], identity: str) -> BatchViewer:
    viewer: BatchViewer = function(*positional, **named)
    if viewer.identity != identity:
        raise DataError(f"{viewer.order.name}: changed since another process opened it; begin again")
    return viewer
