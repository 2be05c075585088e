"""When samples are read: the intervals of steps, cut at checkpoints, that read them."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.algorithms.orders.locate import Pieces
from pile_tools.errors import DataError
from pile_tools.stream.components import MapsComponent
from pile_tools.stream.parts import Part
from pile_tools.stream.stream import Stream

__all__ = ["inputs", "row_intervals", "sample_intervals"]

_BLOCK: Final = 1 << 22
_NONE: Final = np.empty(0, np.int64)


def _intervals(
    stream: Stream, part: Part, rows: int, marks: Int64Array
) -> Iterator[tuple[int, npt.NDArray[np.int32]]]:
    """Yield, block by block, the intervals of steps, cut at ``marks``, that read samples of ``part``.

    Each time the first sample and int32[n], −1 for a sample that is not read; none past ``rows``.
    """
    for start in range(0, min(part.samples, rows), _BLOCK):
        positions = part.positions(np.arange(start, min(start + _BLOCK, part.samples, rows)))
        found = np.searchsorted(marks, positions // stream.batch_size, side="right")
        yield start, np.where(positions < 0, -1, found).astype(np.int32)


def row_intervals(
    stream: Stream, part: Part, maps: MapsComponent, marks: Int64Array, changed: Int64Array = _NONE
) -> npt.NDArray[np.int32]:
    """Return the same for each row of sample_idx, −1 also for those of the samples ``changed``, ascending."""
    rows = len(maps.sample_idx) - 1
    out = np.full(rows, -1, np.int32)
    for start, intervals in _intervals(stream, part, rows, marks):
        low, high = np.searchsorted(changed, [start, start + len(intervals)])
        intervals[changed[low:high] - start] = -1
        shuffled = maps.shuffle_idx[start : start + len(intervals)]
        outside = np.flatnonzero((shuffled < 0) | (shuffled >= rows))
        if len(outside):
            raise DataError(
                f"{part.name}: shuffle_idx holds sample {shuffled[outside[0]]}, but there are {rows}; the "
                "order is damaged, make it again"
            )
        out[shuffled] = intervals
    return out


def sample_intervals(stream: Stream, part: Part, marks: Int64Array) -> npt.NDArray[np.int32]:
    """Return the same for each sample of a sequential part."""
    parts = [intervals for _, intervals in _intervals(stream, part, part.samples, marks)]
    return np.concatenate([np.empty(0, np.int32), *parts])


def inputs(pieces: Pieces, seq_length: int) -> Int64Array:
    """Return how many tokens of each piece are inputs: the last token of a sequence is a label only."""
    is_last = pieces.position + pieces.n_tokens == seq_length + 1
    found: Int64Array = pieces.n_tokens - is_last
    return found
