"""From a location and the name of an order to the components of a stream."""

import hashlib
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.block_cache import BlockCache
from pile_tools.formats.manifest import canonical_json
from pile_tools.formats.map_files import read_array
from pile_tools.formats.order_files import (
    SEQUENTIAL,
    OrderMaps,
    OrderPlace,
    find_order,
    list_orders,
    unlisted_order,
)
from pile_tools.formats.order_record import ORDER_NAME, BlendPart, BlendRecord, OrderRecord, parse_record
from pile_tools.formats.overlay import PARENT_NAME, OverlayRecord, ParentPlace, overlay_at
from pile_tools.formats.proofs import Claim
from pile_tools.formats.recorded_files import hash_claim
from pile_tools.formats.store import Io, Store, open_listed, open_store
from pile_tools.formats.token_dataset import TokenDataset, find_dataset
from pile_tools.formats.urls import child, is_url, joined, without_credentials
from pile_tools.viewer.blend import Blend
from pile_tools.viewer.components import Component, MapsComponent, SequentialComponent
from pile_tools.viewer.origins import Origins
from pile_tools.viewer.overlay import OverlayComponent

__all__ = ["Stream", "open_component", "open_stream"]


@dataclass(frozen=True, slots=True)
class Stream:
    """What a viewer looks at: the samples [first_sample, first_sample + samples) of components in an order.

    ``batch_size`` is None where it is not recorded; ``blend`` is None for a single component; ``origins`` is
    known of steps that were fetched.
    """

    components: tuple[Component, ...]
    place: OrderPlace
    blend: Blend | None
    batch_size: int | None
    first_sample: int
    samples: int
    origins: Origins | None = None

    def identity(self) -> str:
        """SHA-256 that names datasets and order by content, 64 hexadecimal digits."""
        value: dict[str, Any] = {
            "format": "pile-tools stream 1",
            "seq_length": self.components[0].seq_length,
        }
        parts = [
            {"dataset": component.dataset.identity, "order": component.describe()}
            for component in self.components
        ]
        record = self.place.record
        if self.blend is not None and record is not None:
            value["blend"] = [[entry.sha256 for entry in record.files], parts]
        else:
            value |= parts[0] | {"first_sample": self.first_sample}
        return hashlib.sha256(canonical_json(value)).hexdigest()


def open_stream(
    location: str | os.PathLike[str],
    order: str | os.PathLike[str] | OrderPlace | None,
    io: Io,
    cache: BlockCache | None,
) -> Stream:
    """Open the token dataset at ``location`` with an order, or the blend or overlay that is there.

    ``order`` is the order itself where it was found above the dataset, with an overlay.
    """
    overlay = overlay_at(location, io, cache)
    if overlay is not None:
        own = order if isinstance(order, OrderPlace) else _own_order(overlay[0], order)
        return _open_overlay(*overlay, own or order, io, cache)
    blend = _blend_at(location, io, cache)
    if blend is not None:
        named = order.label if isinstance(order, OrderPlace) else order
        if named is not None and os.fspath(named) != blend[1].label:
            raise ParameterError(
                f"{without_credentials(location)}: a blend, whose order is {blend[1].label}, and not "
                f"{without_credentials(named)!r}"
            )
        return _open_blend(*blend, io, cache)
    store, prefix = find_dataset(location, io=io, cache=cache)
    dataset = TokenDataset(store, prefix)
    if not isinstance(order, OrderPlace):
        order = find_order(store, prefix, order, io=io, cache=cache)
    return open_component(dataset, order)


def _own_order(store: Store, order: str | os.PathLike[str] | None) -> OrderPlace | None:
    """Return the order that an overlay in ``store`` has of its own, by ``order`` where one is named.

    None where it has none of that name. Raises ParameterError for several of which none is named.
    """
    orders = []
    for candidate in list_orders(store, None):
        record = candidate.record
        if order is None or os.fspath(order) in (candidate.label, getattr(record, "name", None)):
            orders.append(candidate)
    if len(orders) > 1:
        labels = ", ".join(candidate.label for candidate in orders)
        raise ParameterError(f"{store.name}: several orders; name one with --order (order=): {labels}")
    return orders[0] if orders else None


def open_component(dataset: TokenDataset, place: OrderPlace, seq_length: int | None = None) -> Stream:
    """Open ``dataset`` in the order at ``place``; ``seq_length`` where it is known beforehand."""
    record = place.record
    if isinstance(record, BlendRecord):
        raise ParameterError(f"{place.name}: a blend of several datasets; open its directory instead")
    if record is not None:
        _check_belongs(dataset, place, record)
    component: Component
    if place.style == SEQUENTIAL or (record is not None and record.recipe == SEQUENTIAL):
        component = _sequential(dataset, place, record.seq_length if record else seq_length)
    else:
        component = _maps(dataset, place, record)
    samples = record.samples if record is not None else _told_samples(component)
    first = record.first_sample if record is not None else 0
    if component.n_samples < samples:
        raise DataError(f"{place.name}: {component.n_samples} samples, but {samples} are recorded")
    batch_size = record.batch_size if record is not None else None
    origins = None
    if record is not None and record.origins is not None:
        origins = Origins(place.store, record.origins, dataset.n_sequences, component.seq_length + 1)
    return Stream((component,), place, None, batch_size, first, samples, origins)


def _open_overlay(
    store: Store,
    record: OverlayRecord,
    parent_place: ParentPlace,
    order: str | os.PathLike[str] | OrderPlace | None,
    io: Io,
    cache: BlockCache | None,
) -> Stream:
    """Open an overlay in ``order``, by default that which ``parent_place`` names."""
    location, named = parent_place.seen_from(store.location)
    if order is None or (named is not None and order == named.rpartition("/")[2]):
        order = named
    parent = open_stream(location, order, io, cache)
    found = parent.identity()
    if found != record.parent:
        raise DataError(
            f"{store.name}: a change of the stream {record.parent[:12]}…, but {parent.place.name} is "
            f"{found[:12]}…; name its parent in {PARENT_NAME}, or run `pile-tools intervene` again"
        )
    if parent.blend is not None:
        raise DataError(f"{store.name}: an overlay of a blend, which this version does not read")
    below = parent.components[0]
    component = OverlayComponent(below, store, record, parent.first_sample, below.n_samples)
    # Fetched sequences are changed as sequences: of which documents they were pieces is not followed.
    batch_size = record.batch_size
    if batch_size is None or isinstance(order, OrderPlace):  # an order of the overlay's own records one
        batch_size = parent.batch_size
    return replace(parent, components=(component,), batch_size=batch_size, origins=None)


def _told_samples(component: Component) -> int:
    """The samples that bare maps were made for: their name tells, and else all that they have."""
    if component.place.style == SEQUENTIAL:
        return component.n_samples
    return component.place.told()[1] or component.n_samples


def _maps(dataset: TokenDataset, place: OrderPlace, record: OrderRecord | None) -> Component:
    maps = OrderMaps.open(place)
    seq_length = record.seq_length if record is not None else place.told()[0]
    if seq_length is None:
        seq_length = _counted_seq_length(dataset, maps)
    return MapsComponent(dataset, place, maps, seq_length)


def _counted_seq_length(dataset: TokenDataset, maps: OrderMaps) -> int:
    """The tokens from the first sample of bare maps to the second, where no name tells them."""
    (first, offset), (last, end) = maps.sample_idx.take([0], [2]).tolist()
    if first != 0 or offset != 0 or not 0 <= last < len(maps.doc_idx):
        raise DataError(f"{maps.sample_idx.source.name}: does not begin with the first document")
    documents = maps.doc_idx.take([0], [last]).astype(np.int64)
    sizes = dataset.sizes.take(documents, np.ones_like(documents))
    length = int(sizes.sum(dtype=np.int64)) + int(end)
    if length < 1:
        raise DataError(f"{maps.sample_idx.source.name}: samples of {length} tokens")
    return length


def _sequential(dataset: TokenDataset, place: OrderPlace, seq_length: int | None) -> Component:
    if dataset.n_sequences == 0:
        raise DataError(f"{dataset.name}: no sequences")
    if seq_length is None:
        seq_length = int(dataset.sizes.take([0], [1])[0]) - 1
    described = dataset.n_sequences * (seq_length + 1) * dataset.dtype.itemsize
    if seq_length < 1 or described != dataset.data_bytes:
        raise DataError(
            f"{dataset.name}: not of sequences of one size ({dataset.n_sequences} sequences, "
            f"{dataset.n_tokens} tokens), so it has no sequential order"
        )
    return SequentialComponent(dataset, place, seq_length, dataset.n_sequences)


def _check_belongs(dataset: TokenDataset, place: OrderPlace, record: OrderRecord) -> None:
    """Refuse an order whose record names another token dataset."""
    difference = record.difference(dataset)
    if difference is not None:
        made_for, found = difference
        fetched = record.origins is not None or record.first_sample > 0
        remedy = "fetch the steps again" if fetched else "make one for it with `pile-tools order`"
        raise DataError(
            f"{place.name}: an order of another token dataset ({made_for}) than {dataset.name} "
            f"({found}); {remedy}"
        )


def _blend_at(
    location: str | os.PathLike[str], io: Io, cache: BlockCache | None
) -> tuple[Store, BlendRecord] | None:
    """Return the blend in the directory ``location``, if there is one."""
    name = os.fspath(location)
    if not is_url(name) and not os.path.isdir(name):
        return None
    store = open_store(name, io=io, cache=cache)
    names = store.list()
    if names is not None and ORDER_NAME not in names:
        return None
    content = store.read(ORDER_NAME)
    record = parse_record(content, f"{store.name}/{ORDER_NAME}") if content else None
    return (store, record) if isinstance(record, BlendRecord) else None


def _overlay_of_blend(store: Store, part: BlendPart, io: Io, cache: BlockCache | None) -> Stream:
    """Open the overlay that is a ``part`` of the blend in ``store``; DataError where it is another by now."""
    location = joined(store.location, part.data)
    overlay = overlay_at(location, io, cache)
    if overlay is None or overlay[1].identity != part.overlay:
        there = "no overlay is there" if overlay is None else f"it is {overlay[1].identity[:12]}…"
        raise DataError(
            f"{without_credentials(location)}: the blend in {store.name} was made with the overlay "
            f"{str(part.overlay)[:12]}…, but {there}; make the blend again"
        )
    return _open_overlay(*overlay, None, io, cache)


def _open_blend(store: Store, record: BlendRecord, io: Io, cache: BlockCache | None) -> Stream:
    place = OrderPlace(store, record.label, record)
    folder = open_store(child(store.location, "orders"), io=io, cache=cache, near=store)
    if folder.path is not None and not folder.path.is_dir():
        raise DataError(f"{folder.name}: missing; make the blend again")
    orders = {order.label: order for order in list_orders(folder, None)}
    components: list[Component] = []
    for part in record.parts:
        if part.overlay is not None:
            components += _overlay_of_blend(store, part, io, cache).components
            continue
        found = orders.get(part.order) or unlisted_order(folder, part.order)
        if found is None:
            raise DataError(f"{place.name}: order {part.order} is missing; make the blend again")
        dataset = TokenDataset.open(joined(store.location, part.data), io=io, cache=cache, near=store)
        components += open_component(dataset, found).components
    if any(component.seq_length != record.seq_length for component in components):
        raise DataError(f"{place.name}: its orders are not of sequences of {record.seq_length} tokens")
    sources = [open_listed(store, entry) for entry in record.files]
    dataset_index = read_array(sources[0], 1, ("uint8", "int16"))
    sample_index = read_array(sources[1], 1, ("int64",))
    arrays = (dataset_index, sample_index)

    def prove_arrays() -> None:
        if store.path is None:
            store.proofs.leave(
                f"{place.name}: behind a URL, so that only the entries that are read are checked, and not "
                "the rest of the blend"
            )
            return
        remedy = "restore it, or make the blend again"
        pairs = zip(sources, record.files, strict=True)
        sizes = ", ".join(str(component.n_samples) for component in components)
        samples = Claim(sources[1], "samples", f"of {sizes}", blend.check_all, sources[1].size, (sources[0],))
        hashes = [hash_claim(source, entry, remedy) for source, entry in pairs]
        store.proofs.prove(place.name, [samples, *hashes])

    blend = Blend(place.name, components, dataset_index, sample_index, prove_arrays)
    if any(len(array) < record.samples for array in arrays):
        raise DataError(f"{place.name}: fewer than {record.samples} samples; make the blend again")
    return Stream(tuple(components), place, blend, record.batch_size, 0, record.samples)
