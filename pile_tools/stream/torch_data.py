"""The stream as a map-style dataset for PyTorch's ``DataLoader``, without importing PyTorch."""

import operator
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pile_tools.errors import OutOfRangeError
from pile_tools.stream.stream import Stream

__all__ = ["StreamDataset"]


class StreamDataset:
    """The micro-batches of a data-parallel rank, from step ``start_step`` up to ``stop_step``.

    Item i is an int64 array [micro_batch_size, seq_length + 1], micro-batch i % g of step
    start_step + i // g, where a step has g micro-batches of the rank. Give it to a ``DataLoader`` with
    ``batch_size=None``: with any number of workers, forked or spawned, its batches come in the order of the
    stream. To resume, start at another step. ``BatchViewer.torch_dataset`` makes one.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        rank: int = 0,
        world_size: int = 1,
        micro_batch_size: int | None = None,
        start_step: int | None = None,
        stop_step: int | None = None,
    ) -> None:
        self.stream = stream
        self.rows = stream.rank_rows(rank=rank, world_size=world_size, micro_batch_size=micro_batch_size)
        self.start_step = stream.first_step if start_step is None else operator.index(start_step)
        self.stop_step = stream.steps if stop_step is None else operator.index(stop_step)
        if not stream.first_step <= self.start_step <= self.stop_step <= stream.steps:
            raise OutOfRangeError(
                f"{stream.name}: no steps {self.start_step}:{self.stop_step} at batch size "
                f"{stream.batch_size}; there are {stream.first_step}:{stream.steps}"
            )

    @property
    def micro_batches(self) -> int:
        """Micro-batches of the rank in one step."""
        return len(self.rows)

    def __len__(self) -> int:
        return (self.stop_step - self.start_step) * len(self.rows)

    def __getitem__(self, item: int) -> npt.NDArray[np.int64]:
        item = operator.index(item)
        if not -len(self) <= item < len(self):
            raise OutOfRangeError(f"{self.stream.name}: no micro-batch {item} of {len(self)}")
        step, micro_batch = divmod(item % len(self), len(self.rows))
        return self.stream.take_rows(self.start_step + step, self.rows[micro_batch]).astype(np.int64)

    def __iter__(self) -> Iterator[npt.NDArray[np.int64]]:
        return (self[item] for item in range(len(self)))
