"""The legacy shuffle against NumPy's own, bit for bit."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.algorithms.orders.legacy_shuffle import _shuffle, shuffle

DTYPES = st.sampled_from(["i4", "u4", "i8", "u2"])


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9000), min_size=1, max_size=3),
    seed=st.integers(0, 2**32 - 1),
    dtype=DTYPES,
)
def test_equal_to_numpy_and_so_is_what_is_drawn_next(lengths: list[int], seed: int, dtype: str) -> None:
    theirs, ours = np.random.RandomState(seed), np.random.RandomState(seed)
    for length in lengths:
        one = np.arange(length).astype(dtype)
        two = one.copy()
        theirs.shuffle(one)
        shuffle(ours, two)
        np.testing.assert_array_equal(one, two)
        assert theirs.randint(0, 2**31) == ours.randint(0, 2**31)


@pytest.mark.parametrize("length", [2**16, 2**16 + 1, 2**20 - 1, 300_000])
def test_equal_to_numpy_over_many_blocks(length: int) -> None:
    one = np.arange(length, dtype=np.uint32)
    two = one.copy()
    np.random.RandomState(7).shuffle(one)
    shuffle(np.random.RandomState(7), two)
    np.testing.assert_array_equal(one, two)


def test_a_slice_is_shuffled_in_place() -> None:
    array = np.arange(100, dtype=np.int32)
    shuffle(np.random.RandomState(1), array[10:60])
    expected = np.arange(10, 60, dtype=np.int32)
    np.random.RandomState(1).shuffle(expected)
    assert array.tolist() == [*range(10), *expected.tolist(), *range(60, 100)]


def plain(length: int, seed: int, top_of_one_word: int) -> npt.NDArray[np.int64]:
    """Two words, the high one first, for a number above ``top_of_one_word``, as NumPy does above 2³² − 1."""
    generator = np.random.RandomState(seed)
    array = np.arange(length)
    for last in range(length - 1, 0, -1):
        mask = 2 ** last.bit_length() - 1
        while True:
            value = int(generator.randint(0, 2**32, dtype=np.uint32))
            if last > top_of_one_word:
                value = value << 32 | int(generator.randint(0, 2**32, dtype=np.uint32))
            if value & mask <= last:
                break
        array[[value & mask, last]] = array[[last, value & mask]]
    return array


@pytest.mark.parametrize("top", [2**32 - 1, 1000, 700, 1])
def test_numbers_of_two_words(top: int) -> None:
    # With a limit that is within reach: no test can hold an array of 2³² entries.
    array = np.arange(1500)
    key = np.random.RandomState(3).get_state(legacy=False)["state"]["key"].astype(np.uint32)
    _shuffle(array, key, np.int64(624), np.int64(top))
    np.testing.assert_array_equal(array, plain(1500, 3, top))
