"""Recipes: the frozen algorithms that make an order of a token dataset.

``neox`` is that of GPT-NeoX v1.0 and v2.0 (``megatron/data/gpt2_dataset.py`` and ``helpers.cpp``), which
trained Pythia. Its only source of randomness is one legacy generator, ``numpy.random.RandomState(seed)``,
whose stream NumPy promises to keep (NEP 19).
"""

from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError, ParameterError

__all__ = ["Order", "check_maps", "count_epochs", "count_samples", "neox_order"]

_INT32_MAX: Final = 2**31 - 1
_UINT32_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Order:
    """The three arrays of an order.

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


@numba.njit(cache=True, nogil=True)
def _fill_sample_idx(
    sizes: npt.NDArray[np.int32], doc_idx: npt.NDArray[np.int32], seq_length: int, out: npt.NDArray[Any]
) -> None:
    position = np.int64(0)
    offset = np.int64(0)
    out[0, 0] = position
    out[0, 1] = offset
    for sample in range(1, len(out)):
        # The next sample begins at the last token of this one, seq_length tokens on.
        offset += seq_length
        size = np.int64(sizes[doc_idx[position]])
        while offset >= size:
            offset -= size
            position += 1
            size = np.int64(sizes[doc_idx[position]])
        out[sample, 0] = position
        out[sample, 1] = offset


def build_sample_idx(
    sizes: npt.NDArray[np.int32], doc_idx: npt.NDArray[np.int32], seq_length: int, tokens: int
) -> npt.NDArray[Any]:
    """Return sample_idx [N + 1, 2] over the ``tokens`` tokens of all documents in ``doc_idx``."""
    # GPT-NeoX divides as floats here, which decides the dtype one half of a sample earlier than N does.
    dtype = np.int32 if 2 * ((tokens - 1) / seq_length + 1) < _INT32_MAX else np.int64
    if dtype is np.int32 and len(doc_idx) > _INT32_MAX:
        raise ParameterError(
            f"{len(doc_idx)} documents over all epochs do not fit the int32 sample_idx of this recipe"
        )
    out = np.empty(((tokens - 1) // seq_length + 1, 2), dtype)
    _fill_sample_idx(sizes, doc_idx, seq_length, out)
    return out


def build_shuffle_idx(n_samples: int, generator: np.random.RandomState) -> npt.NDArray[Any]:
    """Return the numbers 0 … n_samples − 1, shuffled: uint32, or int64 from 2³² − 2 on."""
    dtype = np.int64 if n_samples >= _UINT32_MAX - 1 else np.uint32
    shuffle_idx = np.arange(n_samples, dtype=dtype)
    generator.shuffle(shuffle_idx)
    return shuffle_idx


def _check(sizes: npt.NDArray[np.int32], seq_length: int, num_samples: int, seed: int) -> int:
    """Return the tokens of one epoch; raise ParameterError for what no order can be made of."""
    if seq_length < 1:
        raise ParameterError(f"seq_length {seq_length} must be at least 1")
    if num_samples < 1:
        raise ParameterError(f"num_samples {num_samples} must be at least 1")
    if not 0 <= seed < 2**32:
        raise ParameterError(f"seed {seed} must be from 0 to 2**32 - 1")
    if len(sizes) > _INT32_MAX:
        raise ParameterError(f"{len(sizes)} documents do not fit the int32 doc_idx of this recipe")
    tokens = int(np.sum(sizes, dtype=np.int64))
    if tokens < 2:
        raise DataError(f"{tokens} tokens in {len(sizes)} documents make no sample")
    return tokens


def neox_order(sizes: npt.NDArray[np.int32], *, seq_length: int, num_samples: int, seed: int) -> Order:
    """Make an order by the ``neox`` recipe, equal to GPT-NeoX's bit for bit.

    ``sizes`` int32[D] the tokens of each document, none negative. The documents of all E epochs are
    shuffled together, then cut into samples; the samples are shuffled by the same generator. The order
    depends on ``num_samples`` only through E. Raises ParameterError for values that make no order and
    DataError for documents that do.
    """
    tokens = _check(sizes, seq_length, num_samples, seed)
    epochs = count_epochs(tokens, seq_length, num_samples)
    generator = np.random.RandomState(seed)
    doc_idx = np.tile(np.arange(len(sizes), dtype=np.int32), epochs)
    generator.shuffle(doc_idx)
    sample_idx = build_sample_idx(sizes, doc_idx, seq_length, epochs * tokens)
    shuffle_idx = build_shuffle_idx(len(sample_idx) - 1, generator)
    return Order(doc_idx, sample_idx, shuffle_idx, epochs)


@numba.njit(cache=True, nogil=True)
def _first_wrong_sample(
    sizes: npt.NDArray[np.int32],
    doc_idx: npt.NDArray[np.int32],
    seq_length: int,
    sample_idx: npt.NDArray[Any],
) -> int:
    """Return the first row of sample_idx that does not follow from the one before, or −1."""
    if sample_idx[0, 0] != 0 or sample_idx[0, 1] != 0:
        return 0
    position = np.int64(0)
    offset = np.int64(0)
    for sample in range(1, len(sample_idx)):
        offset += seq_length
        while position < len(doc_idx) and offset >= sizes[doc_idx[position]]:
            offset -= sizes[doc_idx[position]]
            position += 1
        if position == len(doc_idx) or sample_idx[sample, 0] != position or sample_idx[sample, 1] != offset:
            return sample
    return -1


@numba.njit(cache=True, nogil=True)
def _first_repeated(numbers: npt.NDArray[Any], seen: npt.NDArray[np.bool_]) -> int:
    """Mark ``numbers`` in ``seen``; return the first place of one outside of it or marked before, or −1."""
    for place in range(len(numbers)):
        number = np.int64(numbers[place])
        if number < 0 or number >= len(seen) or seen[number]:
            return place
        seen[number] = True
    return -1


def check_maps(
    sizes: npt.NDArray[np.int32],
    doc_idx: npt.NDArray[np.int32],
    sample_idx: npt.NDArray[Any],
    shuffle_idx: npt.NDArray[Any],
    seq_length: int,
) -> None:
    """Check that the arrays are an order of documents of ``sizes``, whatever recipe made them.

    doc_idx holds each document that it has equally often, sample_idx cuts them at every ``seq_length``
    tokens, shuffle_idx is a permutation. Raises DataError for the first thing that is wrong.
    """
    outside = np.flatnonzero((doc_idx < 0) | (doc_idx >= len(sizes)))
    if len(outside):
        place = int(outside[0])
        raise DataError(
            f"doc_idx holds document {doc_idx[place]} at place {place}, but the dataset has {len(sizes)}"
        )
    counts = np.bincount(doc_idx, minlength=len(sizes))
    uneven = np.flatnonzero((counts != 0) & (counts != counts.max(initial=0)))
    if len(uneven):
        document = int(uneven[0])
        raise DataError(
            f"doc_idx holds document {document} {counts[document]} times, but others {counts.max()} times"
        )
    sample = _first_wrong_sample(sizes, doc_idx, seq_length, sample_idx)
    if sample >= 0:
        raise DataError(f"sample_idx does not cut sample {sample} at every {seq_length} tokens of doc_idx")
    place = _first_repeated(shuffle_idx, np.zeros(len(sample_idx) - 1, np.bool_))
    if place >= 0:
        raise DataError(f"shuffle_idx holds {shuffle_idx[place]} at place {place}; it is no permutation")
