"""``.npy`` arrays that grow by rows while they are written, and are read by ranges of rows.

Reads are plain reads, not memory maps: what a stage holds is what it asked for.
"""

import os
import tokenize
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import DTypeLike, NDArray

from pile_tools.errors import DataError
from pile_tools.storage.atomic import atomic_write

__all__ = ["NpyFile", "NpyWriter", "read_header", "write_npy"]

_READ_HEADER: Final = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of the ``.npy`` array in ``file``: its shape, whether in Fortran order, its dtype.

    Raises ValueError for anything else, pickled objects included.
    """
    try:
        version = npy_format.read_magic(file)
        if version not in _READ_HEADER:
            raise ValueError(f"version {version[0]}.{version[1]}")
        shape, fortran_order, dtype = _READ_HEADER[version](file)
    except (SyntaxError, tokenize.TokenError, TypeError) as error:  # of a damaged header, in NumPy's parser
        raise ValueError(f"its header is damaged: {error}") from None
    if dtype.hasobject:
        raise ValueError("pickled objects, which are not read")
    return shape, fortran_order, dtype


class NpyWriter:
    """Append rows to a ``.npy`` array in the open file ``file``; ``close`` completes its header."""

    def __init__(self, file: BinaryIO, dtype: DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self._file = file
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self.rows = 0
        self._write_header()

    def _write_header(self) -> None:
        # NumPy pads the header so that the length of the first axis can be rewritten in place.
        header = {
            "descr": npy_format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._row_shape),
        }
        npy_format.write_array_header_1_0(self._file, header)

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows: [n, *row_shape], converted to the array's dtype where that loses nothing."""
        if rows.shape[1:] != self._row_shape:
            raise ValueError(f"rows of shape {rows.shape[1:]}, not {self._row_shape}")
        self._file.write(np.ascontiguousarray(rows.astype(self._dtype, casting="safe", copy=False)).tobytes())
        self.rows += len(rows)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write ``array`` to ``path``, whole."""
    array = np.ascontiguousarray(array)
    with atomic_write(path) as file:
        npy_format.write_array_header_1_0(file, npy_format.header_data_from_array_1_0(array))
        file.write(array.data)  # not ``numpy.save``, whose error on a full disk has no errno


@dataclass(frozen=True, slots=True)
class NpyFile:
    """An array on the disk: ``shape``, ``dtype``, and where its first row begins."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read and check the header of ``path``; DataError where the file is none or has another length."""
        with path.open("rb") as file:
            try:
                shape, fortran_order, dtype = read_header(file)
                if fortran_order:
                    raise ValueError("Fortran order")
            except ValueError as error:
                raise DataError(f"{path}: not an array of ours ({error}); make it again") from None
            start = file.tell()
            length = file.seek(0, os.SEEK_END)
        expected = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
        if length != expected:
            raise DataError(f"{path}: {length} bytes, but its header says {expected}; make it again")
        return cls(path, shape, dtype, start)

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return rows ``start`` up to ``stop`` (default: all) as a new array."""
        stop = len(self) if stop is None else stop
        return self.read_items(start * self.row_items, stop * self.row_items).reshape(-1, *self.shape[1:])

    @property
    def row_items(self) -> int:
        """Number of values in one row."""
        return int(np.prod(self.shape[1:], dtype=np.int64))

    def read_items(self, start: int, stop: int) -> NDArray[Any]:
        """Return the values ``start`` up to ``stop`` of the flat array, in C order."""
        count = stop - start
        array = np.fromfile(self.path, self.dtype, count, offset=self.start + start * self.dtype.itemsize)
        if len(array) != count:
            raise DataError(f"{self.path}: ends before value {stop}; make it again")
        return array
