"""Components against a graph search."""

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.dedup.components import component_roots, representatives, unite
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


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(0, 12), st.data())
def test_representatives(labels: list[int], fixed: int, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(labels), max_size=len(labels)))
    members = {label: [i for i, other in enumerate(labels) if other == label] for label in labels}
    roots = np.array([members[label][0] for label in labels], dtype=np.int32)

    def expected(choose: Callable[[list[int]], int]) -> list[int]:
        return [m[0] if m[0] < fixed else choose(m) for m in (members[label] for label in labels)]

    assert representatives(roots, fixed=fixed).tolist() == expected(lambda m: m[0])
    assert representatives(roots, fixed=fixed, take_last=True).tolist() == expected(lambda m: m[-1])
    heaviest = representatives(roots, fixed=fixed, weights=np.array(weights, dtype=np.int64))
    assert heaviest.tolist() == expected(lambda m: max(m, key=lambda i: (weights[i], -i)))
