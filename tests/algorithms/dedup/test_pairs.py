"""Which pairs of buckets are compared, against a plain double loop."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pile_tools.algorithms.dedup.pairs import ALL_PAIRS, WINDOW, cross_pairs, order_large_buckets, star_pairs


def make(sizes: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # Members of one bucket lie between those of others, as they do in a corpus.
    total = sum(sizes)
    owners = np.random.RandomState(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    members = np.concatenate(
        [np.empty(0, np.int64), *(np.flatnonzero(owners == i) for i in range(len(sizes)))]
    )
    assert len(members) == total
    return members, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


@given(st.lists(st.integers(2, 6), max_size=6))
def test_star_pairs(sizes: list[int]) -> None:
    members, offsets = make(sizes)
    expected = [(members[a], other) for a, b in pairwise(offsets) for other in members[a + 1 : b].tolist()]
    assert list(map(tuple, star_pairs(members, offsets))) == sorted(expected, key=lambda pair: pair[1])


@given(
    st.lists(st.sampled_from([3, 4, 7, ALL_PAIRS, ALL_PAIRS + 1, 100]), max_size=4),
    st.integers(1, 5),
    st.sampled_from([1, 200, 1 << 16]),
)
def test_cross_pairs(sizes: list[int], n_labels: int, chunk: int) -> None:
    members, offsets = make(sizes)
    labels = np.random.RandomState(1).randint(0, n_labels, len(members)).astype(np.int64)
    expected = []
    for a, b in pairwise(offsets.tolist()):
        large = b - a > ALL_PAIRS
        for i in range(a if large else a + 1, b):
            for j in range(i + 1, min(b, i + 1 + WINDOW) if large else b):
                if labels[i] != labels[j]:
                    expected.append(sorted((members[i], members[j])))
    found = [pair for piece in cross_pairs(members, offsets, labels, chunk) for pair in piece.tolist()]
    assert found == expected


def test_large_buckets_are_ordered_by_another_key() -> None:
    members, offsets = make([3, ALL_PAIRS + 6])
    before = members.copy()
    keys = np.random.RandomState(2).randint(0, 3, len(members)).astype(np.uint64)
    order_large_buckets(members, offsets, keys)
    assert members[:3].tolist() == before[:3].tolist()
    key_of = dict(zip(before.tolist(), keys.tolist(), strict=True))
    large = members[3:].tolist()
    assert large == sorted(before[3:].tolist(), key=lambda member: (key_of[member], member))
