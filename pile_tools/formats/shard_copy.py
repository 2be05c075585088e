"""A shard that keeps some rows of another: lines byte for byte, Parquet rows with all their columns."""

import gzip
import shutil
from collections.abc import Iterable
from itertools import compress
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from pile_tools.errors import DataError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.corpus import Shard
from pile_tools.formats.lines import shard_line_groups
from pile_tools.formats.zstd import FRAME_BYTES, RowFrameWriter

__all__ = ["copy_rows"]


class _LineWriter(Protocol):
    def write_lines(self, lines: Iterable[bytes]) -> object: ...
    def write_piece(self, piece: bytes, *, first: bool) -> None: ...
    def close(self) -> None: ...


class _PlainWriter:
    """Lines into a file as they are, or through gzip with nothing of the moment in its header."""

    def __init__(self, file: BinaryIO, *, compress: bool) -> None:
        self._gzip = gzip.GzipFile("", "wb", 6, file, mtime=0) if compress else None
        self._file = self._gzip or file

    def write_lines(self, lines: Iterable[bytes]) -> None:
        self._file.writelines(lines)

    def write_piece(self, piece: bytes, *, first: bool) -> None:
        self._file.write(piece)

    def close(self) -> None:
        if self._gzip is not None:
            self._gzip.close()


def copy_rows(shard: Shard, keep: NDArray[np.bool_], path: Path) -> int:
    """Write to ``path`` the rows of ``shard`` for which ``keep`` (bool, [rows]) is true; return their number.

    The file appears whole and its bytes depend on the rows alone. A ``.txt`` shard has one row, and a
    copy without it is no file. Raises DataError where the shard does not have ``len(keep)`` rows.
    """
    if shard.format == ".txt":
        _check_rows(shard, 1, keep)
        if keep[0]:
            with shard.path.open("rb") as source, atomic_write(path) as file:
                shutil.copyfileobj(source, file)
        return int(keep[0])
    with atomic_write(path) as file:
        if shard.format == ".parquet":
            return _copy_parquet(shard, keep, file)
        return _copy_lines(shard, keep, file)


def _check_rows(shard: Shard, rows: int, keep: NDArray[np.bool_]) -> None:
    if rows != len(keep):
        raise DataError(f"{shard.path}: {rows} rows, but {len(keep)} were read before; it changed meanwhile")


def _copy_lines(shard: Shard, keep: NDArray[np.bool_], file: BinaryIO) -> int:
    zstd = shard.format == ".jsonl.zst"
    writer: _LineWriter = (
        RowFrameWriter(file) if zstd else _PlainWriter(file, compress=shard.format == ".jsonl.gz")
    )
    flags = keep.tolist()
    row = copied = 0
    for group in shard_line_groups(shard, FRAME_BYTES):
        if isinstance(group, list):
            _check_rows(shard, max(row + len(group), len(keep)), keep)
            own = flags[row : row + len(group)]
            writer.write_lines(compress(group, own))
            row += len(group)
            copied += sum(own)
            continue
        _check_rows(shard, max(row + 1, len(keep)), keep)
        if flags[row]:
            copied += group.end
            writer.write_piece(group.data, first=group.start)
        row += group.end
    _check_rows(shard, row, keep)
    writer.close()
    return copied


def _copy_parquet(shard: Shard, keep: NDArray[np.bool_], file: BinaryIO) -> int:
    # Imported here: Arrow takes 0.1 s to load, which a process that copies lines can do without.
    from pile_tools.formats.parquet_copy import copy_parquet_rows
    from pile_tools.formats.parquet_shard import open_parquet_shard

    _check_rows(shard, open_parquet_shard(shard.path).metadata.num_rows, keep)
    return copy_parquet_rows(shard.path, keep, file)
