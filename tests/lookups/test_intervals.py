"""Intervals of steps that read samples, against the samples of every step."""

import numpy as np
import pytest

from pile_tools.errors import DataError
from pile_tools.lookups import intervals
from pile_tools.lookups.intervals import inputs, row_intervals, sample_intervals
from tests.lookups.conftest import MakeStream

DOCUMENTS = [[number % 11] * (number % 7 + 1) for number in range(40)]
MARKS = np.array([3, 7, 10])


@pytest.mark.parametrize("block", [3, 1 << 22])
def test_each_row_has_the_interval_that_reads_it(
    block: int, make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "_BLOCK", block)
    stream = make_stream(DOCUMENTS, num_samples=22).stream
    (part,) = stream.parts
    maps = part.maps()
    assert maps is not None
    rows = len(maps.sample_idx) - 1
    expected = np.full(rows, -1)
    for sample in range(stream.steps * stream.batch_size):
        expected[maps.shuffle_idx[sample]] = sum(mark <= sample // stream.batch_size for mark in MARKS)
    assert row_intervals(stream, part, maps, MARKS).tolist() == expected.tolist()
    changed = np.array([0, 4, 5])
    expected[maps.shuffle_idx[changed]] = -1
    assert row_intervals(stream, part, maps, MARKS, changed).tolist() == expected.tolist()


def test_each_sample_of_a_sequential_order(make_stream: MakeStream) -> None:
    stream = make_stream(DOCUMENTS, num_samples=22, form="sequential").stream
    (part,) = stream.parts
    read = [sum(mark <= sample // 2 for mark in MARKS) for sample in range(2 * stream.steps)]
    assert sample_intervals(stream, part, MARKS).tolist()[: len(read)] == read


def test_a_damaged_shuffle_is_named(make_stream: MakeStream) -> None:
    stream = make_stream(DOCUMENTS, num_samples=22).stream
    (part,) = stream.parts
    maps = part.maps()
    assert maps is not None
    shuffle = np.array(maps.shuffle_idx)
    shuffle[2] = 10**6
    damaged = type("Maps", (), {"sample_idx": maps.sample_idx, "shuffle_idx": shuffle})
    with pytest.raises(DataError, match="shuffle_idx holds sample 1000000"):
        row_intervals(stream, part, damaged, MARKS)  # type: ignore[arg-type]


def test_the_last_token_of_a_sequence_is_no_input(make_stream: MakeStream) -> None:
    stream = make_stream(DOCUMENTS, num_samples=22).stream
    (part,) = stream.parts
    pieces = part.pieces(np.arange(20))
    assert np.bincount(pieces.row, inputs(pieces, stream.seq_length)).tolist() == [stream.seq_length] * 20
