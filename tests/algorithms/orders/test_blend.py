"""Blends and splits, against what GPT-NeoX's own code gave and plain Python."""

import hashlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.algorithms.orders.blend import (
    blend_indices,
    blend_sizes,
    normalized_weights,
    parse_weights,
    split_documents,
)
from pile_tools.errors import ParameterError
from tests.reference import orders
from tests.token_data import GOLDEN


@pytest.mark.parametrize("case", json.loads((GOLDEN / "neox" / "blend.json").read_text()))
def test_blends_are_those_of_gpt_neox(case: dict[str, Any]) -> None:
    datasets, samples = blend_indices(case["weights"], case["size"])
    assert datasets[: len(case["first"])].tolist() == case["first"]
    assert (datasets.dtype, samples.dtype) == (np.uint8, np.int64)
    assert hashlib.sha256(datasets.tobytes()).hexdigest() == case["dataset_index_sha256"]
    assert hashlib.sha256(samples.tobytes()).hexdigest() == case["dataset_sample_index_sha256"]


WEIGHTS = st.lists(st.floats(0, 100), min_size=1, max_size=6).filter(lambda weights: sum(weights) > 1e-6)


@settings(deadline=None)
@given(weights=WEIGHTS, size=st.integers(0, 300))
def test_blends_are_greedy(weights: list[float], size: int) -> None:
    for recipe, dtype in [("neox", np.uint8), ("megatron-core", np.int16)]:
        datasets, samples = blend_indices(weights, size, recipe)
        assert datasets.dtype == dtype
        assert (datasets.tolist(), samples.tolist()) == orders.blend(weights, size)


@given(weights=WEIGHTS, num_samples=st.integers(1, 10**9))
def test_each_dataset_is_asked_for_enough(weights: list[float], num_samples: int) -> None:
    for recipe in ("neox", "megatron-core"):
        shares = normalized_weights(weights, recipe)
        for share, size in zip(shares, blend_sizes(weights, num_samples, recipe), strict=True):
            assert size >= math.ceil(num_samples * share * 1.0049)


def test_weights_are_written_as_decimals_or_fractions() -> None:
    assert parse_weights(["0.7", "1/3", "2", "1e-3"]) == [0.7, 1 / 3, 2.0, 1e-3]
    for text in ("x", "1/0", "", "1e999999"):
        with pytest.raises(ParameterError, match="is not a number"):
            parse_weights([text])


def test_pythia_asked_for_what_its_maps_are_named() -> None:
    assert blend_sizes([1.0], 143_000 * 1024) == [147_164_160]


def test_a_blend_never_leaves_its_datasets() -> None:
    for weights in ([0.7, 0.3], [5, 3, 2], [1, 1e-3], [0.1] * 10):
        for size in (1, 2, 10, 999):
            _, samples = blend_indices(weights, size)
            datasets, _ = blend_indices(weights, size)
            for number, most in enumerate(blend_sizes(weights, size)):
                assert samples[datasets == number].max(initial=-1) < most


@pytest.mark.parametrize("weights", [[], [0, 0], [-1, 2], [math.nan], [math.inf, 1]])
def test_weights_that_are_none(weights: list[float]) -> None:
    with pytest.raises(ParameterError, match="weights"):
        blend_indices(weights, 1)


def test_too_many_datasets() -> None:
    with pytest.raises(ParameterError, match="neox blends up to 254"):
        blend_indices([1.0] * 255, 1)
    assert len(blend_indices([1.0] * 255, 255, "megatron-core")[0]) == 255


@pytest.mark.parametrize("case", json.loads((GOLDEN / "neox" / "splits.json").read_text()))
def test_splits_are_those_of_gpt_neox(case: dict[str, Any]) -> None:
    ranges = split_documents(case["split"], case["documents"])
    assert [0, *(stop for _, stop in ranges)] == case["boundaries"]
    assert [start for start, _ in ranges] == case["boundaries"][:-1]


def test_splits_of_few_documents() -> None:
    # GPT-NeoX takes the excess of rounding from every boundary but the first.
    assert split_documents("1,1,1", 2) == [(0, 0), (0, 1), (1, 2)]
    assert split_documents("1,1,1", 2, "megatron-core") == [(0, 1), (1, 1), (1, 2)]
    assert split_documents("1,1", 3) == [(0, 1), (1, 3), (3, 3)]
    assert split_documents("7", 3) == [(0, 3), (3, 3), (3, 3)]
    assert split_documents("99,1,0", 1000, "megatron-core") == [(0, 990), (990, 1000), (1000, 1000)]


@pytest.mark.parametrize("split", ["", "a,b", "0,0,0", "-1,2", "nan,1", "1,,2", "1;2"])
def test_splits_that_are_none(split: str) -> None:
    with pytest.raises(ParameterError, match="split"):
        split_documents(split, 10)


@pytest.mark.parametrize("split", ["", "1,1,1,1", "0", "1.2.3"])
def test_megatron_core_splits_that_are_none(split: str) -> None:
    with pytest.raises(ParameterError, match="split"):
        split_documents(split, 10, "megatron-core")
