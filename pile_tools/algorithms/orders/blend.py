"""Blends of several datasets by weight, and splits of one into train, valid and test."""

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from pile_tools.errors import ParameterError

__all__ = [
    "SPLIT_PARTS",
    "blend_indices",
    "blend_sizes",
    "normalized_weights",
    "parse_weights",
    "split_documents",
]

SPLIT_PARTS: Final = ("train", "valid", "test")
# What GPT-NeoX and Megatron-Core count the datasets of a blend in.
_INDEX_DTYPES: Final = {"neox": np.uint8, "megatron-core": np.int16}
_MOST_DATASETS: Final = {"neox": 254, "megatron-core": 32766}


def parse_weights(texts: Sequence[str]) -> list[float]:
    """Return the weights written as ``texts``: decimal numbers, or fractions such as "1/3"."""
    weights = []
    for text in texts:
        try:
            weights.append(float(Fraction(text)))
        except (ValueError, ZeroDivisionError, OverflowError):
            raise ParameterError(f"weight {text!r} is not a number") from None
    return weights


def normalized_weights(weights: Sequence[float], recipe: str = "neox") -> list[float]:
    """Return ``weights`` divided by their sum, added up in the order and precision of the recipe's code."""
    if not weights or not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise ParameterError(f"weights {list(weights)} must be finite and not negative")
    total = sum(weights) if recipe == "neox" else float(np.sum(np.array(weights, np.float64)))
    if total <= 0:
        raise ParameterError(f"weights {list(weights)} add up to nothing")
    return [weight / total for weight in weights]


def blend_sizes(weights: Sequence[float], num_samples: int, recipe: str = "neox") -> list[int]:
    """Return how many samples the recipe is asked for of each dataset of a blend of ``num_samples``.

    GPT-NeoX: ceil(num_samples × weight × 1.005); Megatron-Core: ceil(ceil(num_samples × weight) × 1.005);
    with weights divided by their sum.
    """
    shares = normalized_weights(weights, recipe)
    if recipe == "neox":
        return [math.ceil(num_samples * share * 1.005) for share in shares]
    return [math.ceil(math.ceil(num_samples * share) * (1 + 0.005)) for share in shares]


@numba.njit(cache=True, nogil=True)
def _fill(weights, dataset_index, sample_index):  # type: ignore[no-untyped-def]
    counts = np.zeros(len(weights), np.int64)
    for sample in range(len(dataset_index)):
        # The first sample is treated as the second is, so that the largest weight begins.
        step = max(np.float64(sample), 1.0)
        chosen = 0
        largest = weights[0] * step - np.float64(counts[0])
        for dataset in range(1, len(weights)):
            error = weights[dataset] * step - np.float64(counts[dataset])
            if error > largest:
                largest = error
                chosen = dataset
        dataset_index[sample] = chosen
        sample_index[sample] = counts[chosen]
        counts[chosen] += 1


def blend_indices(
    weights: Sequence[float], size: int, recipe: str = "neox"
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return, for each of ``size`` samples of a blend, its dataset and its number in that dataset's stream.

    uint8 (Megatron-Core: int16) and int64, [size] each. Each sample is of the dataset whose share lags
    most behind weight × max(number of the sample, 1), the first such one: the greedy rule of GPT-NeoX
    (``build_blending_indices``) and Megatron-Core.
    """
    if len(weights) > _MOST_DATASETS[recipe]:
        raise ParameterError(f"{len(weights)} datasets; {recipe} blends up to {_MOST_DATASETS[recipe]}")
    # Both projects do this part with numpy, after what they did to the weights before.
    array = np.array(normalized_weights(weights, "megatron-core"), np.float64)
    dataset_index = np.empty(size, _INDEX_DTYPES[recipe])
    sample_index = np.empty(size, np.int64)
    _fill(array, dataset_index, sample_index)
    return dataset_index, sample_index


def split_documents(split: str, documents: int, recipe: str = "neox") -> list[tuple[int, int]]:
    """Return the ranges of documents of train, valid and test for a split such as "969,30,1".

    GPT-NeoX separates by "," or "/", rounds each share and takes what is too much or too little from
    every boundary but the first, which for a handful of documents can leave a part that is empty or
    begins below 0; Megatron-Core rounds the cumulative shares. Raises ParameterError for what is no split.
    """
    try:
        if recipe == "neox":
            shares = [float(part) for part in split.split("," if "," in split else "/")]
        else:
            shares = [float(part) for part in re.findall(r"[.0-9]+", split)]
    except ValueError:
        raise ParameterError(f"split {split!r} is not of numbers such as 969,30,1") from None
    if recipe != "neox" and len(shares) > 3:
        raise ParameterError(f"split {split!r} has more than three shares")
    shares = [*shares, 0.0, 0.0][:3]
    if not all(math.isfinite(share) and share >= 0 for share in shares) or sum(shares) <= 0:
        raise ParameterError(f"split {split!r} has no positive share, or a negative one")
    boundaries = _neox_boundaries(shares, documents) if recipe == "neox" else _rounded(shares, documents)
    return list(pairwise(boundaries))


def _neox_boundaries(shares: list[float], documents: int) -> list[int]:
    total = sum(shares)
    boundaries = [0]
    for share in shares:
        boundaries.append(boundaries[-1] + round(share / total * float(documents)))
    excess = boundaries[-1] - documents
    return [0] + [boundary - excess for boundary in boundaries[1:]]


def _rounded(shares: list[float], documents: int) -> list[int]:
    ends = [0.0]
    for share in normalized_weights(shares, "megatron-core"):
        ends.append(ends[-1] + share)
    return [round(end * float(documents)) for end in ends]
