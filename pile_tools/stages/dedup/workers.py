"""The processes of a deduplication, started while its own modules are still being imported.

Imported where those modules are not, so it imports little itself.
"""

from pile_tools.corpus.shards import Corpus
from pile_tools.jobs.executor import start_server
from pile_tools.jobs.machine import default_workers

__all__ = ["SMALL_BYTES", "start_workers"]

SMALL_BYTES = 16 << 20
"""Size of shards that are read sooner than a process starts."""


def start_workers(corpus: Corpus, workers: int | None) -> None:
    """Start what worker processes are forked from, where ``corpus`` is worth some."""
    size = sum(shard.path.stat().st_size for shard in corpus.shards)
    if size >= SMALL_BYTES and (workers or default_workers()) > 1:
        start_server("pile_tools.stages.dedup.warm")
