"""``.npy`` arrays: read strictly and without pickle, written as ``numpy.save`` writes them."""

import hashlib
import io
import math
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError, MismatchError
from pile_tools.formats.npy import read_header
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.manifest import FileEntry, file_entry
from pile_tools.storage.sources import ArrayView, Source, bytes_between

__all__ = ["read_array", "write_array"]

# Longer than any header of an array of numbers.
_HEADER_BYTES: Final = 1024
_BLOCK: Final = 1 << 20


def read_array(source: Source, ndim: int, dtypes: tuple[str, ...]) -> ArrayView:
    """Open the array in ``source`` once its header and its length agree.

    Raises DataError unless it has ``ndim`` dimensions, one of ``dtypes`` (little endian) and C order.
    """
    file = io.BytesIO(bytes_between(source, 0, min(source.size, _HEADER_BYTES)))
    try:
        shape, fortran_order, dtype = read_header(file)
    except ValueError as error:
        raise DataError(f"{source.name}: not a readable .npy array ({error})") from None
    known = [np.dtype(name).newbyteorder("<") for name in dtypes]
    if len(shape) != ndim or dtype not in known or (fortran_order and ndim > 1):
        raise DataError(
            f"{source.name}: {dtype.str} of shape {shape}, not {' or '.join(dtypes)} in {ndim} dimension(s) "
            "in C order"
        )
    needed = file.tell() + math.prod(shape) * dtype.itemsize
    if source.size != needed:
        raise DataError(
            f"{source.name}: {source.size} bytes, but its header needs {needed}; it is damaged, copy or make "
            "it again"
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


def _save(name: str, array: npt.NDArray[Any], file: BinaryIO | None) -> FileEntry:
    hashing = _Hashing(file)
    np.lib.format.write_array_header_1_0(hashing, np.lib.format.header_data_from_array_1_0(array))
    flat = array.reshape(-1)
    for start in range(0, len(flat), _BLOCK):
        hashing.write(np.ascontiguousarray(flat[start : start + _BLOCK]))
    return FileEntry(name, hashing.bytes, hashing.state.hexdigest())


def write_array(path: Path, array: npt.NDArray[Any]) -> FileEntry:
    """Write ``array`` as `numpy.save` does, whole or not at all; return its entry for a manifest.

    A file that is there already must hold the same bytes; DataError for any other.
    """
    if path.exists():
        entry = _save(path.name, array, None)
        if file_entry(path) != entry:
            raise MismatchError(
                f"{path}: holds another array than this order; remove it or choose another --name"
            )
        return entry
    with atomic_write(path) as file:
        return _save(path.name, array, file)
