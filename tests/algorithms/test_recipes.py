"""Recipes: equal to what GPT-NeoX made, and to plain Python for any sizes."""

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.algorithms import recipes
from pile_tools.algorithms.recipes import check_maps, count_epochs, count_samples, neox_order
from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.mmidx import read_index
from tests.reference import orders
from tests.token_data import GOLDEN

CASES = [
    (name, order)
    for name in ("small_u16", "small_i32")
    for order in json.loads((GOLDEN / "neox" / name / "expect.json").read_text())["orders"]
]


def sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "case"), CASES, ids=[f"{name}-{case['seq_length']}-{case['seed']}" for name, case in CASES]
)
def test_neox_equals_gpt_neox(name: str, case: dict[str, Any]) -> None:
    sizes = read_index(GOLDEN / "neox" / name / "document.idx").sizes
    order = neox_order(
        sizes, seq_length=case["seq_length"], num_samples=case["num_samples"], seed=case["seed"]
    )
    assert order.epochs == case["num_epochs"]
    assert len(order.doc_idx) == case["doc_idx_len"]
    assert list(order.sample_idx.shape) == case["sample_idx_shape"]
    assert len(order.shuffle_idx) == case["shuffle_idx_len"]
    for array in ("doc_idx", "sample_idx", "shuffle_idx"):
        assert getattr(order, array).dtype.name == case[f"{array}_dtype"]
        assert sha256(getattr(order, array)) == case[f"{array}_sha256"]


SIZES = st.lists(st.integers(0, 30), min_size=1, max_size=20).filter(lambda sizes: sum(sizes) >= 2)


@settings(deadline=None)
@given(sizes=SIZES, seq_length=st.integers(1, 40), num_samples=st.integers(1, 60), seed=st.integers(0, 99))
def test_neox_equals_plain_python(sizes: list[int], seq_length: int, num_samples: int, seed: int) -> None:
    array = np.array(sizes, np.int32)
    order = neox_order(array, seq_length=seq_length, num_samples=num_samples, seed=seed)
    expected = orders.neox(sizes, seq_length, num_samples, seed)
    for found, wanted in zip((order.doc_idx, order.sample_idx, order.shuffle_idx), expected, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    check_maps(array, order.doc_idx, order.sample_idx, order.shuffle_idx, seq_length)


@given(tokens=st.integers(2, 50), seq_length=st.integers(1, 20), num_samples=st.integers(1, 200))
def test_epochs_are_the_fewest_that_suffice(tokens: int, seq_length: int, num_samples: int) -> None:
    epochs = count_epochs(tokens, seq_length, num_samples)
    assert count_samples(tokens, seq_length, epochs) >= num_samples
    assert epochs == 1 or count_samples(tokens, seq_length, epochs - 1) < num_samples


def test_pythia_deduped_has_two_epochs_in_less_than_one_and_a_half() -> None:
    # The published numbers: 207 billion tokens, 147,164,160 samples of 2048.
    assert count_epochs(207_000_000_000, 2048, 147_164_160) == 2


def test_the_dtype_of_sample_idx_follows_gpt_neox(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, doc_idx = np.array([9], np.int32), np.array([0], np.int32)
    for limit, dtype in [(9, np.int64), (10, np.int64), (11, np.int32)]:
        # 8 / 2 = 4 samples, and 2·(4 + 1) is 10.
        monkeypatch.setattr(recipes, "_INT32_MAX", limit)
        assert recipes.build_sample_idx(sizes, doc_idx, 2, 9).dtype == dtype


def test_the_dtype_of_shuffle_idx_follows_gpt_neox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "_UINT32_MAX", 10)
    generator = np.random.RandomState(0)
    assert recipes.build_shuffle_idx(8, generator).dtype == np.uint32
    assert recipes.build_shuffle_idx(9, generator).dtype == np.int64


@pytest.mark.parametrize(
    ("sizes", "settings_", "error", "message"),
    [
        ([5], {"seq_length": 0}, ParameterError, "seq_length 0"),
        ([5], {"num_samples": 0}, ParameterError, "num_samples 0"),
        ([5], {"seed": -1}, ParameterError, "seed -1"),
        ([5], {"seed": 2**32}, ParameterError, "seed 4294967296"),
        ([], {}, DataError, "0 tokens in 0 documents"),
        ([0, 0], {}, DataError, "0 tokens in 2 documents"),
        ([1], {}, DataError, "1 tokens"),
    ],
)
def test_values_without_an_order(
    sizes: list[int], settings_: dict[str, int], error: type[Exception], message: str
) -> None:
    values = {"seq_length": 2, "num_samples": 1, "seed": 0} | settings_
    with pytest.raises(error, match=message):
        neox_order(np.array(sizes, np.int32), **values)


@pytest.mark.parametrize(
    ("array", "place", "value", "message"),
    [
        ("doc_idx", 3, 99, "document 99 at place 3"),
        ("doc_idx", 3, -1, "document -1 at place 3"),
        ("doc_idx", 0, None, "times"),
        ("sample_idx", (0, 1), 1, "sample 0"),
        ("sample_idx", (5, 1), 99, "sample 5"),
        ("sample_idx", (5, 0), -1, "sample 5"),
        ("shuffle_idx", 2, None, "no permutation"),
        ("shuffle_idx", 2, 4_000_000_000, "holds 4000000000 at place 2"),
    ],
)
def test_damaged_maps_are_found(array: str, place: Any, value: int | None, message: str) -> None:
    sizes = np.array([7, 0, 5, 11, 3], np.int32)
    order = neox_order(sizes, seq_length=3, num_samples=20, seed=1)
    arrays = {name: getattr(order, name).copy() for name in ("doc_idx", "sample_idx", "shuffle_idx")}
    wrong = arrays[array]
    # None: the value of another place, so that each number alone is a legal one.
    other = next((number for number in wrong.reshape(-1).tolist() if number != wrong[place]), 0)
    wrong[place] = other if value is None else value
    with pytest.raises(DataError, match=message):
        check_maps(sizes, **arrays, seq_length=3)
