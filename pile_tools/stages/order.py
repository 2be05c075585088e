"""Make the order in which training reads a token dataset: three index maps and ``order.json``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pile_tools.algorithms.recipes import Order, neox_order
from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.mmidx import check_index
from pile_tools.formats.order_files import (
    ORDER_NAME,
    MapNames,
    OrderPlace,
    OrderRecord,
    list_orders,
    write_array,
)
from pile_tools.formats.token_dataset import TokenDataset

__all__ = ["RECIPES", "OrderSummary", "make_order"]

RECIPES: Final = ("neox",)


@dataclass(frozen=True, slots=True)
class OrderSummary:
    """What `make_order` made: the record, where it is, and whether it was there before."""

    record: OrderRecord
    path: Path
    documents: int
    tokens: int
    samples_in_order: int
    existed: bool


def make_order(
    data: str | Path,
    *,
    seq_length: int = 2048,
    batch_size: int = 1024,
    steps: int | None = None,
    num_samples: int | None = None,
    seed: int = 1234,
    recipe: str = "neox",
    name: str = "train_0",
    output: Path | None = None,
) -> OrderSummary:
    """Make the order of the token dataset at ``data`` and write it beside the dataset or into ``output``.

    ``num_samples`` is the number that the recipe is given, steps × batch_size unless said; the stream is
    the first steps × batch_size samples, or ``num_samples`` where no steps are given. The very same
    order is left as it is. Raises ParameterError for parameters that make no order, DataError for a
    damaged dataset or where another order is in the way.
    """
    if recipe not in RECIPES:
        raise ParameterError(f"recipe {recipe!r} is none of {', '.join(RECIPES)}")
    if not name or "/" in name or "\0" in name:
        raise ParameterError(f"an order cannot be named {name!r}; use letters, digits and underscores")
    num_samples, samples = _stream(steps, batch_size, num_samples)
    dataset = TokenDataset.open(data)
    check_index(dataset.index)
    directory = output or dataset.directory
    names = MapNames(f"{dataset.prefix.name}_{name}", num_samples, seq_length, seed)
    record = OrderRecord(
        label=names.label,
        recipe=recipe,
        name=name,
        seed=seed,
        seq_length=seq_length,
        batch_size=batch_size,
        num_samples=num_samples,
        samples=samples,
        steps=samples // batch_size,
        epochs=0,
        dataset=dataset.identity,
        manifest=dataset.manifest.identity if dataset.manifest else None,
        files=(),
    )
    directory.mkdir(parents=True, exist_ok=True)
    path, finished = _find_finished(directory, dataset.prefix.name, record)
    if finished is None:
        try:
            order = neox_order(dataset.index.sizes, seq_length=seq_length, num_samples=num_samples, seed=seed)
        except (ParameterError, DataError) as error:
            raise type(error)(f"{dataset.prefix}: {error}") from None
        record = _write(directory, path, record, order)
    else:
        record = finished
    samples_in_order = (record.epochs * dataset.n_tokens - 1) // seq_length
    return OrderSummary(
        record, path, dataset.n_sequences, dataset.n_tokens, samples_in_order, finished is not None
    )


def _stream(steps: int | None, batch_size: int, num_samples: int | None) -> tuple[int, int]:
    """Return num_samples and the length of the stream in samples."""
    if batch_size < 1:
        raise ParameterError(f"batch_size {batch_size} must be at least 1")
    if steps is not None and steps < 1:
        raise ParameterError(f"steps {steps} must be at least 1")
    if num_samples is not None and num_samples < 1:
        raise ParameterError(f"num_samples {num_samples} must be at least 1")
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
    for old in (place.record for place in list_orders(directory, prefix)):
        if old is None or old.label != record.label:
            continue
        path = _record_path(directory, old)
        if old.dataset != record.dataset or old.manifest != record.manifest:
            raise DataError(f"{path}: an order of another token dataset; remove it and its maps, or use -o")
        if replace(old, epochs=0, files=()) == record:
            missing = [entry.name for entry in old.files if not (directory / entry.name).is_file()]
            return path, None if missing else old
        raise PileToolsError(
            f"{path}: the same maps with {_differences(old, record)}; any batch size reads them "
            "(--batch-size), or give another --name"
        )
    first = directory / ORDER_NAME
    return (directory / f"{record.label}_{ORDER_NAME}" if first.exists() else first), None


def _record_path(directory: Path, record: OrderRecord) -> Path:
    own = directory / f"{record.label}_{ORDER_NAME}"
    return own if own.exists() else directory / ORDER_NAME


def _differences(old: OrderRecord, new: OrderRecord) -> str:
    fields = ("recipe", "name", "batch_size", "samples", "steps")
    pairs = [(field, getattr(old, field), getattr(new, field)) for field in fields]
    return ", ".join(f"{field} {one}, now {two}" for field, one, two in pairs if one != two)


def _write(directory: Path, path: Path, record: OrderRecord, order: Order) -> OrderRecord:
    place = OrderPlace(directory, record.label, None)
    files = (
        write_array(place.path("doc_idx"), order.doc_idx),
        write_array(place.path("sample_idx"), order.sample_idx),
        write_array(place.path("shuffle_idx"), order.shuffle_idx),
    )
    record = replace(record, epochs=order.epochs, files=files)
    record.write(path)
    return record
