"""Location of a stream and how it is opened, in a form that goes to another process."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pile_tools.storage.block_cache import BlockCache
from pile_tools.storage.proofs import current_proofs
from pile_tools.storage.store import Io
from pile_tools.viewer import BatchViewer

__all__ = ["StreamPlace"]


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """What ``BatchViewer.open`` is given, or ``BatchViewer.from_suite`` where ``suite`` is.

    ``cache`` is the directory of a block cache of ``cache_bytes``. ``trust_files`` is by default as it is
    where the stream is named.
    """

    data: str
    order: str | None = None
    batch_size: int | None = None
    tokenizer: str | None = None
    suite: str | None = None
    io: Io = "mmap"
    cache: Path | None = None
    cache_bytes: int = 10 << 30
    trust_files: bool = field(default_factory=lambda: current_proofs().trust)

    def open(self) -> BatchViewer:
        """Open the stream."""
        named: dict[str, Any] = {
            "order": self.order,
            "batch_size": self.batch_size,
            "tokenizer": self.tokenizer,
            "io": self.io,
            "cache": None if self.cache is None else BlockCache(self.cache, self.cache_bytes),
            "trust_files": self.trust_files,
        }
        if self.suite is not None:
            return BatchViewer.from_suite(self.suite, **named)
        return BatchViewer.open(self.data, **named)
