"""The stream as one of PyTorch's iterable datasets."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from pile_tools.stream.torch_data import StreamDataset

__all__ = ["IterableStream"]


class IterableStream(IterableDataset[torch.Tensor]):
    """The items of ``dataset`` (``BatchViewer.torch_dataset``), in order, as int64 tensors.

    For a ``DataLoader`` with ``batch_size=None`` and any number of workers: worker w of W reads the items w,
    w + W, …, which the loader takes in turn, so that they come in the order of the stream.
    """

    def __init__(self, dataset: StreamDataset) -> None:
        super().__init__()
        self.dataset = dataset

    def __iter__(self) -> Iterator[torch.Tensor]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for item in range(first, len(self.dataset), step):
            tokens: Any = self.dataset[item]
            yield torch.from_numpy(tokens)
