"""Orders are told from what is none."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.algorithms.orders.check_maps import check_maps
from pile_tools.algorithms.orders.recipes import megatron_core_order, neox_order
from pile_tools.errors import DataError
from tests.strategies import document_sizes

SIZES = document_sizes()


@settings(deadline=None)
@given(sizes=SIZES, seq_length=st.integers(1, 40), num_samples=st.integers(1, 60), recipe=st.booleans())
def test_every_order_passes(sizes: list[int], seq_length: int, num_samples: int, recipe: bool) -> None:
    array = np.array(sizes, np.int32)
    make = neox_order if recipe else megatron_core_order
    order = make(array, seq_length=seq_length, num_samples=num_samples, seed=3)
    check_maps(array, order.doc_idx, order.sample_idx, order.shuffle_idx, seq_length)


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
