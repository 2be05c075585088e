"""Recipes: equal to what GPT-NeoX made, and to plain Python for any sizes."""

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.algorithms.orders import recipes
from pile_tools.algorithms.orders.recipes import (
    Order,
    count_epochs,
    count_samples,
    is_last_apart,
    megatron_core_order,
    neox_order,
)
from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.mmidx import read_index
from tests.reference import orders
from tests.strategies import document_sizes
from tests.token_data import GOLDEN

MEGATRON = json.loads((GOLDEN / "megatron_core" / "expect.json").read_text())["orders"]
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


SIZES = document_sizes()


@settings(deadline=None)
@given(sizes=SIZES, seq_length=st.integers(1, 40), num_samples=st.integers(1, 60), seed=st.integers(0, 99))
def test_neox_equals_plain_python(sizes: list[int], seq_length: int, num_samples: int, seed: int) -> None:
    array = np.array(sizes, np.int32)
    order = neox_order(array, seq_length=seq_length, num_samples=num_samples, seed=seed)
    expected = orders.neox(sizes, seq_length, num_samples, seed)
    for found, wanted in zip((order.doc_idx, order.sample_idx, order.shuffle_idx), expected, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


@given(tokens=st.integers(2, 50), seq_length=st.integers(1, 20), num_samples=st.integers(1, 200))
def test_epochs_are_the_fewest_that_suffice(tokens: int, seq_length: int, num_samples: int) -> None:
    epochs = count_epochs(tokens, seq_length, num_samples)
    assert count_samples(tokens, seq_length, epochs) >= num_samples
    assert epochs == 1 or count_samples(tokens, seq_length, epochs - 1) < num_samples


def test_pythia_deduped_has_two_epochs_in_less_than_one_and_a_half() -> None:
    # The published numbers: 207 billion tokens, 147,164,160 samples of 2048.
    assert count_epochs(207_000_000_000, 2048, 147_164_160) == 2


def test_the_dtype_of_sample_idx_follows_gpt_neox(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.array([9], np.int32)
    for limit, dtype in [(9, np.int64), (10, np.int64), (11, np.int32)]:
        # 8 / 2 = 4 samples, and 2·(4 + 1) is 10.
        monkeypatch.setattr(recipes, "_INT32_MAX", limit)
        assert neox_order(sizes, seq_length=2, num_samples=4, seed=0).sample_idx.dtype == dtype


def test_the_dtype_of_sample_idx_follows_megatron_core(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.array([9, 1, 1], np.int32)
    for limit, dtype in [(8, np.int64), (9, np.int32)]:
        monkeypatch.setattr(recipes, "_INT32_MAX", limit)
        order = megatron_core_order(sizes, seq_length=2, num_samples=4, seed=0)
        assert order.sample_idx.dtype == dtype


def test_the_dtype_of_shuffle_idx_follows_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "_UINT32_MAX", 10)
    for size, dtype in [(9, np.uint32), (10, np.int64)]:
        order = neox_order(np.array([size], np.int32), seq_length=1, num_samples=2, seed=0)
        assert (len(order.shuffle_idx), order.shuffle_idx.dtype) == (size - 1, dtype)


@pytest.mark.parametrize("case", MEGATRON, ids=lambda case: f"{case['seq_length']}-{case['num_samples']}")
def test_megatron_core_equals_megatron_core(case: dict[str, Any]) -> None:
    sizes = read_index(GOLDEN / "megatron_core" / "document.idx").sizes
    order = megatron_core_order(
        sizes, seq_length=case["seq_length"], num_samples=case["num_samples"], seed=case["seed"]
    )
    arrays = (order.doc_idx, order.sample_idx, order.shuffle_idx)
    assert [array.dtype.name for array in arrays] == case["dtypes"]
    assert [len(array) for array in arrays] == case["lens"]
    assert sha256(order.doc_idx) == case["document_index_sha256"]
    assert sha256(order.sample_idx) == case["sample_index_sha256"]
    assert sha256(order.shuffle_idx) == case["shuffle_index_sha256"]


@settings(deadline=None)
@given(
    sizes=SIZES,
    seq_length=st.integers(1, 40),
    num_samples=st.one_of(st.none(), st.integers(1, 60)),
    seed=st.integers(0, 99),
)
def test_megatron_core_equals_plain_python(
    sizes: list[int], seq_length: int, num_samples: int | None, seed: int
) -> None:
    array = np.array(sizes, np.int32)
    order = megatron_core_order(array, seq_length=seq_length, num_samples=num_samples, seed=seed)
    expected = orders.megatron_core(sizes, seq_length, num_samples, seed)
    for found, wanted in zip((order.doc_idx, order.sample_idx, order.shuffle_idx), expected, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


@settings(deadline=None)
@given(sizes=SIZES, cut=st.tuples(st.integers(0, 20), st.integers(0, 20)), recipe=st.booleans())
def test_a_range_of_documents_is_ordered_as_if_it_were_alone(
    sizes: list[int], cut: tuple[int, int], recipe: bool
) -> None:
    start, stop = sorted(min(place, len(sizes)) for place in cut)
    array = np.array(sizes, np.int32)
    make = neox_order if recipe else megatron_core_order
    if sum(sizes[start:stop]) < 2:
        with pytest.raises(DataError, match="make no sample"):
            make(array, seq_length=3, num_samples=9, seed=1, documents=(start, stop))
        return
    part = make(array, seq_length=3, num_samples=9, seed=1, documents=(start, stop))
    alone = make(array[start:stop], seq_length=3, num_samples=9, seed=1)
    np.testing.assert_array_equal(part.doc_idx, alone.doc_idx + start)
    np.testing.assert_array_equal(part.sample_idx, alone.sample_idx)
    np.testing.assert_array_equal(part.shuffle_idx, alone.shuffle_idx)


def assert_same(one: Order, two: Order) -> None:
    assert one.epochs == two.epochs
    for name in ("doc_idx", "sample_idx", "shuffle_idx"):
        found, wanted = getattr(one, name), getattr(two, name)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def of_equal_epochs(data: st.DataObject, sizes: list[int], seq_length: int) -> tuple[int, int, int]:
    """A number of epochs, and two of the numbers of samples that need exactly so many."""
    tokens = sum(sizes)
    enough = [
        epochs
        for epochs in range(1, 41)
        if count_samples(tokens, seq_length, epochs) > count_samples(tokens, seq_length, epochs - 1)
        and count_samples(tokens, seq_length, epochs) > 0
    ]
    epochs = data.draw(st.sampled_from(enough[:6]))
    fewest = max(count_samples(tokens, seq_length, epochs - 1), 0) + 1
    number = st.integers(fewest, count_samples(tokens, seq_length, epochs))
    return epochs, data.draw(number), data.draw(number)


@settings(deadline=None)
@given(sizes=SIZES, seq_length=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_the_neox_order_depends_on_num_samples_only_through_the_epochs(
    sizes: list[int], seq_length: int, seed: int, data: st.DataObject
) -> None:
    array = np.array(sizes, np.int32)
    epochs, *numbers = of_equal_epochs(data, sizes, seq_length)
    one, two = (neox_order(array, seq_length=seq_length, num_samples=number, seed=seed) for number in numbers)
    assert one.epochs == epochs
    assert_same(one, two)


@settings(deadline=None)
@given(sizes=SIZES, seq_length=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_the_megatron_core_order_looks_at_num_samples_for_the_last_epoch_too(
    sizes: list[int], seq_length: int, seed: int, data: st.DataObject
) -> None:
    array = np.array(sizes, np.int32)
    epochs, *numbers = of_equal_epochs(data, sizes, seq_length)
    one, two = (
        megatron_core_order(array, seq_length=seq_length, num_samples=number, seed=seed) for number in numbers
    )
    apart = {is_last_apart(sum(sizes), seq_length, epochs, number) for number in numbers}
    assert one.epochs == two.epochs == epochs
    if len(apart) == 1:
        assert_same(one, two)


def test_two_numbers_of_samples_with_equal_epochs_and_different_megatron_core_orders() -> None:
    sizes = np.array([30, 17, 25, 28], np.int32)
    one, two = (megatron_core_order(sizes, seq_length=4, num_samples=number, seed=1) for number in (30, 49))
    assert one.epochs == two.epochs == 2
    assert one.doc_idx.tolist() != two.doc_idx.tolist()


@pytest.mark.parametrize(
    ("sizes", "settings_", "error", "message"),
    [
        ([5], {"documents": (0, 2)}, ParameterError, "documents 0 to 2"),
        ([5], {"documents": (-1, 1)}, ParameterError, "documents -1 to 1"),
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
    sizes: list[int], settings_: dict[str, Any], error: type[Exception], message: str
) -> None:
    values: dict[str, Any] = {"seq_length": 2, "num_samples": 1, "seed": 0} | settings_
    with pytest.raises(error, match=message):
        neox_order(np.array(sizes, np.int32), **values)
