"""Orders of overlays: the order that an overlay changes, for a blend or at another number of steps."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from pile_tools.algorithms.recipes import Order, count_epochs, is_last_apart
from pile_tools.errors import ParameterError
from pile_tools.formats.order_files import SEQUENTIAL, MapNames, OrderMaps, OrderPlace, find_order
from pile_tools.formats.order_record import OrderRecord
from pile_tools.formats.overlay import OverlayRecord, overlay_at
from pile_tools.formats.store import Store
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.order import (
    OrderSummary,
    checked_sizes,
    new_record,
    order_label,
    publish_order,
    stream_length,
)

__all__ = ["OverlayOrder", "make_overlay_order"]


@dataclass(frozen=True, slots=True)
class OverlayOrder:
    """The ``order`` of ``dataset`` which the overlay of ``record`` in ``store`` changes."""

    store: Store
    record: OverlayRecord
    dataset: TokenDataset
    order: OrderPlace

    @classmethod
    def find(cls, location: str | os.PathLike[str]) -> Self | None:
        """Return that of the overlay at ``location``, below all overlays there; None where there is none.

        That the overlay is one of this very order is proved when it is opened.
        """
        overlay = first = overlay_at(location, "mmap", None)
        if first is None:
            return None
        order: str | None = None
        below = os.fspath(location)
        while overlay is not None:
            store, _, parent = overlay
            below, own = parent.seen_from(store.location)
            order = order or own
            overlay = overlay_at(below, "mmap", None)
        dataset = TokenDataset.open(below)
        return cls(first[0], first[1], dataset, find_order(dataset.store, dataset.prefix, order))

    @property
    def seq_length(self) -> int | None:
        """Tokens that a model reads of a sample; None where neither a record nor names say it."""
        if self.order.record is not None:
            return self.order.record.seq_length
        if self.order.style == SEQUENTIAL:
            return int(self.dataset.sizes.take([0], [1])[0]) - 1
        return self.order.told()[0]

    @property
    def n_samples(self) -> int:
        """Samples that the order has."""
        record = self.order.record
        if self.order.style == SEQUENTIAL or (record is not None and record.recipe == SEQUENTIAL):
            return self.dataset.n_sequences
        return OrderMaps.open(self.order).n_samples

    def is_made_by(self, recipe: str, seed: int, seq_length: int, num_samples: int) -> bool:
        """Return whether the recipe makes this very order of all documents, as its record or name says."""
        tokens = self.dataset.n_tokens
        epochs = count_epochs(tokens, seq_length, num_samples)
        record, names = self.order.record, MapNames.parse(self.order.label)
        if isinstance(record, OrderRecord):
            apart = [
                is_last_apart(tokens, seq_length, count, samples)
                for count, samples in ((epochs, num_samples), (record.epochs, record.num_samples))
            ]
            return (
                (record.recipe, record.seed, record.epochs) == (recipe, seed, epochs)
                and record.documents == (0, self.dataset.n_sequences)
                and (recipe == "neox" or apart[0] == apart[1])
            )
        return (
            recipe == "neox"
            and names is not None
            and names.num_samples is not None
            and names.seed == seed
            and count_epochs(tokens, seq_length, names.num_samples) == epochs
        )


def make_overlay_order(
    data: str | Path,
    *,
    seq_length: int | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    num_samples: int | None = None,
    name: str | None = None,
    names: str = "neox",
    output: Path | None = None,
) -> OrderSummary:
    """Make an order of the overlay at ``data``: its own samples, at another batch size or number of steps.

    An overlay changes samples of one order, so the arrays are those of that order; what is not given is as
    there. Written into the overlay's directory, or into ``output``. Raises ParameterError where the
    parameters would make other arrays, and where the order has no record from which they could be made.
    """
    overlay = OverlayOrder.find(data)
    if overlay is None:
        raise ParameterError(f"{data}: no overlay; name the directory that `pile-tools intervene` made")
    if overlay.store.path is None and output is None:
        raise ParameterError(f"{data}: name the directory for the order with -o (output=)")
    old, dataset = _recorded(overlay), overlay.dataset
    if seq_length not in (None, old.seq_length):
        raise ParameterError(
            f"{data}: an overlay of sequences of {old.seq_length} tokens, not of {seq_length}; leave "
            "--seq-length out"
        )
    if batch_size is None:
        batch_size = overlay.record.batch_size or old.batch_size
    if steps is None and num_samples is None:
        stream_length(1, batch_size, None)
        samples = old.samples // batch_size * batch_size
    else:
        _, samples = stream_length(steps, batch_size, num_samples)
    if num_samples is None:
        num_samples = max(old.num_samples, samples)
    if not 0 < samples <= overlay.n_samples:
        raise ParameterError(
            f"{data}: changes the order {overlay.order.label} of {overlay.n_samples} samples, of which "
            f"{samples} cannot be read; give other --steps, or intervene in a longer order"
        )
    name = old.name if name is None else name
    label_names = "neox" if old.recipe == SEQUENTIAL else names
    record = replace(
        old,
        label=order_label(dataset, old.recipe, name, num_samples, old.seq_length, old.seed, label_names),
        name=name,
        batch_size=batch_size,
        num_samples=num_samples,
        samples=samples,
        steps=samples // batch_size,
        files=(),
        digests=None,
    )

    def check(order: Order) -> None:
        maps = OrderMaps.open(overlay.order)
        pairs = (
            (order.doc_idx, maps.doc_idx),
            (order.sample_idx, maps.sample_idx),
            (order.shuffle_idx, maps.shuffle_idx),
        )
        if not all(np.array_equal(made, stored.whole()) for made, stored in pairs):
            raise ParameterError(
                f"{data}: {num_samples} samples make another order than {overlay.order.label}, which the "
                "overlay changes; give other --steps, or intervene in an order that long"
            )

    return publish_order(dataset, checked_sizes(dataset), record, output or overlay.store.path, check)


def _recorded(overlay: OverlayOrder) -> OrderRecord:
    """Return the record of the order of ``overlay``, that of maps without one as their names say."""
    dataset, order = overlay.dataset, overlay.order
    if (
        isinstance(order.record, OrderRecord)
        and order.record.origins is None
        and order.record.first_sample == 0
    ):
        return order.record
    names, seq_length = MapNames.parse(order.label), overlay.seq_length
    sequential = order.style == SEQUENTIAL
    if order.record is not None or seq_length is None or not (sequential or (names and names.num_samples)):
        raise ParameterError(
            f"{order.name}: an order of fetched steps, or maps that do not say how they were made; an "
            "overlay is read in it as it is, without another order"
        )
    num_samples = names.num_samples if names and names.num_samples else dataset.n_sequences
    return new_record(
        dataset,
        label=order.label,
        recipe=SEQUENTIAL if sequential else "neox",
        name="train_0",
        seed=names.seed if names else 1234,
        seq_length=seq_length,
        batch_size=overlay.record.batch_size or 1,
        num_samples=num_samples,
        samples=num_samples,
        documents=(0, dataset.n_sequences),
        split=None,
    )
