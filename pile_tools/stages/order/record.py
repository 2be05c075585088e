"""Records of orders whose arrays are yet to be made: the label, the length of the stream, the dataset."""

from collections.abc import Mapping

from pile_tools.errors import ParameterError
from pile_tools.formats.index_maps import PACKINGS, SEQUENTIAL, MapNames
from pile_tools.formats.order_json import KeptOrder, OrderRecord
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.storage.names import name_problem

__all__ = ["new_record", "order_label", "stream_length"]


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
    epochs: int = 1,
    like: KeptOrder | None = None,
) -> OrderRecord:
    """Return the record of an order of ``dataset`` whose arrays are yet to be made.

    ``epochs`` is what they will say, unless the order keeps the documents of the order ``like``.
    """
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
        epochs=epochs,
        documents=documents,
        split=split,
        index=dataset.index_identity,
        dataset=None if dataset.is_remote else dataset.identity,
        manifest=dataset.manifest.identity if dataset.manifest else None,
        sequences=dataset.n_sequences,
        data_bytes=dataset.data_bytes,
        files=(),
        like=like,
    )


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
    values: Mapping[str, int | None] = {"batch_size": batch_size, "steps": steps, "num_samples": num_samples}
    for name, value in values.items():
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
