"""An order of a token dataset that keeps the documents' order of another one, made of the same corpus.

The documents stand in doc_idx as they do in the other order; only where samples begin, and so how many there
are, follows from the sizes that this tokenizer gives the documents. That needs no more than the other
order's recipe, seed and number of epochs, so what is made is proved by making it again.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pile_tools.algorithms.recipes import Order, count_samples, is_last_apart
from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.order_files import SEQUENTIAL, OrderMaps, OrderPlace, find_order
from pile_tools.formats.order_record import ORDER_NAME, BlendRecord, KeptOrder, OrderRecord, parse_record
from pile_tools.formats.overlay import OVERLAY_NAME
from pile_tools.formats.provenance import PROVENANCE_NAME, Provenance
from pile_tools.formats.sources import MissingFileError, SourceFile
from pile_tools.formats.store import is_url, open_store
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.order import OrderSummary, checked_sizes, order_label, publish_order, stream_length

__all__ = ["KeptSummary", "Measures", "make_order_like"]

_COMPARED: Final = ("shard", "row", "text_xxh3_128")
_ROWS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Measures:
    """What an order is of: ``tokens`` of its documents in one epoch, ``samples_in_order`` of all epochs;
    ``steps`` of ``batch_size`` samples of ``seq_length`` that training reads."""

    tokens: int
    samples_in_order: int
    samples: int
    steps: int
    batch_size: int
    seq_length: int


@dataclass(frozen=True, slots=True)
class KeptSummary:
    """What `make_order_like` made, and what changed: ``before`` in the other order, ``after`` in this."""

    summary: OrderSummary
    before: Measures
    after: Measures


def make_order_like(
    data: str | Path | TokenDataset,
    like: str | Path | TokenDataset,
    *,
    like_order: str | os.PathLike[str] | None = None,
    seq_length: int | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    num_samples: int | None = None,
    name: str | None = None,
    names: str = "neox",
    output: Path | None = None,
) -> KeptSummary:
    """Make the order of ``data`` in which its documents come as they do in the order of ``like``.

    Both are token datasets of one corpus: each document of one is, by ``documents.parquet``, the same text
    from the same shard and row as in the other. ``like_order`` names the order where ``like`` has several.
    What is not given is as in that order, but for the steps: without ``steps`` or ``num_samples`` training
    reads as many whole batches as fit the same share of the order, so that it reads the same share of the
    corpus. The samples are shuffled by the same recipe and seed.

    Raises DataError where the datasets are not of the same documents, ParameterError for what has no
    order of documents to keep (blends, overlays, sequential orders, maps without a record).
    """
    other = _dataset(like)
    dataset = _dataset(data)
    if output is None and dataset.is_remote:
        raise ParameterError(f"{dataset.name}: name the directory for the order with -o (output=)")
    place = find_order(other.store, other.prefix, like_order)
    old = _record(other, place)
    _check_same_documents(dataset, other)
    before = _measures(old, checked_sizes(other))
    batch_size = batch_size if batch_size is not None else old.batch_size
    seq_length = seq_length if seq_length is not None else old.seq_length
    name = name if name is not None else old.name
    sizes = checked_sizes(dataset)
    if steps is None and num_samples is None:
        steps = _same_share(dataset, old, sizes, before, seq_length, batch_size)
    num_samples, samples = stream_length(steps, batch_size, num_samples)
    if old.like is not None:
        apart = old.like.last_apart
    else:
        apart = old.recipe == "megatron-core" and is_last_apart(
            before.tokens, old.seq_length, old.epochs, old.num_samples
        )
    record = OrderRecord(
        label=order_label(dataset, old.recipe, name, num_samples, seq_length, old.seed, names),
        recipe=old.recipe,
        name=name,
        seed=old.seed,
        seq_length=seq_length,
        batch_size=batch_size,
        num_samples=num_samples,
        samples=samples,
        steps=samples // batch_size,
        epochs=old.epochs,
        documents=old.documents,
        split=old.split,
        index=dataset.index_identity,
        dataset=None if dataset.is_remote else dataset.identity,
        manifest=dataset.manifest.identity if dataset.manifest else None,
        sequences=dataset.n_sequences,
        data_bytes=dataset.data_bytes,
        files=(),
        like=KeptOrder(old.label, old.identity, old.dataset, old.manifest, apart),
    )

    def check(order: Order) -> None:
        if not np.array_equal(order.doc_idx, OrderMaps.open(place).doc_idx.whole()):
            raise DataError(
                f"{place.store.name}/{place.file_names()[0]}: not what the recipe {old.recipe} makes with "
                f"seed {old.seed}; make the order again"
            )

    summary = publish_order(dataset, sizes, record, output, check)
    return KeptSummary(summary, before, _measures(summary.record, sizes))


def _dataset(location: str | Path | TokenDataset) -> TokenDataset:
    """Open a token dataset; ParameterError for an overlay or a blend, which has no documents of its own."""
    if isinstance(location, TokenDataset):
        return location
    name = os.fspath(location)
    if is_url(name) or os.path.isdir(name):
        store = open_store(name)
        if store.read(OVERLAY_NAME) is not None:
            raise ParameterError(
                f"{store.name}: an overlay, which has no documents of its own; name its parent"
            )
        content = store.read(ORDER_NAME)
        if content is not None and isinstance(
            parse_record(content, f"{store.name}/{ORDER_NAME}"), BlendRecord
        ):
            raise ParameterError(f"{store.name}: a blend of several datasets; name one dataset with an order")
    return TokenDataset.open(location)


def _record(other: TokenDataset, place: OrderPlace) -> OrderRecord:
    """Return the record of the order whose documents are kept."""
    record = place.record
    if isinstance(record, BlendRecord):
        raise ParameterError(f"{place.name}: a blend of several datasets; name one dataset with an order")
    if place.label == SEQUENTIAL or (record is not None and record.recipe == SEQUENTIAL):
        raise ParameterError(f"{place.name}: a sequential order, which has no order of documents to keep")
    if record is None:
        raise ParameterError(
            f"{place.name}: maps without a record of their recipe; run `pile-tools order` with the "
            "parameters that made them, which leaves them as they are"
        )
    if record.difference(other) is not None:
        raise DataError(f"{place.name}: an order of another token dataset than {other.name}; name its own")
    return record


def _measures(record: OrderRecord, sizes: npt.NDArray[np.int32]) -> Measures:
    start, stop = record.documents
    tokens = int(sizes[start:stop].sum(dtype=np.int64))
    samples = count_samples(tokens, record.seq_length, record.epochs)
    return Measures(tokens, samples, record.samples, record.steps, record.batch_size, record.seq_length)


def _same_share(
    dataset: TokenDataset,
    old: OrderRecord,
    sizes: npt.NDArray[np.int32],
    before: Measures,
    seq_length: int,
    batch_size: int,
) -> int:
    """Return how many whole steps the share of the order is that training read of the other one."""
    if seq_length < 1 or batch_size < 1:
        raise ParameterError(f"seq_length {seq_length} and batch_size {batch_size} must be at least 1")
    start, stop = old.documents
    tokens = int(sizes[start:stop].sum(dtype=np.int64))
    samples = count_samples(tokens, seq_length, old.epochs)
    steps = old.samples * samples // before.samples_in_order // batch_size
    if steps < 1:
        raise ParameterError(
            f"{dataset.name}: {samples} samples of seq_length {seq_length} in {old.epochs} epochs, of which "
            f"the share that {old.label} reads is not one step of {batch_size}; give a smaller --batch-size"
        )
    return steps


def _check_same_documents(dataset: TokenDataset, other: TokenDataset) -> None:
    """Raise DataError unless both are of the same texts, from the same shards and rows, in the same order."""
    if dataset.n_sequences != other.n_sequences:
        raise DataError(
            f"{dataset.name}: {dataset.n_sequences} documents, but {other.name} has {other.n_sequences}; "
            "they are not of the same corpus"
        )
    first = 0
    ours, theirs = _provenance(dataset), _provenance(other)
    for one, two in zip(_batches(ours), _batches(theirs), strict=True):
        differs = np.zeros(one.num_rows, bool)
        for name in _COMPARED:
            same = pc.equal(one.column(name), two.column(name))
            differs |= ~same.to_numpy(zero_copy_only=False)
        if differs.any():
            place = int(np.argmax(differs))
            raise DataError(_difference(dataset, other, first + place, one, two, place))
        first += one.num_rows


def _difference(
    dataset: TokenDataset, other: TokenDataset, document: int, one: pa.Table, two: pa.Table, place: int
) -> str:
    mine, theirs = (
        f"{table.column('shard')[place].as_py()} row {table.column('row')[place].as_py()}"
        for table in (one, two)
    )
    if mine != theirs:
        found = f"document {document} is {mine}, but {theirs} in {other.name}"
    else:
        found = f"document {document} ({mine}) has another text than in {other.name}"
    return f"{dataset.name}: {found}; they are not of the same corpus"


def _provenance(dataset: TokenDataset) -> Provenance:
    try:
        source = dataset.open_beside(PROVENANCE_NAME)
    except MissingFileError:
        raise DataError(
            f"{dataset.store.name}/{PROVENANCE_NAME}: missing, so it is not known which documents these are; "
            "make the dataset with `pile-tools tokenize`"
        ) from None
    file: Any = SourceFile(source)
    found = Provenance(file, source.name)
    if len(found) != dataset.n_sequences:
        raise DataError(
            f"{source.name}: {len(found)} documents, but the token dataset beside it has "
            f"{dataset.n_sequences}"
        )
    return found


def _batches(provenance: Provenance) -> Iterator[pa.Table]:
    """Yield the compared columns, so many rows at a time whatever the row groups of the file are."""
    held = pa.table({})
    for table in provenance.tables(_COMPARED):
        table = table.set_column(0, "shard", table.column("shard").cast(pa.string()))
        held = pa.concat_tables([held, table]) if held.num_rows else table
        while held.num_rows >= _ROWS:
            yield held.slice(0, _ROWS)
            held = held.slice(_ROWS)
    if held.num_rows:
        yield held
