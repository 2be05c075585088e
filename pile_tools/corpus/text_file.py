"""Text files (``.txt``), each one document."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pile_tools.corpus.file_magic import check_magic
from pile_tools.corpus.records import DocumentBatch, RecordReader, repair_utf8
from pile_tools.corpus.shard import Shard
from pile_tools.corpus.shard_copy import check_rows

__all__ = ["check_copy", "copy_rows", "documents", "text"]


def documents(reader: RecordReader) -> Iterator[DocumentBatch]:
    """Yield the one document of ``reader.shard``, counting into ``reader``."""
    reader.counts.rows = 1
    wanted = reader.wanted(0, 1)
    if wanted is None or wanted[0]:
        if reader.is_oversized(reader.shard.path.stat().st_size):
            reader.oversized_record(0)
        else:
            yield reader.make_batch([0], [_read(reader)], [None])


def text(reader: RecordReader, row: int) -> bytes:
    """Return the text of the file; NoDocumentError for another row than 0, and where it is too large."""
    if row != 0:
        raise reader.no_document(row, "no text in that row")
    size = reader.shard.path.stat().st_size
    if reader.is_oversized(size):
        raise reader.no_document(row, f"a file of {size} bytes")
    return _read(reader)


def _read(reader: RecordReader) -> bytes:
    path = reader.shard.path
    check_magic(path, reader.shard.format)
    content, replaced = repair_utf8(path.read_bytes())
    reader.repaired(replaced)
    return content.encode()


def copy_rows(shard: Shard, keep: NDArray[np.bool_], file: BinaryIO) -> int:
    """Copy the one document, for which ``keep`` (bool, [1]) is true; return 1."""
    check_rows(shard, 1, keep)
    with shard.path.open("rb") as source:
        shutil.copyfileobj(source, file)
    return 1


def check_copy(path: Path) -> None:
    """Accept any file: bytes are copied as they are."""
