"""Intersections of sorted sets against Python's sets, and the threshold at its very edge."""

from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from pile_tools.algorithms.dedup.jaccard import intersection_sizes


@given(
    st.lists(st.sets(st.integers(0, 30), max_size=20), min_size=1, max_size=6),
    st.sampled_from([0.01, 0.3, 0.5, 2 / 3, 0.87, 1.0]),
)
@example([set(range(87)), set(range(100))], 0.87)
@example([set(range(86)), set(range(99))], 0.87)
def test_intersection_sizes(sets: list[set[int]], threshold: float) -> None:
    values = np.array([v for one in sets for v in sorted(one)], dtype=np.uint64)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in sets])])
    pairs = [(i, j) for i in range(len(sets)) for j in range(len(sets))]
    a, b = np.array(pairs, dtype=np.int64).T
    common = intersection_sizes(values, offsets, np.ascontiguousarray(a), np.ascontiguousarray(b), threshold)
    for (i, j), found in zip(pairs, common.tolist(), strict=True):
        one, two = sets[i], sets[j]
        if one and two and float(Fraction(len(one & two), len(one | two))) >= threshold:
            assert found == len(one & two)
        else:
            assert found == -1
