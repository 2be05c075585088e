"""Compiled code that checks the maps of large orders, against NumPy for small ones."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pile_tools.algorithms.orders import check_kernels, check_maps
from pile_tools.errors import DataError
from tests.strategies import order_arrays

numbers = st.integers(-2, 12)


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except DataError as error:
        return str(error)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12))
@settings(deadline=None)
def test_a_sample_that_is_shown_twice_is_seen_alike(pairs: list[tuple[int, int]]) -> None:
    positions, samples = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    few, many = ([np.zeros(3, np.uint8), np.zeros(3, np.uint8)] for _ in range(2))
    found = check_maps.first_repeated_read(positions, samples, *few)
    assert found == check_kernels.first_repeated_read(positions, samples, *many)
    assert [bits.tolist() for bits in few] == [bits.tolist() for bits in many]


@given(order_arrays(), st.lists(numbers, min_size=1, max_size=8) | st.permutations(range(6)))
@settings(deadline=None)
def test_small_orders_are_checked_as_large_ones_are(order: tuple[Any, ...], shuffled: list[int]) -> None:
    sizes, doc_idx, sample_idx, seq_length = order
    assume(len(sample_idx))
    shuffle_idx = np.array(shuffled, np.int64)

    def outcomes() -> list[Any]:
        return [
            outcome(check_maps.check_doc_idx, doc_idx, len(sizes)),
            outcome(check_maps.check_sample_idx, sizes, doc_idx, seq_length, sample_idx),
            outcome(check_maps.check_shuffle_idx, shuffle_idx, len(shuffle_idx)),
        ]

    small = outcomes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_maps, "FEW", -1)
        assert outcomes() == small
