"""``.npy`` arrays: read strictly and without pickle, written as ``numpy.save`` writes them.

``read_array`` opens a published array, here or behind a URL. ``NpyWriter`` and ``NpyFile`` are for work files
that grow by rows while they are written and are read by ranges of rows: by plain reads, not memory maps, so
that what a stage holds is what it asked for.
"""

import hashlib
import io
import math
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
from pile_tools.storage.manifest import FileEntry, file_entry
from pile_tools.storage.sources import ArrayView, Source, bytes_between

__all__ = ["NpyFile", "NpyWriter", "read_array", "read_header", "write_array", "write_npy"]

_READ_HEADER: Final = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


# Longer than any header of an array of ours.
_HEADER_BYTES: Final = 1024
_LARGEST: Final = (1 << 63) - 1
_BLOCK: Final = 1 << 20
# What NumPy's parser of headers raises for damaged ones, besides ValueError.
_PARSER_ERRORS: Final = (
    SyntaxError,
    tokenize.TokenError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    OverflowError,
    RecursionError,
    MemoryError,
    Warning,  # of headers that Python 2 wrote, where warnings are errors
)


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of the ``.npy`` array in ``file``: its shape, whether in Fortran order, its dtype.

    Raises ValueError for anything else, pickled objects included.
    """
    try:
        version = npy_format.read_magic(file)
        if version not in _READ_HEADER:
            raise ValueError(f"version {version[0]}.{version[1]}")
        shape, fortran_order, dtype = _READ_HEADER[version](file)
    except _PARSER_ERRORS as error:
        raise ValueError(f"its header is damaged: {error}") from None
    if dtype.hasobject:
        raise ValueError("pickled objects, which are not read")
    # NumPy's parser takes True for 1, and lets lengths below zero and above all memory pass.
    if any(type(length) is not int or length < 0 for length in shape) or (
        math.prod(max(length, 1) for length in shape) * max(dtype.itemsize, 1) > _LARGEST
    ):
        raise ValueError(f"its header is damaged: shape {shape}")
    return shape, fortran_order, dtype


def _checked_header(file: BinaryIO, size: int, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the header of the array in ``file``, which has ``size`` bytes; it is left where the values begin.

    Raises DataError, which names the file ``name``, for anything but an array of that length in C order.
    """
    try:
        shape, fortran_order, dtype = read_header(file)
        if fortran_order and len(shape) > 1:
            raise ValueError("not in C order")
    except ValueError as error:
        raise DataError(f"{name}: not a readable .npy array ({error}); copy or make it again") from None
    needed = file.tell() + math.prod(shape) * dtype.itemsize
    if size != needed:
        raise DataError(
            f"{name}: {size} bytes, but its header needs {needed}; it is damaged, copy or make it again"
        )
    return shape, dtype


def read_array(source: Source, ndim: int, dtypes: tuple[str, ...]) -> ArrayView:
    """Open the array in ``source`` once its header and its length agree.

    Raises DataError unless it has ``ndim`` dimensions, one of ``dtypes`` (little endian) and C order.
    """
    file = io.BytesIO(bytes_between(source, 0, min(source.size, _HEADER_BYTES)))
    shape, dtype = _checked_header(file, source.size, source.name)
    known = [np.dtype(name).newbyteorder("<") for name in dtypes]
    if len(shape) != ndim or dtype not in known:
        raise DataError(
            f"{source.name}: {dtype.str} of shape {shape}, not {' or '.join(dtypes)} in {ndim} dimension(s); "
            "copy or make it again"
        )
    return ArrayView(source, dtype, shape, file.tell())


class _Hashing:
    """A file to write to that counts and hashes what passes on its way to ``file`` (None: nowhere)."""

    def __init__(self, file: BinaryIO | None) -> None:
        self.file = file
        self.state = hashlib.sha256()
        self.bytes = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.state.update(view)
        self.bytes += len(view)
        if self.file is not None:
            self.file.write(view)
        return len(view)


def _save(name: str, array: NDArray[Any], file: BinaryIO | None) -> FileEntry:
    hashing = _Hashing(file)
    np.lib.format.write_array_header_1_0(hashing, np.lib.format.header_data_from_array_1_0(array))
    flat = array.reshape(-1)
    for start in range(0, len(flat), _BLOCK):
        hashing.write(np.ascontiguousarray(flat[start : start + _BLOCK]))
    return FileEntry(name, hashing.bytes, hashing.state.hexdigest())


def write_array(path: Path, array: NDArray[Any]) -> FileEntry:
    """Write ``array`` as `numpy.save` does, whole or not at all; return its entry for a manifest.

    A file that is there already must hold the same bytes; DataError for any other.
    """
    if path.exists():
        entry = _save(path.name, array, None)
        if file_entry(path) != entry:
            raise DataError(
                f"{path}: holds another array than this order; remove it or choose another --name"
            )
        return entry
    with atomic_write(path) as file:
        return _save(path.name, array, file)


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
        try:
            with path.open("rb") as file:
                shape, dtype = _checked_header(file, os.fstat(file.fileno()).st_size, str(path))
                start = file.tell()
        except FileNotFoundError:
            raise DataError(f"{path}: missing; make it again") from None
        if not shape:
            raise DataError(f"{path}: a single value, not an array of rows; make it again")
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
