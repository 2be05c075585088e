"""Recipes: the frozen algorithms that make an order of a token dataset.

``neox`` is that of GPT-NeoX v1.0 and v2.0 (``megatron/data/gpt2_dataset.py`` and ``helpers.cpp``), which
trained Pythia; ``megatron-core`` that of Megatron-Core (``core/datasets/gpt_dataset.py``). Their only
source of randomness is one legacy generator, ``numpy.random.RandomState(seed)``, whose stream NumPy
promises to keep (NEP 19).
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.orders.legacy_shuffle import shuffle
from pile_tools.errors import DataError, ParameterError

__all__ = [
    "Order",
    "count_epochs",
    "count_samples",
    "is_last_apart",
    "megatron_core_order",
    "neox_order",
]

_INT32_MAX: Final = 2**31 - 1
_UINT32_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Order:
    """The three arrays of an order, and how many ``epochs`` E it has.

    ``doc_idx`` int32[E·D] document numbers; ``sample_idx`` int32 or int64 [N + 1, 2] (position in
    doc_idx, offset of a token in that document); ``shuffle_idx`` uint32 or int64 [N].
    Sequence i is the seq_length + 1 tokens from ``sample_idx[shuffle_idx[i]]``.
    """

    doc_idx: npt.NDArray[np.int32]
    sample_idx: npt.NDArray[Any]
    shuffle_idx: npt.NDArray[Any]
    epochs: int


def count_epochs(tokens: int, seq_length: int, num_samples: int) -> int:
    """Return the smallest e with (e·tokens − 1) // seq_length ≥ num_samples."""
    return -(-(num_samples * seq_length + 1) // tokens)


def count_samples(tokens: int, seq_length: int, epochs: int) -> int:
    """Return N, the samples that ``epochs`` epochs of ``tokens`` tokens make; neighbours share a token."""
    return (epochs * tokens - 1) // seq_length


def is_last_apart(tokens: int, seq_length: int, epochs: int, num_samples: int) -> bool:
    """Return whether ``megatron-core`` shuffles the last epoch apart: less than 80 % of it is asked for."""
    before_last = count_samples(tokens, seq_length, epochs - 1)
    # Megatron-Core truncates the threshold to a whole number of samples.
    threshold = int(0.80 * count_samples(tokens, seq_length, 1))
    return epochs > 1 and num_samples - before_last < threshold


def neox_order(
    sizes: npt.NDArray[np.int32],
    *,
    seq_length: int,
    num_samples: int,
    seed: int,
    documents: tuple[int, int] | None = None,
    epochs: int | None = None,
) -> Order:
    """Make an order by the ``neox`` recipe, equal to GPT-NeoX's bit for bit.

    ``sizes`` int32[D] the tokens of each document, none negative; ``documents`` a range of them, by
    default all. The documents of all E epochs are shuffled together, then cut into samples; the samples
    are shuffled by the same generator. The order depends on ``num_samples`` only through E, which
    ``epochs`` says instead: doc_idx depends on E, the documents and the seed alone, not on their sizes.
    Raises ParameterError for values that make no order and DataError for documents that do not.
    """
    start, stop, tokens = _check(sizes, documents, seq_length, num_samples, seed)
    epochs = _epochs(tokens, seq_length, num_samples, epochs)
    samples = count_samples(tokens, seq_length, epochs)
    generator = np.random.RandomState(seed)
    doc_idx = _repeated(start, stop, epochs)
    shuffle(generator, doc_idx)
    # GPT-NeoX divides as floats here, which decides the dtype one half of a sample earlier than N does.
    wide = 2 * ((epochs * tokens - 1) / seq_length + 1) >= _INT32_MAX
    if not wide and len(doc_idx) > _INT32_MAX:
        raise ParameterError(f"{len(doc_idx)} documents over all epochs do not fit an int32 sample_idx")
    return _cut(sizes, doc_idx, seq_length, (samples,), wide, generator, epochs)


def megatron_core_order(
    sizes: npt.NDArray[np.int32],
    *,
    seq_length: int,
    num_samples: int | None,
    seed: int,
    documents: tuple[int, int] | None = None,
    epochs: int | None = None,
    last_apart: bool = False,
) -> Order:
    """Make an order by the ``megatron-core`` recipe, equal to Megatron-Core's bit for bit.

    As ``neox_order``, but where the last epoch is asked for less than 80 % of the samples of one epoch,
    its documents and its samples are shuffled apart from those of the epochs before. ``num_samples``
    None makes one epoch. ``epochs`` says E instead, and ``last_apart`` then whether the last is apart.
    """
    start, stop, tokens = _check(
        sizes, documents, seq_length, 1 if num_samples is None else num_samples, seed
    )
    if epochs is not None:
        epochs = _epochs(tokens, seq_length, num_samples or 1, epochs)
        apart = last_apart and epochs > 1
    else:
        epochs = 1 if num_samples is None else count_epochs(tokens, seq_length, num_samples)
        apart = num_samples is not None and is_last_apart(tokens, seq_length, epochs, num_samples)
    samples = count_samples(tokens, seq_length, epochs)
    before_last = count_samples(tokens, seq_length, epochs - 1)
    generator = np.random.RandomState(seed)
    doc_idx = _repeated(start, stop, epochs)
    last = len(doc_idx) - (stop - start) if apart else len(doc_idx)
    shuffle(generator, doc_idx[:last])
    shuffle(generator, doc_idx[last:])
    largest = max(len(doc_idx), int(sizes.max()))
    ranges = (before_last, samples) if apart else (samples,)
    return _cut(sizes, doc_idx, seq_length, ranges, largest > _INT32_MAX, generator, epochs)


def _check(
    sizes: npt.NDArray[np.int32],
    documents: tuple[int, int] | None,
    seq_length: int,
    num_samples: int,
    seed: int,
) -> tuple[int, int, int]:
    """Return the range of documents and their tokens; raise for what no order can be made of."""
    start, stop = documents or (0, len(sizes))
    if seq_length < 1:
        raise ParameterError(f"seq_length {seq_length} must be at least 1")
    if num_samples < 1:
        raise ParameterError(f"num_samples {num_samples} must be at least 1")
    if not 0 <= seed < 2**32:
        raise ParameterError(f"seed {seed} must be from 0 to 2**32 - 1")
    if not 0 <= start <= stop <= len(sizes):
        raise ParameterError(f"documents {start} to {stop} are not a range of {len(sizes)}")
    if len(sizes) > _INT32_MAX:
        raise ParameterError(f"{len(sizes)} documents do not fit the int32 doc_idx of this recipe")
    tokens = int(np.sum(sizes[start:stop], dtype=np.int64))
    if tokens < 2:
        raise DataError(f"{tokens} tokens in {stop - start} documents make no sample")
    return start, stop, tokens


def _epochs(tokens: int, seq_length: int, num_samples: int, given: int | None) -> int:
    """Return the epochs ``given``, or the fewest that suffice; ParameterError for too few."""
    if given is None:
        return count_epochs(tokens, seq_length, num_samples)
    samples = max(0, count_samples(tokens, seq_length, given))
    if samples < num_samples:
        raise ParameterError(
            f"{given} {'epoch' if given == 1 else 'epochs'} of {tokens} tokens make {samples} samples of "
            f"seq_length {seq_length}, not {num_samples}"
        )
    return given


def _repeated(start: int, stop: int, epochs: int) -> npt.NDArray[np.int32]:
    """The numbers [start, stop), ``epochs`` times over, without a second array of that size."""
    out = np.empty(epochs * (stop - start), np.int32)
    for epoch in range(epochs):
        part = out[epoch * (stop - start) : (epoch + 1) * (stop - start)]
        for block in range(0, len(part), 1 << 20):
            part[block : block + (1 << 20)] = np.arange(
                start + block, min(start + block + (1 << 20), stop), dtype=np.int32
            )
    return out


def _cut(
    sizes: npt.NDArray[np.int32],
    doc_idx: npt.NDArray[np.int32],
    seq_length: int,
    ranges: tuple[int, ...],
    wide: bool,
    generator: np.random.RandomState,
    epochs: int,
) -> Order:
    """Cut the documents into samples and shuffle the samples, each of ``ranges`` apart, at the same time."""
    with ThreadPoolExecutor(1) as other_core:
        shuffled = other_core.submit(_shuffle_idx, ranges, generator)
        sample_idx = np.empty((ranges[-1] + 1, 2), np.int64 if wide else np.int32)
        fill_sample_idx(sizes, doc_idx, seq_length, sample_idx)
        return Order(doc_idx, sample_idx, shuffled.result(), epochs)


def _shuffle_idx(ranges: tuple[int, ...], generator: np.random.RandomState) -> npt.NDArray[Any]:
    """The numbers 0 … ranges[-1] − 1, each range shuffled apart: uint32, or int64 from 2³² − 2 on."""
    dtype = np.int64 if ranges[-1] >= _UINT32_MAX - 1 else np.uint32
    shuffle_idx = np.arange(ranges[-1], dtype=dtype)
    start = 0
    for stop in ranges:
        shuffle(generator, shuffle_idx[start:stop])
        start = stop
    return shuffle_idx


@numba.njit(cache=True, nogil=True)
def fill_sample_idx(sizes, doc_idx, seq_length, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` [N + 1, 2]: where, in documents end to end, every ``seq_length``-th token is.

    Row 0 is (0, 0) even where document 0 is empty; no other row points into an empty document.
    """
    block = np.empty(4096, np.int64)
    out[0, 0] = 0
    out[0, 1] = 0
    sample = np.int64(1)
    offset = np.int64(seq_length)
    for start in range(0, len(doc_idx), len(block)):
        length = min(len(block), len(doc_idx) - start)
        # The sizes first, so that memory works on many of the scattered reads at once.
        for k in range(length):
            block[k] = sizes[doc_idx[start + k]]
        for k in range(length):
            while offset < block[k]:
                if sample == len(out):
                    return
                out[sample, 0] = start + k
                out[sample, 1] = offset
                sample += 1
                offset += seq_length
            offset -= block[k]
