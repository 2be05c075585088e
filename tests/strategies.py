"""Strategies of hypothesis that several tests draw from: documents, their tokens, stream shapes, orders."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

__all__ = ["document_sizes", "order_arrays", "stream_shapes", "token_documents"]


def document_sizes(*, largest: int = 30, max_size: int = 20) -> st.SearchStrategy[list[int]]:
    """Draw sizes of documents, some of them empty, that make at least one sample of one token."""
    sizes = st.lists(st.integers(0, largest), min_size=1, max_size=max_size)
    return sizes.filter(lambda drawn: sum(drawn) >= 2)


def token_documents(
    largest_id: int, *, min_tokens: int = 2, max_tokens: int = 14, min_size: int = 2, max_size: int = 8
) -> st.SearchStrategy[list[list[int]]]:
    """Draw documents of ids up to ``largest_id`` that have at least two tokens together."""
    tokens = st.lists(st.integers(0, largest_id), min_size=min_tokens, max_size=max_tokens)
    documents = st.lists(tokens, min_size=min_size, max_size=max_size)
    return documents.filter(lambda drawn: sum(map(len, drawn)) >= 2)


def stream_shapes(
    *, longest: int = 9, fewest: int = 1, most: int = 30
) -> st.SearchStrategy[tuple[int, int, int]]:
    """Draw (seq_length, batch_size, num_samples) of a small stream."""
    return st.tuples(st.integers(1, longest), st.integers(1, 4), st.integers(fewest, most))


@st.composite
def order_arrays(draw: st.DrawFn) -> tuple[Any, ...]:
    """Draw sizes, doc_idx, sample_idx and seq_length of an order, sometimes with one entry that is wrong."""
    sizes = np.array(draw(st.lists(st.integers(0, 9), min_size=1, max_size=8)), np.int32)
    epochs = draw(st.integers(1, 3))
    doc_idx = np.array(draw(st.permutations([*range(len(sizes))] * epochs)), np.int32)
    seq_length = draw(st.integers(1, 6))
    ends = np.cumsum(sizes[doc_idx])
    cuts = np.arange(0, ends[-1], seq_length)
    indices = np.searchsorted(ends, cuts, side="right")
    sample_idx = np.stack([indices, cuts - ends[indices] + sizes[doc_idx[indices]]], axis=1).astype(np.int32)
    sample_idx[:1] = 0
    if draw(st.booleans()):
        array = draw(st.sampled_from([sizes, doc_idx, sample_idx.reshape(-1)]))
        if len(array):
            array[draw(st.integers(0, len(array) - 1))] = draw(st.integers(-2, 12))
    return sizes, doc_idx, sample_idx, seq_length
