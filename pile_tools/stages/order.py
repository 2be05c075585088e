"""Make the order in which training reads a token dataset: three index maps and ``order.json``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.blend import SPLIT_PARTS, split_documents
from pile_tools.algorithms.recipes import (
    Order,
    count_epochs,
    count_samples,
    megatron_core_order,
    neox_order,
)
from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.atomic import sweep_partials
from pile_tools.formats.free_space import require_space
from pile_tools.formats.locks import DirectoryLock, remove_stray_lock
from pile_tools.formats.machine import memory_bytes
from pile_tools.formats.map_files import write_array
from pile_tools.formats.mmidx import check_index
from pile_tools.formats.names import name_problem, path_inside
from pile_tools.formats.order_files import PACKINGS, SEQUENTIAL, MapNames, OrderPlace, list_orders
from pile_tools.formats.order_record import ORDER_NAME, OrderRecord
from pile_tools.formats.store import LocalStore
from pile_tools.formats.token_dataset import TokenDataset

__all__ = [
    "MANY_EPOCHS",
    "RECIPES",
    "OrderSummary",
    "checked_sizes",
    "make_order",
    "new_record",
    "order_label",
    "publish_order",
    "remake",
    "stream_length",
]

# Documents that are read more often than this teach a model little more (Muennighoff et al. 2023).
MANY_EPOCHS: Final = 4
RECIPES: Final = ("neox", "megatron-core", SEQUENTIAL)


@dataclass(frozen=True, slots=True)
class OrderSummary:
    """What `make_order` made: the record, where it is, and whether it was there before.

    ``documents`` and ``tokens`` that the order draws on; ``samples_in_order`` that one pass over it has.
    """

    record: OrderRecord
    path: Path
    documents: int
    tokens: int
    samples_in_order: int
    existed: bool

    @property
    def steps_in_epoch(self) -> int:
        """Whole steps that one epoch of the documents has."""
        return count_samples(self.tokens, self.record.seq_length, 1) // self.record.batch_size

    @property
    def warning(self) -> str | None:
        """What is to be said of an order of many epochs: how far one of them reaches; None of any other."""
        epochs = self.record.epochs
        if epochs <= MANY_EPOCHS:
            return None
        return (
            f"{self.path}: order {self.record.label} has {epochs:,} epochs; one epoch has "
            f"{self.steps_in_epoch:,} steps of {self.record.batch_size:,} (--steps)"
        )


def make_order(
    data: str | Path | TokenDataset,
    *,
    seq_length: int = 2048,
    batch_size: int = 1024,
    steps: int | None = None,
    num_samples: int | None = None,
    seed: int = 1234,
    recipe: str = "neox",
    name: str | None = None,
    split: str | None = None,
    part: str = "train",
    names: str = "neox",
    output: Path | None = None,
) -> OrderSummary:
    """Make the order of the token dataset ``data`` and write it beside the dataset or into ``output``.

    Of a dataset behind a URL, which needs an ``output``, the sizes of its documents are fetched.

    ``num_samples`` is the number that the recipe is given, steps × batch_size unless said; the stream is
    the first steps × batch_size samples, or ``num_samples`` where no steps are given. ``split`` such as
    "969,30,1" draws on the documents of its ``part`` only (train, valid or test). ``name`` is "train_0",
    and with a split the part, as GPT-NeoX calls them; ``names`` "neox-2024" writes the maps under the
    names by which GPT-NeoX since 2024 finds them. The very same order is left as it is.

    Raises ParameterError for parameters that make no order, DataError for a damaged dataset or where
    another order is in the way.
    """
    if recipe not in RECIPES:
        raise ParameterError(f"recipe {recipe!r} is none of {', '.join(RECIPES)}")
    if part not in SPLIT_PARTS:
        raise ParameterError(f"part {part!r} is none of {', '.join(SPLIT_PARTS)}")
    if part != "train" and split is None:
        raise ParameterError(f"part {part!r} is one of a split; give the --split (split=), such as 969,30,1")
    name = name if name is not None else part if split is not None else "train_0"
    num_samples, samples = stream_length(steps, batch_size, num_samples)
    dataset = data if isinstance(data, TokenDataset) else TokenDataset.open(data)
    if output is None and dataset.is_remote:
        raise ParameterError(f"{dataset.name}: name the directory for the order with -o (output=)")
    label = order_label(dataset, recipe, name, num_samples, seq_length, seed, names)
    sizes = checked_sizes(dataset)
    documents = (0, dataset.n_sequences)
    if split is not None:
        documents = split_documents(split, dataset.n_sequences, recipe)[SPLIT_PARTS.index(part)]
        if documents[0] < 0 or documents[1] <= documents[0]:
            raise ParameterError(f"{dataset.name}: split {split} of its documents leaves none to {part}")
    record = new_record(
        dataset,
        label=label,
        recipe=recipe,
        name=name,
        seed=seed,
        seq_length=seq_length,
        batch_size=batch_size,
        num_samples=num_samples,
        samples=samples,
        documents=documents,
        split=split,
    )
    return publish_order(dataset, sizes, record, output)


def new_record(
    dataset: TokenDataset,
    *,
    label: str,
    recipe: str,
    name: str,
    seed: int,
    seq_length: int,
    batch_size: int,
    num_samples: int,
    samples: int,
    documents: tuple[int, int],
    split: str | None,
) -> OrderRecord:
    """Return the record of an order of ``dataset`` whose arrays are yet to be made."""
    return OrderRecord(
        label=label,
        recipe=recipe,
        name=name,
        seed=seed,
        seq_length=seq_length,
        batch_size=batch_size,
        num_samples=num_samples,
        samples=samples,
        steps=samples // batch_size,
        epochs=1,
        documents=documents,
        split=split,
        index=dataset.index_identity,
        dataset=None if dataset.is_remote else dataset.identity,
        manifest=dataset.manifest.identity if dataset.manifest else None,
        sequences=dataset.n_sequences,
        data_bytes=dataset.data_bytes,
        files=(),
    )


def publish_order(
    dataset: TokenDataset,
    sizes: npt.NDArray[np.int32],
    record: OrderRecord,
    output: Path | None,
    check: Callable[[Order], None] = lambda order: None,
) -> OrderSummary:
    """Make the arrays of ``record``, the record of an order without them, and write them and it.

    ``check`` may refuse the arrays before they are written.
    """
    directory = output or dataset.directory
    path, finished = _find_finished(directory, dataset.prefix, record)
    made = finished
    if made is not None:
        remove_stray_lock(directory)
    else:  # a finished order needs no lock, which a directory that is read-only could not give
        with DirectoryLock(directory):
            sweep_partials(directory, own=False)
            path, finished = _find_finished(directory, dataset.prefix, record)  # another run may have ended
            path_inside(directory, path.name)
            made = finished or _make(dataset, sizes, record, directory, check)
            if finished is None:
                made.write(path)
    start, stop = record.documents
    tokens = int(sizes[start:stop].sum(dtype=np.int64))
    if record.recipe == SEQUENTIAL:
        in_order = dataset.n_sequences
    else:
        in_order = count_samples(tokens, record.seq_length, made.epochs)
    return OrderSummary(made, path, stop - start, tokens, in_order, finished is not None)


def _make(
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


def order_label(
    dataset: TokenDataset,
    recipe: str,
    name: str,
    num_samples: int,
    seq_length: int,
    seed: int,
    names: str = "neox",
) -> str:
    """Return the label of an order; ParameterError for a ``name`` that no file can have."""
    if names not in PACKINGS:
        raise ParameterError(f"names {names!r} is none of {', '.join(PACKINGS)}")
    if name_problem(name, nested=False) is not None:
        raise ParameterError(f"an order cannot be named {name!r}; use letters, digits and underscores")
    base = f"{dataset.prefix}_{name}"
    label = MapNames(base, num_samples, seq_length, seed, PACKINGS[names]).label
    if recipe == SEQUENTIAL:
        if names != "neox":
            raise ParameterError(f"names {names!r}: a sequential order has no maps to name; leave it out")
        label = f"{base}_{SEQUENTIAL}_{num_samples}ns_{seq_length}sl"
    problem = name_problem(label, nested=False)
    if problem is not None:
        raise ParameterError(f"{dataset.name}: an order called {label!r:.200}, {problem}; rename one")
    return label


def stream_length(steps: int | None, batch_size: int, num_samples: int | None) -> tuple[int, int]:
    """Return num_samples and the length of the stream in samples (see ``make_order``)."""
    given: Mapping[str, int | None] = {"batch_size": batch_size, "steps": steps, "num_samples": num_samples}
    for name, value in given.items():
        if value is not None and value < 1:
            raise ParameterError(f"{name} {value} must be at least 1")
    if num_samples is None:
        if steps is None:
            raise ParameterError("give the number of steps (or num_samples), for the order depends on it")
        return steps * batch_size, steps * batch_size
    samples = num_samples if steps is None else steps * batch_size
    if samples > num_samples:
        raise ParameterError(
            f"{steps} steps of {batch_size} read {samples} samples, more than num_samples {num_samples}"
        )
    return num_samples, samples


def _find_finished(directory: Path, prefix: str, record: OrderRecord) -> tuple[Path, OrderRecord | None]:
    """Return where ``record`` is to be written, and the record there if it is this very order."""
    own = directory / f"{record.label}_{ORDER_NAME}"
    first = directory / ORDER_NAME
    orders = list_orders(LocalStore(directory), prefix) if directory.is_dir() else []
    for old in (place.record for place in orders):
        if old is None or old.label != record.label:
            continue
        path = own if own.exists() else first
        if not isinstance(old, OrderRecord):
            raise PileToolsError(f"{path}: a blend of that name; choose another --name")
        if (old.index, old.dataset) != (record.index, record.dataset):
            raise DataError(f"{path}: an order of another token dataset; remove it and its maps, or use -o")
        same = replace(old, files=(), digests=None, manifest=record.manifest)
        if (same if record.like else replace(same, epochs=record.epochs)) == record:
            missing = [entry.name for entry in old.files if not entry.path(directory).is_file()]
            # The same tokens may have been made again in other shards, which another manifest tells.
            return path, None if missing or old.manifest != record.manifest else old
        raise PileToolsError(
            f"{path}: the same maps with {_differences(old, record)}; any batch size reads them "
            "(--batch-size), or give another --name"
        )
    return (own if first.exists() else first), None


def _differences(old: OrderRecord, new: OrderRecord) -> str:
    fields = ("recipe", "name", "batch_size", "samples", "steps", "split", "documents")
    pairs = [(field, getattr(old, field), getattr(new, field)) for field in fields]
    kept = [record.like.record[:12] + "…" if record.like else None for record in (old, new)]
    pairs.append(("like", kept[0], kept[1]))
    return ", ".join(f"{field} {one}, now {two}" for field, one, two in pairs if one != two)


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
