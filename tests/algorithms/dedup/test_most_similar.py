"""The most similar neighbour, against fractions."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.dedup.most_similar import update_best

edges = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(1, 6), st.integers(6, 9)).filter(
        lambda edge: edge[0] != edge[1]
    ),
    max_size=20,
)


@given(edges)
def test_update_best(found: list[tuple[int, int, int, int]]) -> None:
    best, common, union = np.full(8, -1, np.int64), np.zeros(8, np.int64), np.zeros(8, np.int64)
    for start in range(0, len(found), 6):
        columns = np.array(found[start : start + 6], dtype=np.int64).reshape(-1, 4).T
        update_best(*columns, best, common, union)
    for node in range(8):
        mine = [(Fraction(c, u), -(b if a == node else a)) for a, b, c, u in found if node in (a, b)]
        if not mine:
            assert best[node] == -1
            continue
        similarity, other = max(mine)
        assert best[node] == -other
        assert Fraction(int(common[node]), int(union[node])) == similarity
