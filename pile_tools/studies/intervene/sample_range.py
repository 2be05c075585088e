"""The range of samples of a stream that may change, and the pieces of documents that fill them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.algorithms.orders.repack import Piece
from pile_tools.errors import OutOfRangeError, ParameterError
from pile_tools.jobs.progress import Progress, no_progress
from pile_tools.stream.components import UNKNOWN, Component
from pile_tools.stream.opening import OpenedStream
from pile_tools.stream.overlay import OverlayComponent

__all__ = ["SampleRange", "sample_range"]

_BLOCK: Final = 256


@dataclass(frozen=True, slots=True)
class SampleRange:
    """The samples [first, last) of ``stream``, which has no blend, in batches of ``batch`` samples."""

    stream: OpenedStream
    first: int
    last: int
    batch: int
    progress: Progress = no_progress

    @property
    def component(self) -> Component:
        return self.stream.components[0]

    @property
    def from_step(self) -> int:
        return self.first // self.batch

    @property
    def to_step(self) -> int:
        return -(-self.last // self.batch)

    def positions(self, samples: Int64Array) -> Int64Array:
        """Return the positions of ``samples`` in the component."""
        return samples - self.stream.first_sample

    def pieces(self, samples: Int64Array) -> list[list[Piece]]:
        """Return the pieces of ``samples``; of a stream without documents, its sequences for them."""
        positions = self.positions(samples)
        if not self.component.knows_documents:
            whole = self.component.seq_length + 1
            return [[(index, 0, whole)] for index in self.component.packed_numbers(positions).tolist()]
        return _lists(self.component.pieces(positions), len(samples))

    def packed(self, index: int) -> list[Piece]:
        """Return the pieces of the sample ``index`` of the packing, which no order has shuffled."""
        if not self.component.knows_documents:
            return [(index, 0, self.component.seq_length + 1)]
        return _lists(self.component.packed_pieces(np.array([index])), 1)[0]

    def blocks(self, label: str) -> Iterator[Int64Array]:
        """Yield the samples of the range in blocks, and report the progress as ``label``."""
        for start in range(self.first, self.last, _BLOCK):
            stop = min(self.last, start + _BLOCK)
            yield np.arange(start, stop)
            self.progress(label, stop - self.first, self.last - self.first)

    def holding(self, documents: set[int]) -> dict[int, list[Piece]]:
        """Return the samples of the range that show one of ``documents``, with their pieces."""
        wanted = np.array(sorted(documents))
        holding: dict[int, list[Piece]] = {}
        for samples in self.blocks("samples"):
            pieces = self.component.pieces(self.positions(samples))
            rows = np.unique(pieces.row[np.isin(pieces.document, wanted)])
            if len(rows):
                holding |= dict(zip(samples[rows].tolist(), self.pieces(samples[rows]), strict=True))
        self.refuse_repacked(np.array(list(holding), np.int64))
        return holding

    def refuse_repacked(self, samples: Int64Array) -> None:
        """Raise ParameterError where the stream's own overlay has repacked one of ``samples``."""
        if isinstance(self.component, OverlayComponent) and len(samples):
            listed = self.component.is_listed(self.positions(samples))
            if listed.any():
                step, row = divmod(int(samples[listed][0]), self.batch)
                raise ParameterError(
                    f"step {step}, row {row}: packed anew by the overlay below; change all documents in one "
                    "overlay, and swap words that are not one token after that"
                )


def sample_range(
    stream: OpenedStream, batch: int, from_step: int, to_step: int | None, progress: Progress = no_progress
) -> SampleRange:
    """Return the samples of the steps [from_step, to_step) of ``stream``, to its end for None.

    Raises OutOfRangeError for steps that the stream does not have.
    """
    begin = -(-stream.first_sample // batch)
    end = (stream.first_sample + stream.samples) // batch
    stop = end if to_step is None else to_step
    if not begin <= from_step < stop <= end:
        raise OutOfRangeError(
            f"steps {from_step}:{stop}: no range of {stream.place.name}, which has steps {begin}:{end} at "
            f"batch size {batch}"
        )
    return SampleRange(stream, from_step * batch, stop * batch, batch, progress)


def _lists(pieces: Any, rows: int) -> list[list[Piece]]:
    """Return the columns of ``pieces`` as a list of pieces for each of ``rows`` rows."""
    lists: list[list[Piece]] = [[] for _ in range(rows)]
    columns = (pieces.row, pieces.document, pieces.offset, pieces.n_tokens)
    for row, document, offset, n_tokens in zip(*(column.tolist() for column in columns), strict=True):
        if document == UNKNOWN:
            raise ParameterError("boundaries of documents are not known here")
        lists[row].append((document, offset, n_tokens))
    return lists
