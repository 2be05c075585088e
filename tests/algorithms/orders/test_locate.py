"""Pieces of samples against a plain walk over all tokens, and copies of their bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.algorithms.orders.locate import check_pointers, check_samples, copy_pieces, locate
from pile_tools.algorithms.orders.recipes import neox_order
from pile_tools.errors import DataError
from tests.strategies import document_sizes

SIZES = document_sizes()


@settings(deadline=None)
@given(sizes=SIZES, seq_length=st.integers(1, 25), seed=st.integers(0, 9), cut=st.integers(1, 60))
def test_pieces_are_the_tokens_of_the_stream(sizes: list[int], seq_length: int, seed: int, cut: int) -> None:
    array = np.array(sizes, np.int32)
    order = neox_order(array, seq_length=seq_length, num_samples=9, seed=seed)
    samples = order.shuffle_idx.astype(np.int64)
    bounds = order.sample_idx[samples], order.sample_idx[samples + 1]
    pieces = locate(*bounds, order.doc_idx, array, seq_length, samples)
    stream = [(number, offset) for number in order.doc_idx.tolist() for offset in range(sizes[number])]
    found: list[list[tuple[int, int]]] = [[] for _ in order.shuffle_idx]
    for row, position, document, offset, n_tokens in zip(
        *(getattr(pieces, name).tolist() for name in ("row", "position", "document", "offset", "n_tokens")),
        strict=True,
    ):
        assert n_tokens >= 1
        assert position == len(found[row])
        found[row] += [(document, offset + token) for token in range(n_tokens)]
    for row, sample in enumerate(order.shuffle_idx.tolist()):
        assert found[row] == stream[sample * seq_length : (sample + 1) * seq_length + 1]

    # The same pieces as bytes, from data in parts of `cut` bytes that tokens may straddle.
    pointers = np.concatenate([[0], np.cumsum(array[:-1], dtype=np.int64)]) * 2
    data = np.arange(2 * array.sum()) % 251
    starts, lengths = pointers[pieces.document] + 2 * pieces.offset, 2 * pieces.n_tokens
    out = np.zeros(len(found) * (seq_length + 1) * 2, np.uint8)
    targets = (pieces.row * (seq_length + 1) + pieces.position) * 2
    for start in range(0, len(data), cut):
        copy_pieces(data[start : start + cut].astype(np.uint8), start, starts, lengths, targets, out)
    expected = [
        byte for row in found for number, at in row for byte in data[pointers[number] + 2 * at :][:2].tolist()
    ]
    assert out.tolist() == expected


def test_contradictions_are_errors() -> None:
    sizes = np.array([4, 4, 4], np.int32)
    doc_idx = np.array([2, 0, 1], np.int32)

    def run(bounds: list[list[int]], doc_idx: np.ndarray = doc_idx, sizes: np.ndarray = sizes) -> list[int]:
        array = np.array(bounds, np.int32)
        return locate(array[:1], array[1:], doc_idx, sizes, 3, np.array([17])).document.tolist()

    assert run([[0, 3], [1, 2]]) == [2, 0]
    for wrong, message in [
        ([[0, 0], [0, 4]], "cuts sample 17 outside of document 2, which has 4 tokens"),
        ([[0, 0], [3, 0]], "puts sample 17 between places 0 and 3 of doc_idx, which has 3"),
        ([[1, 0], [0, 3]], "between places 1 and 0"),
        ([[-1, 0], [0, 3]], "between places -1 and 0"),
        ([[0, -1], [0, 3]], "between"),
        ([[0, 0], [0, -3]], "between"),
        ([[0, 0], [0, 2]], "gives sample 17 3 tokens instead of 4"),
        ([[0, 0], [2, 3]], "tokens instead of 4"),
    ]:
        with pytest.raises(DataError, match=message):
            run(wrong)
    for number in (7, -1):
        with pytest.raises(DataError, match=f"holds document {number} at place 1, but the dataset has 3"):
            run([[0, 3], [1, 2]], doc_idx=np.array([2, number, 1], np.int32))
    with pytest.raises(DataError, match="outside of document 2, which has -4"):
        run([[0, 0], [0, 3]], sizes=-sizes)


def test_samples_outside_are_met() -> None:
    check_samples(np.array([0, 1]), 2)
    for sample in (-1, 2):
        with pytest.raises(DataError, match=f"holds sample {sample}, but there are 2"):
            check_samples(np.array([0, sample]), 2)


def test_wrong_pointers_are_met_when_they_are_read() -> None:
    sizes, ones = np.array([4, 4], np.int32), np.array([4, 4], np.int32)

    def run(pointers: list[int], length: int = 24) -> None:
        array = np.array(pointers)
        before = np.array([0, 8])
        check_pointers(np.array([0, 2]), array, sizes, before, ones, 2, length)

    run([0, 16])
    for wrong, length in [([0, 17], 26), ([1, 16], 24), ([0, 16], 22), ([-8, 16], 24)]:
        with pytest.raises(DataError, match="points to byte"):
            run(wrong, length)
