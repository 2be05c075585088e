"""Make a blend: an order of each of several token datasets, and which sample of the blend is from which."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pile_tools.algorithms.blend import blend_indices, blend_sizes, normalized_weights, parse_weights
from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.atomic import sweep_partials
from pile_tools.formats.locks import DirectoryLock
from pile_tools.formats.map_files import write_array
from pile_tools.formats.order_record import ORDER_NAME, BlendPart, BlendRecord, parse_record
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.formats.urls import is_url
from pile_tools.stages.order import OrderSummary, make_order, stream_length

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
    on_order: Callable[[OrderSummary], None] = lambda order: None,
) -> BlendRecord:
    """Blend the token datasets at ``data`` by ``weights``, such as "0.7", into the directory ``output``.

    As a GPT-NeoX run that is configured with a list of weighted data paths: dataset i has an order named
    ``train_{i}`` of ceil(num_samples × weight × 1.005) samples, and each sample of the blend is the next
    one of the dataset that lags most behind its weight. With the recipe ``megatron-core``, as
    Megatron-Core. Writes the orders, the two arrays of the blend and ``order.json``, which names the
    datasets by their places relative to ``output``; ``on_order`` is called with each order that was made.
    Raises what `make_order` raises.
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
    with DirectoryLock(output):
        sweep_partials(output, own=False)
        orders = [
            make_order(
                place,
                seq_length=seq_length,
                batch_size=batch_size,
                num_samples=size,
                seed=seed,
                recipe=recipe,
                name=f"train_{number}",
                names=names,
                output=output / "orders",
            )
            for number, (place, size) in enumerate(zip(data, sizes, strict=True))
        ]
        for order in orders:
            on_order(order)
        record = BlendRecord(
            label=f"blend_{num_samples}ns_{seq_length}sl_{seed}s",
            recipe=recipe,
            seed=seed,
            seq_length=seq_length,
            batch_size=batch_size,
            num_samples=num_samples,
            samples=samples,
            steps=samples // batch_size,
            parts=tuple(
                BlendPart(_seen_from(output, place), order.record.label, weight)
                for place, order, weight in zip(data, orders, weights, strict=True)
            ),
            files=(),
        )
        path = output / ORDER_NAME
        digests = None
        if path.exists():
            old = parse_record(path.read_bytes(), str(path))
            if not isinstance(old, BlendRecord) or replace(old, files=(), digests=None) != record:
                raise DataError(f"{path}: another order; choose another directory")
            digests = old.digests
        # Both projects divide weights by their sum once for the sizes, and for the indices once more.
        dataset_index, sample_index = blend_indices(normalized_weights(given, recipe), num_samples, recipe)
        files = tuple(
            write_array(output / f"{record.label}_{name}.npy", array)
            for name, array in (("dataset_index", dataset_index), ("dataset_sample_index", sample_index))
        )
        record = replace(record, files=files, digests=digests)
        record.write(path)
    return record


def _seen_from(output: Path, place: str | Path) -> str:
    """The prefix of the dataset at ``place``: a URL, or relative to ``output`` with "/" between parts."""
    name = TokenDataset.open(place).name
    return name if is_url(name) else Path(os.path.relpath(name, output)).as_posix()
