"""From a suite to its stream."""

import os
from collections.abc import Sequence
from typing import Final

from pile_tools.errors import MismatchError, MissingFileError, ParameterError
from pile_tools.formats.index_maps import SEQUENTIAL, MapNames, OrderPlace, find_order, list_orders
from pile_tools.formats.token_dataset import TokenDataset, find_dataset
from pile_tools.storage.block_cache import BlockCache
from pile_tools.storage.store import Io, open_store
from pile_tools.stream.opening import OpenedStream, open_component
from pile_tools.suites import Suite

__all__ = ["open_suite", "open_suite_dataset"]

# Index maps that an error lists where none of them is the order.
_MOST_NAMED: Final = 8


def open_suite_dataset(suite: Suite, io: Io = "mmap", cache: BlockCache | None = None) -> TokenDataset:
    """Open the dataset of ``suite``; DataError where it is not what the suite says."""
    wanted = suite.dataset
    if wanted.prefix is None:
        store, prefix = find_dataset(wanted.location, io=io, cache=cache)
    else:
        store, prefix = open_store(wanted.location, io=io, cache=cache), wanted.prefix
    dataset = TokenDataset(store, prefix, wanted.layout())
    for what, expected, found in (
        ("tokens are", wanted.dtype, dataset.dtype.name),
        ("number of sequences is", wanted.sequences, dataset.n_sequences),
        ("number of data files is", wanted.shards, len(dataset.parts)),
    ):
        if expected is not None and expected != found:
            raise MismatchError(f"{dataset.name}: the {what} {found}, but suite {suite.name} says {expected}")
    return dataset


def open_suite(
    suite: Suite,
    order: str | os.PathLike[str] | None = None,
    io: Io = "mmap",
    cache: BlockCache | None = None,
) -> OpenedStream:
    """Open the stream that the models of ``suite`` read, at the suite's batch size.

    ``order`` names one of the suite's orders ("seed3"), or a directory of maps that were made for it.
    """
    dataset = open_suite_dataset(suite, io, cache)
    samples = suite.steps * suite.batch_size
    if suite.order.recipe == SEQUENTIAL:
        if order is not None:
            raise ParameterError(f"suite {suite.name} has one order, and no {os.fspath(order)!r}")
        place = OrderPlace(dataset.store, SEQUENTIAL, None, SEQUENTIAL)
    else:
        place = _find_maps(suite, dataset, order, io, cache)
    stream = open_component(dataset, place, suite.seq_length)
    component = stream.components[0]
    if component.seq_length != suite.seq_length or component.n_samples < samples:
        raise MismatchError(
            f"{place.name}: {component.n_samples} samples of {component.seq_length} tokens, but suite "
            f"{suite.name} reads {samples} of {suite.seq_length}"
        )
    return OpenedStream(stream.components, place, None, suite.batch_size, 0, samples)


def _find_maps(
    suite: Suite,
    dataset: TokenDataset,
    order: str | os.PathLike[str] | None,
    io: Io,
    cache: BlockCache | None,
) -> OrderPlace:
    """Return the maps of one of the suite's orders: published ones, or made ones at the path ``order``."""
    seeds = suite.order.seeds or {}
    names = {f"seed{name}": seed for name, seed in seeds.items()}
    if order is None and len(names) == 1:
        order = next(iter(names))
    if order is None:
        raise ParameterError(
            f"suite {suite.name} has several orders; name one with --order: {', '.join(names)}"
        )
    name = os.fspath(order)
    if name not in names:
        return find_order(dataset.store, dataset.prefix, order, io=io, cache=cache)
    store = open_store(suite.order.location or suite.dataset.location, io=io, cache=cache)
    there = [place for folder in (store, *store.folders()) for place in list_orders(folder, None)]
    found = _maps_of(there, name, names[name], suite)
    if len(found) == 1:
        return found[0]
    seen = ", ".join(place.name for place in found) or "no index maps of it"
    if there and not found:
        seen += f" among {', '.join(place.name for place in there[:_MOST_NAMED])}"
        seen += f" and {len(there) - _MOST_NAMED} more" if len(there) > _MOST_NAMED else ""
    raise MissingFileError(
        f"{store.name}: order {name} of suite {suite.name} is expected here, but found: {seen}; make it with "
        f"`pile-tools order --suite {suite.name} --seed {names[name]} -o DIR` and name it with --order DIR"
    )


def _maps_of(places: Sequence[OrderPlace], name: str, seed: int, suite: Suite) -> list[OrderPlace]:
    """Return those of ``places`` that are the order ``name``, made with ``seed``, by their files' names.

    The folder decides only where names leave several, or where they are not of GPT-NeoX's form.
    """
    maps = [place for place in places if place.style == "neox" and _is_recipe(place, suite)]
    parsed = [(place, MapNames.parse(place.label)) for place in maps]
    told = [place for place, names in parsed if names is not None and _agrees(names, seed, suite)]
    inside = [place for place in told if _folder(place) == name]
    if told:
        return inside or told
    return [place for place, names in parsed if names is None and _folder(place) == name]


def _is_recipe(place: OrderPlace, suite: Suite) -> bool:
    return place.record is None or place.record.recipe == suite.order.recipe


def _agrees(names: MapNames, seed: int, suite: Suite) -> bool:
    """Whether files of these ``names`` are the suite's order of ``seed``, as far as the suite tells."""
    order = suite.order
    return (
        (names.seq_length, names.seed) == (suite.seq_length, seed)
        and order.num_samples in (None, names.num_samples)
        and (order.name is None or f"_{names.base}".endswith(f"_{order.name}"))
    )


def _folder(place: OrderPlace) -> str:
    return place.store.name.rpartition("/")[2]
