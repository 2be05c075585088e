"""The processes of one training run: who reads which rows, and how their results meet."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from pile_tools.errors import ParameterError, ProcessError

__all__ = ["World", "join", "micro_batches"]


@dataclass(frozen=True, slots=True)
class World:
    """``size`` processes with one copy of the model each; this one is ``rank``, on ``device``.

    With one process nothing is set up and every method is immediate. Only tensors travel, so nothing is
    pickled; all results are the same on every rank, and the same each time for the same ``size``.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    def add(self, tensor: Tensor) -> None:
        """Replace ``tensor`` by its sum over the processes."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def collect(self, shards: list[Tensor]) -> None:
        """Fill ``shards``, one contiguous tensor of one length for each rank, from their owners."""
        if self.size > 1:
            dist.all_gather(shards, shards[self.rank].clone())

    def table(self, values: list[float]) -> list[list[float]]:
        """Return the ``values`` (float64) of every rank, in order of rank."""
        if self.size == 1:
            return [values]
        own = torch.tensor(values, dtype=torch.float64, device=self.device)
        rows = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(rows, own)
        return [row.tolist() for row in rows]

    def agree(self, problem: Exception | None) -> None:
        """Return when every process has come here without a problem; else raise on every one of them."""
        failed = [rank for rank, [flag] in enumerate(self.table([float(problem is not None)])) if flag]
        if problem is not None:
            raise problem
        if failed:
            raise ProcessError(f"process {failed[0]} could not go on, so process {self.rank} stops too")


@contextmanager
def join(device: str) -> Iterator[World]:
    """Join the processes that ``torchrun`` started, by its environment variables; one process without them.

    A process group that the caller has made is used and kept; several runs in one launch need one, since
    PyTorch cannot make a second group safely where another one was ended.
    ``device`` is "cpu", "cuda" or "auto" (CUDA where there is a device). Processes meet over gloo on CPUs and
    over NCCL on GPUs, one GPU for each process of a machine.
    """
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if kind not in {"cpu", "cuda"} or (kind == "cuda" and not torch.cuda.is_available()):
        raise ParameterError(f"device {device!r} is not here; name cpu, or cuda on a machine with a CUDA GPU")
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    where = torch.device("cpu")
    if kind == "cuda":
        where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(where)
    if size == 1:
        yield World(where)
        return
    own = not dist.is_initialized()
    if own:
        dist.init_process_group(
            "nccl" if kind == "cuda" else "gloo", device_id=where if kind == "cuda" else None
        )
    try:
        yield World(where, rank, size)
    finally:
        if own:
            dist.destroy_process_group()


def micro_batches(batch_size: int, micro_batch_size: int, rank: int, size: int) -> list[slice]:
    """Return the rows of a batch that ``rank`` of ``size`` reads, a slice for each of its micro-batches.

    Micro-batches are dealt to the ranks in turn, as GPT-NeoX deals them: the g-th of rank r holds rows
    g·m·D + r·m + [0, m). Unlike there, the last one may be shorter, so any size divides any batch.
    """
    if micro_batch_size < 1:
        raise ParameterError(f"micro_batch_size {micro_batch_size} must be at least 1")
    starts = range(rank * micro_batch_size, batch_size, size * micro_batch_size)
    return [slice(start, min(start + micro_batch_size, batch_size)) for start in starts]
