"""Shingles, their sets and the fused signing kernel against plain Python and datasketch."""

from itertools import pairwise

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pile_tools.algorithms.minhash import permutations
from pile_tools.algorithms.shingle import (
    shingle_hashes,
    shingle_sets,
    sign_documents,
)
from pile_tools.algorithms.unicode_data import NORMALIZATIONS, Normalization
from pile_tools.errors import ParameterError
from tests.reference import dedup as oracle
from tests.reference.unicode import border_texts, texts

documents = st.lists(
    st.one_of(
        texts,
        border_texts,
        st.lists(st.sampled_from(["a", "b", "Bc", "漢字", "é", "…"]), max_size=600).map(" ".join),
    ),
    max_size=5,
)

forms = st.sampled_from(NORMALIZATIONS)


def join(texts: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    data = [text.encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(d) for d in data], dtype=np.int64)]).astype(np.int64)
    return np.frombuffer(b"".join(data), dtype=np.uint8), offsets


@given(documents, st.integers(1, 7), forms)
def test_shingle_hashes_and_sets(texts: list[str], n: int, form: Normalization) -> None:
    text, offsets = join(texts)
    hashes, ends = shingle_hashes(text, offsets, n, form)
    sets, set_ends = shingle_sets(text, offsets, n, form)
    for document, (a, b), (c, d) in zip(texts, pairwise(ends), pairwise(set_ends), strict=True):
        expected = sorted({oracle.shingle_hash(s) for s in oracle.shingles(document, n, form)})
        assert sorted(set(hashes[a:b].tolist())) == expected
        assert sets[c:d].tolist() == expected
        words = oracle.words(document, form)
        assert b - a == (max(len(words) - n + 1, 1) if words else 0)


@given(documents, st.integers(1, 7), st.sampled_from([1, 3, 128, 130]), forms)
def test_signatures_are_those_of_datasketch(
    texts: list[str], n: int, num_perm: int, form: Normalization
) -> None:
    text, offsets = join(texts)
    signed = sign_documents(text, offsets, n, permutations(num_perm, 7), form)
    for i, document in enumerate(texts):
        judge = MinHash(num_perm, seed=7, hashfunc=lambda h: h & 0xFFFFFFFF)
        judge.update_batch([oracle.shingle_hash(s) for s in oracle.shingles(document, n, form)])
        assert signed.signatures[i].tolist() == judge.hashvalues.tolist()
        assert signed.words[i] == len(oracle.words(document, form))


@given(st.lists(st.sampled_from(["a b c", "A, b; c!", "ab c", "a bc", "b a c", "", "a b c d"]), max_size=8))
def test_word_hashes_are_equal_for_equal_words_alone(texts: list[str]) -> None:
    signed = sign_documents(*join(texts), 5, permutations(4, 1))
    for i, one in enumerate(texts):
        for j, two in enumerate(texts):
            same = (signed.word_hashes[i] == signed.word_hashes[j]).all()
            assert same == (oracle.words(one) == oracle.words(two))


def test_ngram_out_of_range() -> None:
    for n in (0, 65):
        with pytest.raises(ParameterError, match="ngram"):
            shingle_sets(*join(["a"]), n)
