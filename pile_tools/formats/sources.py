"""Bytes that stand still: a mapped file, a file read by ``pread``, or an object behind a URL.

A source gives exactly the bytes that it is asked for, or an error: never fewer, and never those of
another version.
"""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.ledger import FileState

__all__ = [
    "ArrayView",
    "HeldBytes",
    "MappedFile",
    "MissingFileError",
    "PreadFile",
    "Source",
    "SourceFile",
    "bytes_between",
    "read_parts",
]

Int64Array = npt.NDArray[np.int64]

# Ranges of so many rows in the mean are gathered by one index of all rows, longer ones range by range.
_SHORT: Final = 8
# Read only what is in the page cache; 0 where the system cannot be asked so.
_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)


class MissingFileError(PileToolsError):
    """There is no such file, here or behind the URL."""


class Source(Protocol):
    """``size`` bytes called ``name`` in messages."""

    name: str
    size: int

    def read_many(self, starts: Int64Array, lengths: Int64Array) -> npt.NDArray[np.uint8]:
        """Return the bytes of all ranges, end to end; DataError unless all of them are there."""


def bytes_between(source: Source, start: int, length: int) -> bytes:
    """Return ``length`` bytes of ``source`` from ``start``."""
    return source.read_many(np.array([start], np.int64), np.array([length], np.int64)).tobytes()


class HeldBytes:
    """Bytes that were read already, called ``name`` in messages."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.size = len(content)
        self._array = np.frombuffer(content, np.uint8)

    def read_many(self, starts: Int64Array, lengths: Int64Array) -> npt.NDArray[np.uint8]:
        pieces = []
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            if start < 0 or start + length > self.size:
                raise DataError(f"{self.name}: bytes {start} to {start + length} of {self.size}")
            pieces.append(self._array[start : start + length])
        return np.concatenate(pieces) if pieces else np.empty(0, np.uint8)


class MappedFile:
    """A file in memory. ``array`` is all of it, uint8, read-only; ``state`` of it as it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        try:
            with path.open("rb") as file:
                self.state = FileState.of(os.fstat(file.fileno()))
                self.size = self.state.size
                # An empty file cannot be mapped.
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else b""
        except FileNotFoundError:
            raise MissingFileError(f"{path}: no such file") from None
        self.array: npt.NDArray[np.uint8] = np.frombuffer(mapped, np.uint8)

    def read_many(self, starts: Int64Array, lengths: Int64Array) -> npt.NDArray[np.uint8]:
        pieces = []
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            if start < 0 or start + length > self.size:
                raise DataError(f"{self.name}: bytes {start} to {start + length} of {self.size}")
            pieces.append(self.array[start : start + length])
        return np.concatenate(pieces) if pieces else np.empty(0, np.uint8)


class PreadFile:
    """A file read by ``pread``: where it shrinks meanwhile there is an error, and no signal that kills.

    Of many ranges those in the page cache are copied first, while the disk is asked for all of the others:
    it works on them at the same time, not on one after the other.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise MissingFileError(f"{path}: no such file") from None
        self.state = FileState.of(os.fstat(self._descriptor))
        self.size = self.state.size

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read_many(self, starts: Int64Array, lengths: Int64Array) -> npt.NDArray[np.uint8]:
        out = np.empty(int(lengths.sum()), np.uint8)
        view = memoryview(out.data)
        target = 0
        missing = []
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            part = view[target : target + length]
            done = self._read_cached(part, start)
            if done < length:
                if _NOWAIT:
                    os.posix_fadvise(self._descriptor, start + done, length - done, os.POSIX_FADV_WILLNEED)
                missing.append((part[done:], start + done))
            target += length
        for part, start in missing:
            self._read(part, start)
        return out

    def _read_cached(self, part: memoryview, start: int) -> int:
        """Read what can be had without waiting for the disk, and return its length."""
        if not _NOWAIT or not len(part):
            return 0
        try:
            return os.preadv(self._descriptor, [part], start, _NOWAIT)
        except OSError:
            # Not in memory, or a file system that does not tell: reading as usual says what is wrong.
            return 0

    def _read(self, part: memoryview, start: int) -> None:
        done = 0
        while done < len(part):
            count = os.preadv(self._descriptor, [part[done:]], start + done)
            if count == 0:
                raise DataError(
                    f"{self.name}: ends before byte {start + len(part)}, but had {self.size} when it was "
                    "opened; copy or make it again"
                )
            done += count


class ArrayView:
    """An array inside a source: ``shape[0]`` rows of ``dtype`` from byte ``offset`` on.

    ``mapped`` is the whole array where the source is a mapped file, and None elsewhere.
    """

    def __init__(self, source: Source, dtype: npt.DTypeLike, shape: Sequence[int], offset: int) -> None:
        self.source = source
        self.dtype: Final[np.dtype[Any]] = np.dtype(dtype)
        self.shape: Final = tuple(shape)
        self._offset = offset
        self._row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        self.mapped: npt.NDArray[Any] | None = None
        if isinstance(source, MappedFile):
            stop = offset + self._row_bytes * self.shape[0]
            self.mapped = source.array[offset:stop].view(self.dtype).reshape(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def is_local(self) -> bool:
        """Whether the array is in a file of this machine."""
        return isinstance(self.source, MappedFile | PreadFile)

    @property
    def header(self) -> bytes:
        """The bytes of the source before the array."""
        return bytes_between(self.source, 0, self._offset)

    @property
    def n_bytes(self) -> int:
        """The bytes of the array."""
        return self.shape[0] * self._row_bytes

    def take(self, starts: npt.ArrayLike, counts: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return rows [start, start + count) of each pair, end to end; DataError outside of the array."""
        first, number = np.asarray(starts, np.int64), np.asarray(counts, np.int64)
        outside = np.flatnonzero((first < 0) | (number < 0) | (first + number > len(self)))
        if len(outside):
            place = int(first[outside[0]])
            raise DataError(f"{self.source.name}: row {place} is asked for, but there are {len(self)}")
        if self.mapped is not None and len(first) and number.sum() <= _SHORT * len(first):
            heads = np.cumsum(number) - number
            found: npt.NDArray[Any] = self.mapped[np.arange(number.sum()) + np.repeat(first - heads, number)]
            return found
        content = self.source.read_many(self._offset + first * self._row_bytes, number * self._row_bytes)
        return content.view(self.dtype).reshape(-1, *self.shape[1:])

    def whole(self) -> npt.NDArray[Any]:
        """Return the whole array, mapped or read."""
        return self.take([0], [len(self)]) if self.mapped is None else self.mapped

    def read_bytes(self, start: int, length: int) -> bytes:
        """Return bytes of the array, counted from its first."""
        return bytes_between(self.source, self._offset + start, length)


def read_parts(
    parts: Sequence[Source], part_starts: Int64Array, starts: Int64Array, lengths: Int64Array
) -> npt.NDArray[np.uint8]:
    """Return the bytes of ranges of data that is cut into ``parts``, end to end.

    ``part_starts`` int64[len(parts) + 1]: the byte at which each part begins, and the length of all.
    """
    out = np.empty(int(lengths.sum()), np.uint8)
    targets = np.cumsum(lengths) - lengths
    stops = starts + lengths
    for number, part in enumerate(parts):
        first = np.maximum(starts, part_starts[number])
        here = np.minimum(stops, part_starts[number + 1]) - first
        chosen = np.flatnonzero(here > 0)
        if not len(chosen):
            continue
        content = part.read_many(first[chosen] - part_starts[number], here[chosen])
        place = 0
        for target, length in zip(
            (targets[chosen] + first[chosen] - starts[chosen]).tolist(), here[chosen].tolist(), strict=True
        ):
            out[target : target + length] = content[place : place + length]
            place += length
    return out


class SourceFile:
    """A source as a file that can be read and sought, for libraries that want one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._place = 0
        self.closed = False

    def read(self, length: int = -1) -> bytes:
        left = max(self._source.size - self._place, 0)
        length = left if length < 0 else min(length, left)
        content = bytes_between(self._source, self._place, length) if length else b""
        self._place += length
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._source.size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True
