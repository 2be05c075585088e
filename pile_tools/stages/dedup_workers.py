"""The processes of a deduplication, started while its own modules are still being imported.

Imported where those modules are not, so it imports little itself.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from pile_tools.formats.corpus import list_shards
from pile_tools.formats.machine import default_workers
from pile_tools.stages.executor import start_server

__all__ = ["SMALL_BYTES", "start_workers"]

SMALL_BYTES = 16 << 20
"""Size of shards that are read sooner than a process starts."""


def start_workers(
    inputs: Sequence[str | os.PathLike[str]], workers: int | None, output: Path | None = None
) -> None:
    """Start what worker processes are forked from, where the corpus ``inputs`` is worth some.

    A directory ``output`` inside the corpus is no part of it. Raises what `list_shards` does.
    """
    size = sum(shard.path.stat().st_size for shard in list_shards(inputs, leave_out=output))
    if size >= SMALL_BYTES and (workers or default_workers()) > 1:
        start_server("pile_tools.stages.dedup_warm")
