"""Make a blend: an order of each of several token datasets, and which sample of the blend is from which."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pile_tools.algorithms.blend import blend_indices, blend_sizes, normalized_weights, parse_weights
from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.atomic import sweep_partials
from pile_tools.formats.locks import DirectoryLock
from pile_tools.formats.map_files import write_array
from pile_tools.formats.order_record import ORDER_NAME, BlendPart, BlendRecord, parse_record
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.formats.urls import is_url
from pile_tools.stages.order import make_order, stream_length
from pile_tools.stages.overlay_order import OverlayOrder

__all__ = ["make_blend"]


def make_blend(
    data: Sequence[str | Path],
    weights: Sequence[str],
    output: Path,
    *,
    seq_length: int = 2048,
    batch_size: int = 1024,
    steps: int | None = None,
    num_samples: int | None = None,
    seed: int = 1234,
    recipe: str = "neox",
    names: str = "neox",
    say: Callable[[str], None] = lambda warning: None,
) -> BlendRecord:
    """Blend the token datasets at ``data`` by ``weights``, such as "0.7", into the directory ``output``.

    As a GPT-NeoX run that is configured with a list of weighted data paths: dataset i has an order named
    ``train_{i}`` of ceil(num_samples × weight × 1.005) samples, and each sample of the blend is the next
    one of the dataset that lags most behind its weight. With the recipe ``megatron-core``, as
    Megatron-Core. Writes the orders, the two arrays of the blend and ``order.json``, which names the
    datasets by their places relative to ``output``.

    One of ``data`` may be an overlay: its samples are those of the order that it changes, in that order, and
    no other order is made. ``say`` is called with what may not be meant: where that is not the order that a
    blend makes, and where an order has many epochs. Raises what `make_order` raises.
    """
    if recipe not in ("neox", "megatron-core"):
        raise ParameterError(f"recipe {recipe!r}: a blend is made by neox or megatron-core")
    if len(data) != len(weights):
        raise ParameterError(f"{len(data)} datasets, but {len(weights)} weights; give one --weight for each")
    given = parse_weights(weights)
    num_samples, samples = stream_length(steps, batch_size, num_samples)
    sizes = blend_sizes(given, num_samples, recipe)
    if min(sizes) == 0:
        raise ParameterError(f"weight {weights[sizes.index(0)]} leaves a dataset without a sample; drop it")
    # Both projects divide weights by their sum once for the sizes, and for the indices once more.
    dataset_index, sample_index = blend_indices(normalized_weights(given, recipe), num_samples, recipe)
    read = np.bincount(dataset_index, minlength=len(data)).tolist()
    overlays = [OverlayOrder.find(location) for location in data]
    shape: dict[str, Any] = {"seq_length": seq_length, "seed": seed, "recipe": recipe}
    for overlay, n_read, size in zip(overlays, read, sizes, strict=True):
        if overlay is not None:
            _check_overlay(overlay, n_read, size, say, **shape)
    with DirectoryLock(output):
        sweep_partials(output, own=False)
        parts = []
        for index, (location, weight, overlay) in enumerate(zip(data, weights, overlays, strict=True)):
            if overlay is not None:
                name, label = overlay.store.name, overlay.order.label
            else:
                order = make_order(
                    location,
                    batch_size=batch_size,
                    num_samples=sizes[index],
                    name=f"train_{index}",
                    names=names,
                    output=output / "orders",
                    **shape,
                )
                if order.warning is not None:
                    say(order.warning)
                name, label = TokenDataset.open(location).name, order.record.label
            identity = None if overlay is None else overlay.record.identity
            parts.append(BlendPart(_seen_from(output, name), label, weight, identity))
        record = BlendRecord(
            label=f"blend_{num_samples}ns_{seq_length}sl_{seed}s",
            recipe=recipe,
            seed=seed,
            seq_length=seq_length,
            batch_size=batch_size,
            num_samples=num_samples,
            samples=samples,
            steps=samples // batch_size,
            parts=tuple(parts),
            files=(),
        )
        path = output / ORDER_NAME
        digests = None
        if path.exists():
            old = parse_record(path.read_bytes(), str(path))
            if not isinstance(old, BlendRecord) or replace(old, files=(), digests=None) != record:
                raise DataError(f"{path}: another order; choose another directory")
            digests = old.digests
        files = tuple(
            write_array(output / f"{record.label}_{name}.npy", array)
            for name, array in (("dataset_index", dataset_index), ("dataset_sample_index", sample_index))
        )
        record = replace(record, files=files, digests=digests)
        record.write(path)
    return record


def _check_overlay(
    overlay: OverlayOrder,
    n_read: int,
    size: int,
    say: Callable[[str], None],
    *,
    seq_length: int,
    seed: int,
    recipe: str,
) -> None:
    """Raise ParameterError where the blend cannot read ``n_read`` samples of ``overlay``.

    Say so where its order is not the one that the blend would make for ``size`` samples.
    """
    if overlay.seq_length not in (None, seq_length):
        raise ParameterError(
            f"{overlay.store.name}: an overlay of sequences of {overlay.seq_length} tokens, not of "
            f"{seq_length}; give its --seq-length"
        )
    if n_read > overlay.n_samples:
        raise ParameterError(
            f"{overlay.store.name}: {n_read} samples of it are read, but its order {overlay.order.label} has "
            f"{overlay.n_samples}; give fewer --steps, or intervene in a longer order"
        )
    if not overlay.is_made_by(recipe, seed, seq_length, size):
        say(
            f"{overlay.store.name}: is read in its own order {overlay.order.label}, which is not the one "
            f"that this blend makes of {overlay.dataset.name}"
        )


def _seen_from(output: Path, name: str) -> str:
    """Return the prefix ``name`` of a dataset: a URL, or relative to ``output`` with "/" between parts."""
    return name if is_url(name) else Path(os.path.relpath(name, output)).as_posix()
