"""Listed pieces: those of any sequences, in any order; what is wrong is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.orders.piece_lists import Listed, check_listed, check_starts
from pile_tools.errors import DataError

# Of each sequence of 6 tokens, the lengths of its pieces.
cuts = st.lists(st.sets(st.integers(1, 5), max_size=3).map(sorted), min_size=1, max_size=6)


@given(cuts, st.data())
def test_pieces_of_sequences(several: list[list[int]], data: st.DataObject) -> None:
    lengths = [np.diff([0, *cut, 6]).tolist() for cut in several]
    rows = [[10 * k + p, k + p, n, p] for k, own in enumerate(lengths) for p, n in enumerate(own)]
    starts = np.cumsum([0, *map(len, lengths)])
    listed = Listed(starts, np.array(rows, np.int32), 100, 10, False)
    check_starts("starts", starts, len(rows))
    check_listed("pieces", np.diff(starts), listed.pieces, None, 6)
    wanted = data.draw(st.lists(st.integers(0, len(several) - 1), max_size=6))
    pieces, epochs = listed.of(np.array(wanted, np.int64))
    expected = [
        (row, sum(lengths[k][:p]), 10 * k + p, k + p, n, p)
        for row, k in enumerate(wanted)
        for p, n in enumerate(lengths[k])
    ]
    columns = (pieces.row, pieces.position, pieces.document, pieces.offset, pieces.n_tokens, epochs)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([5, 0, 5, 0], "no sequences of 6 tokens"),
        ([5, 0, 0, 0], "no sequences of 6 tokens"),
        ([-1, 0, 6, -1], "pieces of no document"),
        ([-1, -1, 6, 0], "pieces of no document"),
        ([0, -1, 6, 0], "pieces of no document"),
        ([0, 0, 6, -2], "pieces of no document"),
        ([7, 0, 6, 0], "document 7 of 7"),
    ],
)
def test_what_is_wrong(row: list[int], message: str) -> None:
    one = np.ones(1, np.int64)
    check_listed("pieces.npy", one, np.array([[6, 0, 6, 0]], np.int32), 7, 6)
    check_listed("pieces.npy", one, np.array([[-1, -1, 6, -1]], np.int32), 0, 6)
    with pytest.raises(DataError, match=rf"pieces.npy: holds .*{message}"):
        check_listed("pieces.npy", one, np.array([row], np.int32), 7, 6)


@pytest.mark.parametrize("starts", [[1, 3], [0, 2], [0, 2, 2, 3], [0, 4, 3]])
def test_starts(starts: list[int]) -> None:
    with pytest.raises(DataError, match="not the starts of 3 pieces"):
        check_starts("starts.npy", np.array(starts), 3)
