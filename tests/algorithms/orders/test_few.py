"""NumPy for few rows and small orders, against the compiled code for many."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pile_tools.algorithms.orders import check_kernels, check_maps, locate, locate_kernels
from pile_tools.errors import DataError

numbers = st.integers(-2, 12)


def columns_of(pieces: locate.Pieces) -> list[list[int]]:
    columns = (pieces.row, pieces.position, pieces.document, pieces.offset, pieces.n_tokens)
    return [column.tolist() for column in columns]


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except DataError as error:
        return str(error)


@st.composite
def orders(draw: st.DrawFn) -> tuple[Any, ...]:
    """sizes, doc_idx, sample_idx and seq_length of an order, sometimes with one entry that is wrong."""
    sizes = np.array(draw(st.lists(st.integers(0, 9), min_size=1, max_size=8)), np.int32)
    epochs = draw(st.integers(1, 3))
    doc_idx = np.array(draw(st.permutations([*range(len(sizes))] * epochs)), np.int32)
    seq_length = draw(st.integers(1, 6))
    ends = np.cumsum(sizes[doc_idx])
    cuts = np.arange(0, ends[-1], seq_length)
    places = np.searchsorted(ends, cuts, side="right")
    sample_idx = np.stack([places, cuts - ends[places] + sizes[doc_idx[places]]], axis=1).astype(np.int32)
    sample_idx[:1] = 0
    if draw(st.booleans()):
        array = draw(st.sampled_from([sizes, doc_idx, sample_idx.reshape(-1)]))
        if len(array):
            array[draw(st.integers(0, len(array) - 1))] = draw(numbers)
    return sizes, doc_idx, sample_idx, seq_length


@given(orders(), st.data())
@settings(deadline=None)
def test_few_samples_are_located_as_many_are(order: tuple[Any, ...], data: st.DataObject) -> None:
    sizes, doc_idx, sample_idx, seq_length = order
    assume(len(sample_idx) > 1)
    samples = np.array(data.draw(st.lists(st.integers(0, len(sample_idx) - 2), min_size=1, max_size=9)))
    arguments = (sample_idx[samples], sample_idx[samples + 1], doc_idx, sizes, seq_length + 1)
    few, many = locate.walk_few(*arguments), locate._walk_many(*arguments)
    assert few[0] == many[0]
    assert [column.tolist() for column in few[1]] == [column.tolist() for column in many[1]]


def test_a_sample_over_more_documents_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.array([0, 1, 0, 2] * 10, np.int32)
    doc_idx = np.arange(40, dtype=np.int32)
    starts, stops = np.array([[1, 0]]), np.array([[39, 1]])
    arguments = (starts, stops, doc_idx, sizes, 29, np.array([7]))
    whole = columns_of(locate.locate(*arguments))
    assert sum(whole[4]) == 30
    monkeypatch.setattr(locate, "_BLOCK", 3)
    assert columns_of(locate.locate(*arguments)) == whole
    monkeypatch.setattr(locate, "FEW", 0)
    assert columns_of(locate.locate(*arguments)) == whole


@given(st.binary(min_size=1, max_size=40), st.integers(0, 30), st.data())
@settings(deadline=None)
def test_few_ranges_are_copied_as_many_are(content: bytes, part_start: int, data: st.DataObject) -> None:
    part = np.frombuffer(content, np.uint8)
    ranges = data.draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=6))
    starts, lengths = (np.array([pair[i] for pair in ranges], np.int64) for i in (0, 1))
    targets = np.cumsum(lengths) - lengths
    few, many = (np.zeros(int(lengths.sum()), np.uint8) for _ in range(2))
    locate.copy_pieces(part, part_start, starts, lengths, targets, few)
    locate_kernels.copy(part, part_start, starts, lengths, targets, many)
    assert few.tolist() == many.tolist()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12))
@settings(deadline=None)
def test_a_sample_that_is_shown_twice_is_seen_alike(pairs: list[tuple[int, int]]) -> None:
    positions, samples = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    few, many = ([np.zeros(3, np.uint8), np.zeros(3, np.uint8)] for _ in range(2))
    found = check_maps.first_repeated_read(positions, samples, *few)
    assert found == check_kernels.first_repeated_read(positions, samples, *many)
    assert [bits.tolist() for bits in few] == [bits.tolist() for bits in many]


@given(orders(), st.lists(numbers, min_size=1, max_size=8) | st.permutations(range(6)))
@settings(deadline=None)
def test_small_orders_are_checked_as_large_ones_are(order: tuple[Any, ...], shuffled: list[int]) -> None:
    sizes, doc_idx, sample_idx, seq_length = order
    assume(len(sample_idx))
    shuffle_idx = np.array(shuffled, np.int64)

    def outcomes() -> list[Any]:
        return [
            outcome(check_maps.check_doc_idx, doc_idx, len(sizes)),
            outcome(check_maps.check_sample_idx, sizes, doc_idx, seq_length, sample_idx),
            outcome(check_maps.check_shuffle_idx, shuffle_idx, len(shuffle_idx)),
        ]

    small = outcomes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_maps, "FEW", -1)
        assert outcomes() == small
