"""Whether an order is what its recipe and seed make of its documents."""

from pathlib import Path
from typing import Any

import numpy as np

from pile_tools.algorithms.blend import blend_indices, normalized_weights, parse_weights
from pile_tools.algorithms.recipes import neox_order
from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.map_files import read_array
from pile_tools.formats.order_files import SEQUENTIAL, MapNames, OrderMaps, OrderPlace, list_orders
from pile_tools.formats.order_record import BlendPart, BlendRecord, OrderRecord
from pile_tools.formats.store import LocalStore, open_listed
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.formats.urls import joined
from pile_tools.stages.order import remake
from pile_tools.stages.overlay_order import OverlayOrder

__all__ = ["verify_blend", "verify_recipe"]


def verify_recipe(place: OrderPlace, dataset: TokenDataset) -> str:
    """Make the order at ``place`` of ``dataset`` anew and compare; return what was found, in a few words.

    Raises DataError where an order with a record is not what its recipe and parameters make. Bare maps may be
    of a split that their names do not tell, so of them it is only said whether they are those of ``neox``.
    """
    record = place.record
    if isinstance(record, OrderRecord):
        if record.recipe == SEQUENTIAL:
            return "sequential"
        made = remake(dataset, record, dataset.sizes.whole())
        differing = _first_difference(place, (made.doc_idx, made.sample_idx, made.shuffle_idx))
        if differing is not None:
            raise DataError(
                f"{place.store.name}/{differing}: not what the recipe {record.recipe} makes with seed "
                f"{record.seed}; make the order again"
            )
        return f"as the recipe {record.recipe} makes it with seed {record.seed}"
    names = MapNames.parse(place.label)
    if names is None:
        return "maps of an unknown recipe"
    # Without num_samples the number of epochs was set, and doc_idx is that many times as long as the dataset.
    epochs = None
    if names.num_samples is None:
        epochs = max(1, len(OrderMaps.open(place).doc_idx) // max(1, dataset.n_sequences))
    try:
        made = neox_order(
            dataset.sizes.whole(),
            seq_length=names.seq_length,
            num_samples=names.num_samples or 1,
            seed=names.seed,
            epochs=epochs,
        )
    except ParameterError:
        return "maps of an unknown recipe"
    if _first_difference(place, (made.doc_idx, made.sample_idx, made.shuffle_idx)) is None:
        return f"as the recipe neox makes it with seed {names.seed}"
    return (
        f"not what the recipe neox makes with seed {names.seed} of all documents: a split, or another tool's"
    )


def _first_difference(place: OrderPlace, made: tuple[Any, ...]) -> str | None:
    """Return the name of the first file of ``place`` that does not hold the array made, or None."""
    maps = OrderMaps.open(place)
    stored = (maps.doc_idx.whole(), maps.sample_idx.whole(), maps.shuffle_idx.whole())
    for name, one, two in zip(place.file_names(), stored, made, strict=True):
        if one.dtype != two.dtype or not np.array_equal(one, two):
            return name
    return None


def verify_blend(place: OrderPlace, record: BlendRecord, directory: Path) -> str:
    """Make the blend in ``directory`` anew, its orders included, and compare; DataError where it differs."""
    weights = parse_weights([part.weight for part in record.parts])
    shares = normalized_weights(weights, record.recipe)
    store = LocalStore(directory)
    for entry, array in zip(
        record.files, blend_indices(shares, record.num_samples, record.recipe), strict=True
    ):
        stored = read_array(open_listed(store, entry), 1, (array.dtype.name,)).whole()
        if not np.array_equal(stored, array):
            raise DataError(f"{directory / entry.name}: not what the weights make; make the blend again")
    orders = {found.label: found for found in list_orders(LocalStore(directory / "orders"), None)}
    for part in record.parts:
        if part.overlay is not None:
            _verify_overlay(part, directory)
            continue
        if part.order not in orders:
            raise DataError(f"{place.name}: order {part.order} is missing; make the blend again")
        dataset = TokenDataset.open(joined(str(directory), part.data))
        verify_recipe(orders[part.order], dataset)
    return f"a blend of {len(record.parts)}, as its weights and the recipe {record.recipe} make it"


def _verify_overlay(part: BlendPart, directory: Path) -> None:
    """Check that the overlay of a blend is the one with which it was made, and the order that it changes."""
    location = joined(str(directory), part.data)
    overlay = OverlayOrder.find(location)
    if overlay is None or overlay.record.identity != part.overlay:
        raise DataError(f"{location}: not the overlay with which the blend was made; make the blend again")
    verify_recipe(overlay.order, overlay.dataset)
