"""Make the order in which training reads a token dataset: three index maps and ``order.json``."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.orders.blend import SPLIT_PARTS, split_documents
from pile_tools.algorithms.orders.recipes import Order, count_samples
from pile_tools.errors import MismatchError, OccupiedError, ParameterError
from pile_tools.formats.index_maps import SEQUENTIAL, list_orders
from pile_tools.formats.order_json import ORDER_NAME, OrderRecord
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.jobs.file_group import FileGroup
from pile_tools.stages.order.arrays import checked_sizes, make_arrays
from pile_tools.stages.order.record import new_record, order_label, stream_length
from pile_tools.storage.names import path_inside
from pile_tools.storage.store import LocalStore

__all__ = [
    "MANY_EPOCHS",
    "RECIPES",
    "OrderFiles",
    "OrderSummary",
    "make_order",
    "plan_order",
    "publish_order",
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
    dataset, record = plan_order(
        data,
        seq_length=seq_length,
        batch_size=batch_size,
        steps=steps,
        num_samples=num_samples,
        seed=seed,
        recipe=recipe,
        name=name,
        split=split,
        part=part,
        names=names,
        output=output,
    )
    return publish_order(dataset, checked_sizes(dataset), record, output)


def plan_order(
    data: str | Path | TokenDataset,
    *,
    seq_length: int,
    batch_size: int,
    num_samples: int | None,
    seed: int,
    recipe: str,
    name: str | None,
    names: str,
    output: Path | None,
    steps: int | None = None,
    split: str | None = None,
    part: str = "train",
) -> tuple[TokenDataset, OrderRecord]:
    """Return the token dataset ``data`` and the record of the order that ``make_order`` makes of it."""
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
    return dataset, record


class OrderFiles(FileGroup):
    """The order of ``record`` in ``directory``, of the token dataset ``prefix``: its maps and its record.

    ``path`` is that of the record; ``existing`` the record of this very order where it is there whole.
    """

    def __init__(self, directory: Path, prefix: str, record: OrderRecord) -> None:
        super().__init__(directory)
        self.prefix, self.record = prefix, record
        self.path = directory / ORDER_NAME
        self.existing: OrderRecord | None = None

    def is_finished(self) -> bool:
        self.path, self.existing = _find_finished(self.directory, self.prefix, self.record)
        return self.existing is not None


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
    with OrderFiles(directory, dataset.prefix, record) as group:
        made = group.existing
        if made is None:
            path_inside(directory, group.path.name)  # refused before hours of work
            made = make_arrays(dataset, sizes, record, directory, check)
            group.finish(group.path.name, made.to_bytes(), made.files)
    start, stop = record.documents
    tokens = int(sizes[start:stop].sum(dtype=np.int64))
    if record.recipe == SEQUENTIAL:
        in_order = dataset.n_sequences
    else:
        in_order = count_samples(tokens, record.seq_length, made.epochs)
    return OrderSummary(made, group.path, stop - start, tokens, in_order, group.finished)


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
            raise OccupiedError(f"{path}: a blend of that name; choose another --name")
        if (old.index, old.dataset) != (record.index, record.dataset):
            raise MismatchError(
                f"{path}: an order of another token dataset; remove it and its maps, or use -o"
            )
        same = replace(old, files=(), digests=None, manifest=record.manifest)
        if (same if record.like else replace(same, epochs=record.epochs)) == record:
            missing = [entry.name for entry in old.files if not entry.is_in(directory)]
            # The same tokens may have been made again in other shards, which another manifest tells.
            return path, None if missing or old.manifest != record.manifest else old
        raise OccupiedError(
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
