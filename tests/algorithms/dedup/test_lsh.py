"""Bands, keys and buckets: against datasketch, and against all pairs."""

from itertools import pairwise

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.dedup.lsh import (
    Bands,
    band_keys,
    buckets,
    candidate_probability,
    datasketch_bands,
    recall_bands,
)
from pile_tools.errors import ParameterError


@pytest.mark.parametrize(
    ("threshold", "num_perm", "expected"),
    [
        (0.87, 128, (16, 8)),
        (0.5, 128, (42, 3)),
        (0.95, 128, (9, 14)),
        (1.0, 128, (1, 128)),
        (0.001, 8, (8, 1)),
    ],
)
def test_recall_bands(threshold: float, num_perm: int, expected: tuple[int, int]) -> None:
    assert recall_bands(threshold, num_perm) == Bands(*expected)


@given(st.floats(0.2, 1.0), st.integers(16, 256))
def test_recall_bands_are_the_most_selective_with_that_recall(threshold: float, num_perm: int) -> None:
    chosen = recall_bands(threshold, num_perm)
    if chosen.rows > 1:
        assert candidate_probability(threshold, chosen) >= 0.995
    for rows in range(chosen.rows + 1, num_perm + 1):
        assert candidate_probability(threshold, Bands(num_perm // rows, rows)) < 0.995


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.87, 0.95])
def test_datasketch_bands(threshold: float) -> None:
    judge = MinHashLSH(threshold=threshold, num_perm=128)
    assert datasketch_bands(threshold, 128) == Bands(judge.b, judge.r)


def test_bands_that_datasketch_refuses() -> None:
    with pytest.raises(ParameterError, match=r"number of bands are too small"):
        datasketch_bands(0.87, 10)


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), max_size=12),
    st.sampled_from([(1, 1), (3, 2), (2, 3), (6, 1)]),
    st.booleans(),
)
def test_candidates_are_those_of_datasketch(
    rows: list[list[int]], shape: tuple[int, int], wide: bool
) -> None:
    signatures = np.array(rows, dtype=np.uint32).reshape(-1, 6)
    bands = Bands(*shape)
    if shape[0] > 1:
        judge = MinHashLSH(num_perm=6, params=shape)
        hashes = [MinHash(hashvalues=row, scheme="affine32") for row in signatures]
        for i, one in enumerate(hashes):
            judge.insert(i, one)
        expected = {(i, j) for i, one in enumerate(hashes) for j in judge.query(one) if i < j}
    else:
        expected = {
            (i, j) for j in range(len(rows)) for i in range(j) if rows[i][: shape[1]] == rows[j][: shape[1]]
        }
    keys = band_keys(signatures, bands, wide=wide)
    found = set()
    for band in range(bands.bands):
        members, offsets = buckets(keys[0, band], keys[1, band] if wide else None)
        for start, end in pairwise(offsets):
            bucket = members[start:end].tolist()
            assert len(bucket) > 1
            assert bucket == sorted(bucket)
            found |= {(i, j) for i in bucket for j in bucket if i < j}
    assert found == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=40))
def test_buckets_tell_keys_apart_by_both_halves(pairs: list[tuple[int, int]]) -> None:
    one = np.array([a for a, _ in pairs], dtype=np.uint64)
    two = np.array([b for _, b in pairs], dtype=np.uint64)
    members, offsets = buckets(one, two)
    expected = [
        [i for i, pair in enumerate(pairs) if pair == key]
        for key in sorted(set(pairs))
        if pairs.count(key) > 1
    ]
    assert [members[a:b].tolist() for a, b in pairwise(offsets)] == expected


def test_more_rows_than_values() -> None:
    with pytest.raises(ParameterError, match="only 4 values"):
        band_keys(np.zeros((1, 4), dtype=np.uint32), Bands(2, 3), wide=False)
