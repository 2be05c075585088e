"""The way back from documents to samples, against plain loops over every token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.orders import inverse
from pile_tools.algorithms.orders.inverse import document_pieces, find_places, samples_of_spans
from pile_tools.algorithms.orders.recipes import neox_order
from pile_tools.errors import DataError
from tests.reference.asking import sample_tokens
from tests.strategies import document_sizes


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("number", [0, 1, 4, 5, 300])
def test_places_of_numbers(dtype: type, number: int) -> None:
    generator = np.random.RandomState(number)
    values = generator.randint(0, 5000, 40_000).astype(dtype)
    wanted = generator.choice(6000, number, replace=False)
    found = find_places(values, np.concatenate([wanted, wanted, [-1, 2**40]]))
    np.testing.assert_array_equal(found, np.flatnonzero(np.isin(values, wanted)))
    found = find_places(values, wanted, limit=20_001)
    np.testing.assert_array_equal(found, np.flatnonzero(np.isin(values[:20_001], wanted)))


def test_numbers_that_share_the_bits_of_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inverse, "_MIN_BITS", 64)
    monkeypatch.setattr(inverse, "_MAX_BITS", 64)
    values = np.arange(100_000, dtype=np.uint32)[::-1].copy()
    wanted = np.array([0, 64, 128, 4_097, 99_999, 77])
    np.testing.assert_array_equal(find_places(values, wanted), np.sort(99_999 - wanted))


def test_large_and_many() -> None:
    values = np.full(70_000, 2**32 - 1, np.uint32)
    np.testing.assert_array_equal(find_places(values, [2**32 - 1]), np.arange(70_000))
    np.testing.assert_array_equal(find_places(values, [2**32 - 1, 1, 2, 3, 4]), np.arange(70_000))
    assert len(find_places(values.astype(np.int32), [-1, 2**32 - 1])) == 0
    assert len(find_places(np.empty(0, np.int32), [1])) == 0


orders = st.tuples(
    document_sizes(max_size=12),
    st.integers(1, 20),
    st.integers(1, 30),
)


@given(orders)
def test_pieces_of_documents(order: tuple[list[int], int, int]) -> None:
    sizes, seq_length, num_samples = order
    maps = neox_order(np.array(sizes, np.int32), seq_length=seq_length, num_samples=num_samples, seed=3)
    expected = []
    for sample, tokens in enumerate(sample_tokens(sizes, maps.doc_idx.tolist(), seq_length)):
        for position, (place, offset) in enumerate(tokens):
            if position and tokens[position - 1][0] == place:
                expected[-1][-1] += 1
            else:
                expected.append([place, int(maps.doc_idx[place]), sample, position, offset, 1])
    places = np.arange(len(maps.doc_idx))
    found = document_pieces(places, maps.sample_idx, maps.doc_idx, np.array(sizes, np.int32))
    columns = (found.place, found.document, found.sample, found.position, found.offset, found.n_tokens)
    assert sorted(np.array(columns).T.tolist()) == sorted(expected)


@given(orders, st.integers(1, 25))
def test_samples_of_spans(order: tuple[list[int], int, int], length: int) -> None:
    sizes, seq_length, num_samples = order
    maps = neox_order(np.array(sizes, np.int32), seq_length=seq_length, num_samples=num_samples, seed=3)
    doc_idx = maps.doc_idx.tolist()
    starts = [(place, offset) for place, number in enumerate(doc_idx) for offset in range(sizes[number])]
    expected = [
        (starts.index(tokens[position]), sample, position)
        for sample, tokens in enumerate(sample_tokens(sizes, doc_idx, seq_length))
        for position in range(len(tokens) - length + 1)
    ]
    places, offsets = np.array(starts).T.copy()
    found = samples_of_spans(
        places,
        offsets,
        np.full(len(starts), length),
        maps.sample_idx,
        maps.doc_idx,
        np.array(sizes, np.int32),
        seq_length,
    )
    assert sorted(np.array(found).T.tolist()) == sorted([list(row) for row in expected])


def test_maps_that_contradict_each_other() -> None:
    sizes = np.array([5, 5], np.int32)
    sample_idx = np.array([[0, 0], [0, 3], [1, 1]], np.int32)
    with pytest.raises(DataError, match="contradict document 7 at place 0"):
        document_pieces([0], sample_idx, np.array([7, 1], np.int32), sizes)
    with pytest.raises(DataError, match="contradict document 1 at place 0"):
        document_pieces([0], np.array([[0, 0], [0, 8]], np.int32), np.array([1, 0], np.int32), sizes)
    for damaged in ([[-9, 0], [1, 1]], [[0, -1], [1, 1]]):
        maps = (np.array(damaged, np.int32), np.array([0, 1], np.int32), sizes)
        with pytest.raises(DataError, match="contradict"):
            document_pieces([1], *maps)
        with pytest.raises(DataError, match="contradict each other at place 1"):
            samples_of_spans(np.array([1]), np.array([1]), np.array([1]), *maps, 3)
    maps = (sample_idx, np.array([1 << 30, 1], np.int32), sizes)
    with pytest.raises(DataError, match="contradict"):
        samples_of_spans(np.array([1]), np.array([1]), np.array([1]), *maps, 3)
