"""Stream of training: the samples of a token dataset in an order, or of a blend of several, step by step."""

import operator
import os
import threading
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from pile_tools.algorithms.array_types import Int64Array, Tokens
from pile_tools.errors import DataError, OutOfRangeError, ParameterError
from pile_tools.formats.digests_npy import step_digest
from pile_tools.formats.index_maps import OrderPlace
from pile_tools.formats.order_json import BlendRecord, OrderRecord
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.jobs.progress import Progress, no_progress
from pile_tools.storage.block_cache import BlockCache
from pile_tools.storage.proofs import Proofs, current_proofs, use_proofs
from pile_tools.storage.store import Io, Store
from pile_tools.stream.document_table import Decoder, Pieces
from pile_tools.stream.opening import OpenedStream, open_location
from pile_tools.stream.overlay import OverlayComponent, changed_samples
from pile_tools.stream.parts import FetchedPart, Part
from pile_tools.stream.ranks import rank_rows
from pile_tools.stream.suite_stream import open_suite
from pile_tools.suites import Suite, load_suite

__all__ = ["Stream"]


class Stream:
    """The samples of ``opened`` in steps of ``batch_size``: step k reads samples [k·B, (k + 1)·B).

    Position p of the stream is row p % B of step p // B. Open one with ``Stream.open`` or
    ``Stream.from_suite``. Reading writes nothing. Threads may share a stream, and so may processes, forked or
    spawned. ``batch_size`` is by default the one that the order records; ParameterError where none is.
    """

    def __init__(
        self, opened: OpenedStream, *, batch_size: int | None = None, tokenizer: str | None = None
    ) -> None:
        self.opened = opened
        self.order: OrderPlace = opened.place
        recorded = opened.batch_size if batch_size is None else batch_size
        if recorded is None:
            raise ParameterError(
                f"{self.order.name}: maps that record no batch size; give it with --batch-size (batch_size=)"
            )
        if recorded < 1:
            raise ParameterError(f"batch_size {recorded} must be at least 1")
        self.batch_size = recorded
        self.seq_length = opened.components[0].seq_length
        self.suite: Suite | None = None
        self._decoders = [Decoder(component.dataset, tokenizer) for component in opened.components]
        self._lock = threading.Lock()
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
        """Open the token dataset at ``location`` with an order (see ``BatchViewer.open``)."""
        if io not in ("mmap", "pread"):
            raise ParameterError(f"io {io!r} is neither 'mmap' nor 'pread'")
        name = None if tokenizer is None else os.fspath(tokenizer)
        with use_proofs(_proofs(trust_files)) as proofs:
            opened = open_location(location, order, io, cache)
        stream = cls(opened, batch_size=batch_size, tokenizer=name)
        named = {"order": order, "batch_size": batch_size, "tokenizer": name, "io": io, "cache": cache}
        named["trust_files"] = proofs.trust
        stream._arguments = (cls.open, (location,), named)
        return stream

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
        """Open the stream of a suite (see ``BatchViewer.from_suite``)."""
        loaded = load_suite(suite)
        name = loaded.tokenizer if tokenizer is None else os.fspath(tokenizer)
        with use_proofs(_proofs(trust_files)) as proofs:
            opened = open_suite(loaded, order, io, cache)
        stream = cls(opened, batch_size=batch_size, tokenizer=name)
        stream.suite = loaded
        named = {"order": order, "batch_size": batch_size, "tokenizer": tokenizer, "io": io, "cache": cache}
        named["trust_files"] = proofs.trust
        stream._arguments = (cls.from_suite, (suite,), named)
        return stream

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the same files again: mapped memory and descriptors do not travel.
        if self._arguments is None:
            raise TypeError("only a stream that was opened by its location can go to another process")
        self.prove()  # here, so that the other process finds it in the ledger
        return _reopen, (*self._arguments, self.identity)

    def prove(self) -> None:
        """Prove the order and what belongs to it, as its first use does; DataError for what is wrong."""
        for component in self.opened.components:
            component.prove()
        if self.opened.blend is not None:
            self.opened.blend.prove()

    @property
    def unproved(self) -> tuple[str, ...]:
        """What the answers so far do not rest on a proof of, a line each; nothing where all was proved."""
        stores = (self.order.store, *(dataset.store for dataset in self.datasets))
        return tuple(dict.fromkeys(line for store in stores for line in store.proofs.unproved))

    @property
    def name(self) -> str:
        """The path by which messages name the stream: its order's, with an overlay's own directory."""
        return f"{self.home.name}/{self.order.label}"

    @property
    def home(self) -> Store:
        """The files that are the stream's own: those of its order, or of the overlay."""
        component = self.opened.components[0]
        if self.opened.blend is None and isinstance(component, OverlayComponent):
            return component.store
        return self.order.store

    @property
    def record(self) -> OrderRecord | BlendRecord | None:
        """The record of the order, None of maps without one and of an overlay, which has another stream."""
        is_overlay = self.opened.blend is None and isinstance(self.opened.components[0], OverlayComponent)
        return None if is_overlay else self.order.record

    @property
    def datasets(self) -> tuple[TokenDataset, ...]:
        """The token datasets that the stream reads: one, or those of a blend."""
        return tuple(component.dataset for component in self.opened.components)

    @property
    def dataset(self) -> TokenDataset:
        """The token dataset; ParameterError for a blend of several."""
        if self.opened.blend is not None:
            raise ParameterError(f"{self.order.name}: a blend of {len(self.datasets)} datasets, not of one")
        return self.datasets[0]

    @property
    def first_step(self) -> int:
        """The first step that can be read: 0 unless the dataset holds a part of a stream."""
        return -(-self.opened.first_sample // self.batch_size)

    @property
    def steps(self) -> int:
        """The step after the last whole batch; a last, partial one is not read in training."""
        return (self.opened.first_sample + self.opened.samples) // self.batch_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of the tokens; of a blend, the one that holds those of all."""
        blend = self.opened.blend
        return self.datasets[0].dtype if blend is None else blend.dtype

    @cached_property
    def identity(self) -> str:
        """SHA-256 that names dataset and order by content, 64 hexadecimal digits."""
        return self.opened.identity()

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The datasets of the stream, each in its order; of fetched steps those of the whole stream."""
        bounds = (self.first_step * self.batch_size, self.steps * self.batch_size)
        origins = self.opened.origins
        if origins is None:
            return tuple(
                Part(self.opened, index, decoder, self._lock, bounds)
                for index, decoder in enumerate(self._decoders)
            )
        return tuple(
            FetchedPart(self.opened, origins, index, self._decoders[0], self._lock, bounds)
            for index in range(len(origins.record.datasets))
        )

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer was given or is beside each dataset."""
        return all(decoder.is_known for decoder in self._decoders)

    @property
    def knows_documents(self) -> bool:
        """Whether it is known where documents begin and end."""
        return all(part.n_documents is not None for part in self.parts)

    def tokenizer_content(self) -> bytes | None:
        """Return the bytes of the tokenizer; None where none is known. Raises as ``decode`` does."""
        return self._decoders[0].file().content if self.has_tokenizer else None

    def positions(self, step: int, row: int | None = None) -> Int64Array:
        """Return the positions of the rows of ``step``, int64[batch_size], or of one ``row``, int64[1].

        OutOfRangeError for a step or row that the stream does not have.
        """
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
        rows = np.arange(self.batch_size) if row is None else np.array([operator.index(row)])
        return step * self.batch_size + self._checked(rows)

    def _checked(self, rows: Int64Array) -> Int64Array:
        outside = rows[(rows < 0) | (rows >= self.batch_size)]
        if len(outside):
            raise OutOfRangeError(
                f"{self.order.name}: no row {outside[0]} in a batch of {self.batch_size}, from 0"
            )
        return rows

    def tokens(self, positions: Int64Array) -> Tokens:
        """Return the tokens of the samples at ``positions`` [n], [n, seq_length + 1]."""
        blend = self.opened.blend
        samples = positions - self.opened.first_sample
        return self.opened.components[0].tokens(samples) if blend is None else blend.tokens(samples)

    def batch(self, step: int) -> Tokens:
        """Return the tokens of ``step``, [batch_size, seq_length + 1]."""
        return self.tokens(self.positions(step))

    def take_rows(self, step: int, rows: Int64Array) -> Tokens:
        """Return ``rows`` [n] of ``step``, [n, seq_length + 1]."""
        return self.tokens(self.positions(step)[self._checked(rows)])

    def rank_rows(self, *, rank: int, world_size: int, micro_batch_size: int | None = None) -> Int64Array:
        """Return the rows of a step that a data-parallel rank reads (see ``stream.ranks.rank_rows``)."""
        return rank_rows(self.batch_size, rank=rank, world_size=world_size, micro_batch_size=micro_batch_size)

    def step_digest(self, step: int) -> bytes:
        """Return XXH3-128 of the bytes of ``batch(step)`` (C order, little endian), 16 bytes."""
        return step_digest(self.batch(step))

    @property
    def is_counterfactual(self) -> bool:
        """Whether an overlay changes some of the stream."""
        return any(isinstance(component, OverlayComponent) for component in self.opened.components)

    def changed_sequences(self, start: int, stop: int, *, progress: Progress = no_progress) -> int:
        """Count the sequences of steps [start, stop) that have other tokens than without an overlay."""
        count = 0
        blend = self.opened.blend
        for step in range(start, stop):
            samples = self.positions(step) - self.opened.first_sample
            which, numbers = (np.zeros_like(samples), samples) if blend is None else blend.parts(samples)
            for index, component in enumerate(self.opened.components):
                count += int(changed_samples(component, numbers[which == index]).sum())
            progress("changes", step + 1 - start, stop - start)
        return count

    def samples_at(self, positions: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Return the parts that positions of the stream are of, and the samples there, int64[n] each."""
        if self.opened.blend is not None:
            return self.opened.blend.parts(positions)
        samples = positions - self.opened.first_sample
        origins = self.opened.origins
        return np.zeros_like(samples) if origins is None else origins.which(samples), samples

    def located(self, positions: Int64Array) -> list[tuple[int, Pieces]]:
        """Return part and pieces of each of ``positions`` [n]."""
        which, samples = self.samples_at(positions)
        pieces_of: dict[int, tuple[int, Pieces]] = {}
        for number in np.unique(which).tolist():
            rows = np.flatnonzero(which == number)
            pieces = Pieces(self.parts[number].pieces(samples[rows]))
            pieces_of |= {row: (number, pieces.of_row(index)) for index, row in enumerate(rows.tolist())}
        return [pieces_of[row] for row in range(len(positions))]

    def decode(self, position: Int64Array, tokens: Tokens) -> str:
        """Return the text of the sample at ``position`` [1]; U+FFFD where it cuts a character."""
        blend = self.opened.blend
        return self._decoders[0 if blend is None else int(blend.parts(position)[0][0])](tokens)


def _proofs(trust_files: bool) -> Proofs:
    """Return the proofs in force, which ``trust_files`` makes such that believe files as they are."""
    proofs = current_proofs()
    return replace(proofs, trust=True) if trust_files and not proofs.trust else proofs


def _reopen(function: Any, positional: tuple[Any, ...], named: dict[str, Any], identity: str) -> Stream:
    stream: Stream = function(*positional, **named)
    if stream.identity != identity:
        raise DataError(f"{stream.order.name}: changed since another process opened it; begin again")
    return stream
