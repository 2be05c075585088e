"""Documents out of a shard, whatever its format, in batches of UTF-8 bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from pile_tools.corpus.records import DocumentBatch, RecordReader
from pile_tools.corpus.shard_formats import ShardFormat

__all__ = ["ReaderModule", "ShardReader", "load_reader"]


class ReaderModule(Protocol):
    """The functions of a module that reads a shard format."""

    def documents(self, reader: RecordReader) -> Iterator[DocumentBatch]:
        """Yield the documents of ``reader.shard``, counting into ``reader``."""

    def text(self, reader: RecordReader, row: int) -> bytes:
        """Return the text in ``row`` of ``reader.shard``.

        Raises NoDocumentError for a row that does not exist, and for a record that `documents` passes
        over as blank, bad or too large.
        """


def load_reader(shard_format: ShardFormat) -> ReaderModule:
    """Import the module that reads a format."""
    return cast(ReaderModule, import_module(f"{__package__}.{shard_format.reader}"))


@dataclass(slots=True)
class ShardReader(RecordReader):
    """Read the documents of one shard; iterate once."""

    def __iter__(self) -> Iterator[DocumentBatch]:
        return load_reader(self.shard.format).documents(self)
