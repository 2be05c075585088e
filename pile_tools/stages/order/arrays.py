"""Index maps that the recipe of an order makes of its documents: how large they are, and what they hold."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.orders.recipes import (
    Order,
    count_epochs,
    count_samples,
    megatron_core_order,
    neox_order,
)
from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.index_maps import SEQUENTIAL, OrderPlace
from pile_tools.formats.mmidx import check_index
from pile_tools.formats.npy import write_array
from pile_tools.formats.order_json import OrderRecord
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.jobs.machine import memory_bytes
from pile_tools.storage.free_space import require_space
from pile_tools.storage.names import path_inside
from pile_tools.storage.store import LocalStore

__all__ = ["checked_sizes", "make_arrays", "remake"]


def checked_sizes(dataset: TokenDataset) -> npt.NDArray[np.int32]:
    """Return the sizes of all documents; DataError where the index is damaged."""
    if dataset.is_mapped:
        check_index(dataset.index)
        return dataset.index.sizes
    sizes = dataset.sizes.whole()
    described = int(sizes.sum(dtype=np.int64)) * dataset.dtype.itemsize
    if (sizes < 0).any() or described != dataset.data_bytes:
        raise DataError(f"{dataset.index_name}: sizes that do not add up to the data; it is damaged")
    return sizes


def remake(dataset: TokenDataset, record: OrderRecord, sizes: npt.NDArray[np.int32]) -> Order:
    """Return the arrays that the recipe and the parameters of ``record`` make of documents of ``sizes``."""
    _array_bytes(dataset, record, sizes)
    recipe: Callable[..., Order] = neox_order
    kept: dict[str, Any] = {"epochs": record.epochs} if record.like else {}
    if record.recipe == "megatron-core":
        recipe = megatron_core_order
        if record.like:
            kept["last_apart"] = record.like.last_apart
    try:
        return recipe(
            sizes,
            seq_length=record.seq_length,
            num_samples=record.num_samples,
            seed=record.seed,
            documents=record.documents,
            **kept,
        )
    except (ParameterError, DataError) as error:
        raise type(error)(f"{dataset.name}: {error}") from None


def _array_bytes(
    dataset: TokenDataset, record: OrderRecord, sizes: npt.NDArray[np.int32]
) -> tuple[int, int, int]:
    """Return how many bytes doc_idx, sample_idx and shuffle_idx of ``record`` have at least.

    Raises ParameterError where that is more than the memory here, before any of them is made. Zeros for
    parameters that make no order, of which the recipe says what is wrong.
    """
    start, stop = record.documents
    tokens = int(sizes[start:stop].sum(dtype=np.int64))
    if tokens < 2 or record.seq_length < 1:
        return 0, 0, 0
    epochs = record.epochs if record.like else count_epochs(tokens, record.seq_length, record.num_samples)
    samples = count_samples(tokens, record.seq_length, epochs)
    needed, memory = (4 * epochs * (stop - start), 8 * samples, 4 * samples), memory_bytes()
    if sum(needed) > memory:
        raise ParameterError(
            f"{dataset.name}: {record.num_samples} samples of {record.seq_length} tokens are {epochs} "
            f"epochs, whose order takes {sum(needed) / 1e9:,.0f} GB of memory, and here are "
            f"{memory / 1e9:,.0f}; ask for fewer steps"
        )
    return needed


def _array_names(directory: Path, record: OrderRecord) -> tuple[str, ...]:
    """Return the names of the files of doc_idx, sample_idx and shuffle_idx."""
    return OrderPlace(LocalStore(directory), record.label, None).file_names()


def _write(directory: Path, record: OrderRecord, order: Order) -> OrderRecord:
    names = _array_names(directory, record)
    arrays = (order.doc_idx, order.sample_idx, order.shuffle_idx)
    paths = [path_inside(directory, name) for name in names]
    files = tuple(write_array(path, array) for path, array in zip(paths, arrays, strict=True))
    return replace(record, epochs=order.epochs, files=files)


def _check_sequential(dataset: TokenDataset, record: OrderRecord, sizes: npt.NDArray[np.int32]) -> None:
    """Refuse a sequential order of sequences that are no samples, or of more than there are."""
    if record.seq_length < 1:
        raise ParameterError(f"{dataset.name}: seq_length {record.seq_length} must be at least 1")
    if not 0 <= record.seed < 2**32:
        raise ParameterError(f"{dataset.name}: seed {record.seed} must be from 0 to 2**32 - 1")
    if record.split is not None:
        raise ParameterError("a sequential order is of all sequences; it has no --split")
    wrong = (sizes != record.seq_length + 1).nonzero()[0]
    if len(wrong):
        raise ParameterError(
            f"{dataset.name}: sequence {wrong[0]} has {sizes[wrong[0]]} tokens, not the "
            f"{record.seq_length + 1} of a sample of seq_length {record.seq_length}"
        )
    if record.num_samples > len(sizes):
        raise ParameterError(
            f"{dataset.name}: {len(sizes)} sequences, but {record.num_samples} samples are asked for; a "
            "sequential order repeats none"
        )


def make_arrays(
    dataset: TokenDataset,
    sizes: npt.NDArray[np.int32],
    record: OrderRecord,
    directory: Path,
    check: Callable[[Order], None],
) -> OrderRecord:
    """Write the arrays of ``record`` into ``directory``; return the record that lists them."""
    if record.recipe == SEQUENTIAL:
        _check_sequential(dataset, record, sizes)
        return record
    needed = _array_bytes(dataset, record, sizes)
    names = _array_names(directory, record)
    absent = (size for name, size in zip(names, needed, strict=True) if not (directory / name).exists())
    require_space(directory, sum(absent))
    order = remake(dataset, record, sizes)
    check(order)
    return _write(directory, record, order)
