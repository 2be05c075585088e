"""Compiled code that locates many samples, against NumPy for few."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pile_tools.algorithms.orders import locate, locate_kernels
from tests.strategies import order_arrays


def columns_of(pieces: locate.Pieces) -> list[list[int]]:
    columns = (pieces.row, pieces.position, pieces.document, pieces.offset, pieces.n_tokens)
    return [column.tolist() for column in columns]


@given(order_arrays(), st.data())
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
