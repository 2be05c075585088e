"""Strategies of hypothesis that several tests draw from: sizes of documents, their tokens, stream shapes."""

from hypothesis import strategies as st

__all__ = ["document_sizes", "stream_shapes", "token_documents"]


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
