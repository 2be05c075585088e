"""Rows of a step by data-parallel rank, as GPT-NeoX's samplers divide a batch.

Rank r of D reads, in micro-batch g of m samples, the rows g·m·D + r·m + [0, m).
"""

import numpy as np

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.errors import ParameterError

__all__ = ["rank_rows", "ranks_of_rows"]


def _micro_batch(batch_size: int, world_size: int, micro_batch_size: int | None) -> int:
    """Return the size of a micro-batch; ParameterError where the batch does not divide into them."""
    if world_size < 1:
        raise ParameterError(f"world_size {world_size}: there must be at least one rank")
    size = batch_size // world_size if micro_batch_size is None else micro_batch_size
    if size < 1 or batch_size % (size * world_size):
        raise ParameterError(
            f"a batch of {batch_size} does not divide into micro-batches of {size} on {world_size} ranks"
        )
    return size


def rank_rows(
    batch_size: int, *, rank: int, world_size: int, micro_batch_size: int | None = None
) -> Int64Array:
    """Return the rows that ``rank`` reads, int64[micro-batches, micro_batch_size]; one of all by default."""
    size = _micro_batch(batch_size, world_size, micro_batch_size)
    if not 0 <= rank < world_size:
        raise ParameterError(f"rank {rank} is not one of {world_size} ranks, from 0")
    starts = np.arange(0, batch_size, size * world_size) + rank * size
    return starts[:, None] + np.arange(size)


def ranks_of_rows(
    rows: Int64Array, batch_size: int, *, world_size: int, micro_batch_size: int | None = None
) -> Int64Array:
    """Return the rank that reads each of ``rows``, int64[n]."""
    size = _micro_batch(batch_size, world_size, micro_batch_size)
    return rows % (size * world_size) // size
