"""Components against a graph search."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.components import component_roots, unite
from tests.reference.dedup import graph_components


@given(st.integers(1, 12), st.data())
def test_roots_are_the_first_of_each_component(n: int, data: st.DataObject) -> None:
    nodes = st.integers(0, n - 1)
    edges = data.draw(st.lists(st.tuples(nodes, nodes), max_size=20))
    parent = np.arange(n, dtype=np.int64)
    for start in range(0, len(edges), 7):
        piece = np.array(edges[start : start + 7], dtype=np.int64).reshape(-1, 2)
        unite(parent, piece[:, 0], piece[:, 1])
    neighbours: dict[int, set[int]] = {i: set() for i in range(n)}
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    expected = list(range(n))
    for component in graph_components(neighbours):
        for node in component:
            expected[node] = component[0]
    assert component_roots(parent).tolist() == expected
