"""Permutations and signatures equal datasketch's, in both schemes."""

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.dedup.minhash import Scheme, permutations, sign
from pile_tools.errors import ParameterError


@pytest.mark.parametrize("scheme", ["affine32", "legacy"])
@pytest.mark.parametrize(("num_perm", "seed"), [(1, 0), (10, 1), (128, 1), (129, 2**32 - 1)])
def test_permutations(scheme: Scheme, num_perm: int, seed: int) -> None:
    judge = MinHash(num_perm, seed=seed, scheme=scheme).permutations
    ours = permutations(num_perm, seed, scheme)
    assert ours.dtype == judge.dtype
    assert (ours == judge).all()


@given(
    st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=20), max_size=5),
    st.sampled_from([1, 2, 16, 33]),
    st.sampled_from(["affine32", "legacy"]),
)
def test_signatures(sets: list[list[int]], num_perm: int, scheme: Scheme) -> None:
    hashes = np.array([h for one in sets for h in one], dtype=np.uint32)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in sets], dtype=np.int64)]).astype(np.int64)
    ours = sign(hashes, offsets, permutations(num_perm, 3, scheme))
    assert ours.shape == (len(sets), num_perm)
    for row, one in zip(ours, sets, strict=True):
        judge = MinHash(num_perm, seed=3, scheme=scheme, hashfunc=lambda h: h)
        judge.update_batch(one)
        assert row.tolist() == judge.hashvalues.tolist()


def test_parameters_out_of_range() -> None:
    with pytest.raises(ParameterError, match="num_perm"):
        permutations(0, 1)
    with pytest.raises(ParameterError, match="seed"):
        permutations(1, 2**32)
