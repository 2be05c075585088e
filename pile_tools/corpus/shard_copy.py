"""A shard that keeps some records of another: lines byte for byte, rows with all their columns."""

from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from pile_tools.corpus.shard import Shard
from pile_tools.errors import DataError
from pile_tools.storage.atomic import atomic_write

__all__ = ["WriterModule", "check_copy", "check_rows", "copy_rows"]


class WriterModule(Protocol):
    """The functions of a module that writes the records that are kept of a shard."""

    def copy_rows(self, shard: Shard, keep: NDArray[np.bool_], file: BinaryIO) -> int:
        """Write the rows for which ``keep`` (bool, [rows]) is true into ``file``; return how many.

        Calls `check_rows` with the number of rows that it has met.
        """

    def check_copy(self, path: Path) -> None:
        """Raise DataError for a shard whose records would not be the same in the copy."""


def _load_writer(shard: Shard) -> WriterModule:
    return cast(WriterModule, import_module(f"{__package__}.{shard.format.writer}"))


def copy_rows(shard: Shard, keep: NDArray[np.bool_], path: Path) -> int:
    """Write to ``path`` the rows of ``shard`` for which ``keep`` (bool, [rows]) is true; return how many.

    The file appears whole and its bytes depend on the rows alone. A ``.txt`` shard has one row, and a
    copy without it is no file. Raises DataError where the shard does not have ``len(keep)`` rows.
    """
    writer = _load_writer(shard)
    if shard.format.one_document and not keep.any():
        check_rows(shard, 1, keep)
        return 0
    with atomic_write(path) as file:
        return writer.copy_rows(shard, keep, file)


def check_copy(shard: Shard) -> None:
    """Raise DataError for a shard whose records `copy_rows` would change."""
    _load_writer(shard).check_copy(shard.path)


def check_rows(shard: Shard, rows: int, keep: NDArray[np.bool_]) -> None:
    """Raise DataError where a shard has other ``rows`` than the [rows] of ``keep``."""
    if rows != len(keep):
        raise DataError(f"{shard.path}: {rows} rows, but {len(keep)} were read before; it changed meanwhile")
