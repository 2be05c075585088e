"""Zstandard streams: a reader that notices every cut, and frames that can be reached one by one.

Reading: all frames of a file are read, skippable ones are passed over, and a file that ends inside a
frame is an error (``zstandard``'s own stream readers return the prefix of a cut frame without
complaint, and by default stop after the first frame).

Writing: ``RowFrameWriter`` ends a checksummed frame every ``FRAME_BYTES`` of text, at the end of a
line, and closes with two skippable frames that other readers pass over: the number of lines of each
frame, and the seek table of the zstd seekable format (compressed and decompressed size of each frame).
``docs/formats.md`` gives their bytes.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import zstandard
from numpy.typing import NDArray

from pile_tools.errors import DataError

__all__ = ["FRAME_BYTES", "FrameIndex", "RowFrameWriter", "read_frame_index", "zstd_chunks"]

FRAME_BYTES = 1 << 20
LEVEL = 3

# A block of zstd can stand for 32,000 times its size: what is fed at once bounds what comes out.
_FEED_BYTES = 2048

# What zstd itself takes by default is 2²⁷.
_MAX_WINDOW_BYTES = 1 << 31
_SINGLE_SEGMENT = 0x20
_HEADER_BYTES = 18  # at most

_SKIPPABLE_MAGIC = 0x184D2A50  # up to …5F
_ROWS_MAGIC = 0x184D2A5D
_SEEK_MAGIC = 0x184D2A5E
_SEEKABLE_MAGIC = 0x8F92EAB1
_ROWS_TAG = b"PILEROWS"
_SEEK_FOOTER = struct.Struct("<IBI")


def zstd_chunks(path: Path) -> Iterator[bytes]:
    """Yield the decompressed bytes of the file ``path`` in order, in pieces of bounded size.

    Raises DataError for a file that is cut, damaged, empty or no zstd file, and for one whose window
    (the memory that a frame asks for, of up to 2 GiB with ``zstd --long=31``) cannot be had.
    """
    context = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    frame = None
    header = b""
    content_bytes = 0
    with path.open("rb", buffering=1 << 20) as file:
        index = _IndexCheck(path, file.fileno())
        while data := file.read(_FEED_BYTES):
            while data:
                if frame is None or frame.eof:
                    frame = context.decompressobj()
                    header = b""
                header += data[: _HEADER_BYTES - len(header)]
                try:
                    out = frame.decompress(data)
                except zstandard.ZstdError as error:
                    raise _frame_error(path, header, file.tell(), error) from None
                if out:
                    yield out
                    content_bytes += len(out)
                data = frame.unused_data if frame.eof else b""
                if frame.eof:
                    index.end_frame(header[:4], file.tell() - len(data), content_bytes)
                    content_bytes = 0
    if frame is None:
        raise DataError(f"{path}: empty file, but a zstd file has at least one frame; fetch the file again")
    if not frame.eof:
        raise DataError(f"{path}: truncated, the last zstd frame does not end; fetch the file again")


def _frame_error(path: Path, header: bytes, position: int, error: zstandard.ZstdError) -> DataError:
    """What is wrong with the frame that begins with ``header``, which is not decoded before ``position``."""
    if "memory" in str(error):
        return DataError(
            f"{path}: needs a window of {_window_bytes(header)} bytes ({error}); "
            "recompress it without `--long`"
        )
    dictionary = _dictionary_id(header)
    if dictionary:
        return DataError(
            f"{path}: compressed with the zstd dictionary {dictionary}, which is not in the file; unpack it "
            "with `zstd -d -D DICTIONARY` and compress it again without one"
        )
    return DataError(
        f"{path}: damaged zstd data before byte {position} ({error}); fetch the file again, or compress it "
        "again without a dictionary where it was made with one"
    )


def _dictionary_id(header: bytes) -> int:
    """The dictionary that a frame asks for; 0 for none, and where the header is cut."""
    try:
        return int(zstandard.get_frame_parameters(header).dict_id)
    except zstandard.ZstdError:
        return 0


class _IndexCheck:
    """Compares the frames of a file with the index behind them, where that is one of ours.

    A frame that was cut out whole leaves a file that is valid zstd. Several files of ours end to end
    have an index each.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._end = 0
        self._has_rows = False
        self._sizes: list[tuple[int, int]] = []  # compressed and decompressed bytes of each frame

    def end_frame(self, magic: bytes, end: int, content_bytes: int) -> None:
        """Take note of the frame that ends before byte ``end``; DataError for an index of other frames."""
        start, self._end = self._end, end
        number = int.from_bytes(magic, "little")
        if number == _ROWS_MAGIC:
            self._has_rows = os.pread(self._descriptor, len(_ROWS_TAG), start + 8) == _ROWS_TAG
        elif number == _SEEK_MAGIC and self._has_rows:
            table = os.pread(self._descriptor, end - start - 8, start + 8)[: -_SEEK_FOOTER.size]
            # Frames of another file may come before those of ours.
            sizes = np.array(self._sizes[-(len(table) // 8) :], dtype="<u4").tobytes()
            if sizes != table:
                raise DataError(
                    f"{self._path}: its frame index does not fit the frames before it, so some of them were "
                    "cut out; fetch the file again"
                )
            self._sizes, self._has_rows = [], False
        elif number >> 4 != _SKIPPABLE_MAGIC >> 4:
            self._sizes.append((end - start, content_bytes))


def _window_bytes(header: bytes) -> int:
    """The window that a frame asks for (RFC 8878, 3.1.1.1): that of its descriptor, or all of its content."""
    if header[4] & _SINGLE_SEGMENT:
        return zstandard.frame_content_size(header)
    exponent, mantissa = divmod(header[5], 8)
    base = 1 << (10 + exponent)
    return base + base // 8 * mantissa


class RowFrameWriter:
    """Write lines into independent zstd frames, so that a row can be reached without the others.

    The caller closes it; ``file`` stays open. The bytes depend on the lines alone.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
        self._lines: list[bytes] = []
        self._buffered = 0
        self._rows_here = 0
        self._frames: list[tuple[int, int, int]] = []  # compressed bytes, decompressed bytes, rows

    def write_lines(self, lines: Iterable[bytes]) -> None:
        """Add lines, their newlines included."""
        for line in lines:
            self.write(line)

    def write(self, line: bytes) -> None:
        """Add one line, its newline included."""
        self._lines.append(line)
        self._buffered += len(line)
        self._rows_here += 1
        if self._buffered >= FRAME_BYTES:
            self._end_frame()

    def write_piece(self, piece: bytes, *, first: bool) -> None:
        """Add a piece of a line that is too long to be held at once.

        Its frames hold no more than a piece each; the row is counted where it begins.
        """
        if self._lines:
            self._end_frame()
        self._rows_here = int(first)
        self._lines.append(piece)
        self._buffered = len(piece)
        self._end_frame()

    def _end_frame(self) -> None:
        content = b"".join(self._lines)
        compressed = self._compressor.compress(content)
        self._file.write(compressed)
        self._frames.append((len(compressed), len(content), self._rows_here))
        self._lines = []
        self._buffered = self._rows_here = 0

    def close(self) -> None:
        """Write what is left and the two index frames. A file without lines has one empty frame."""
        if self._lines or not self._frames:
            self._end_frame()
        rows = np.array([frame[2] for frame in self._frames], dtype="<u4").tobytes()
        sizes = np.array([frame[:2] for frame in self._frames], dtype="<u4").tobytes()
        footer = _SEEK_FOOTER.pack(len(self._frames), 0, _SEEKABLE_MAGIC)
        for magic, content in ((_ROWS_MAGIC, _ROWS_TAG + rows), (_SEEK_MAGIC, sizes + footer)):
            self._file.write(struct.pack("<II", magic, len(content)) + content)


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Where the frames of a file lie; arrays of int64 with one entry for each frame and one more.

    Frame i holds rows ``rows[i]`` up to ``rows[i + 1]`` (those that begin in it) and compressed bytes
    ``offsets[i]`` up to ``offsets[i + 1]``.
    """

    offsets: NDArray[np.int64]
    rows: NDArray[np.int64]

    def frame_of_row(self, row: int) -> int:
        """Number of the frame in which row ``row`` begins."""
        return int(np.searchsorted(self.rows, row, side="right")) - 1


def read_frame_index(path: Path) -> FrameIndex | None:
    """Read the index at the end of a file of ours; None for a file that has none.

    Raises DataError for an index that contradicts itself or the file's length.
    """
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        if length < _SEEK_FOOTER.size:
            return None
        file.seek(-_SEEK_FOOTER.size, os.SEEK_END)
        n_frames, descriptor, magic = _SEEK_FOOTER.unpack(file.read(_SEEK_FOOTER.size))
        seek_length = 8 * n_frames + _SEEK_FOOTER.size
        rows_length = len(_ROWS_TAG) + 4 * n_frames
        start = length - (8 + seek_length) - (8 + rows_length)
        if magic != _SEEKABLE_MAGIC or descriptor != 0 or start < 0:
            return None
        file.seek(start)
        tail = file.read()
    if tail[:16] != struct.pack("<II", _ROWS_MAGIC, rows_length) + _ROWS_TAG:
        return None  # seekable, but made by another writer
    seek_start = 8 + rows_length
    sizes = np.frombuffer(tail, "<u4", 2 * n_frames, seek_start + 8).reshape(-1, 2).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes[:, 0])])
    if (
        tail[seek_start : seek_start + 8] != struct.pack("<II", _SEEK_MAGIC, seek_length)
        or offsets[-1] != start
    ):
        raise DataError(f"{path}: its frame index does not fit its length {length}; fetch the file again")
    rows = np.frombuffer(tail, "<u4", n_frames, 16).astype(np.int64)
    return FrameIndex(offsets, np.concatenate([[0], np.cumsum(rows)]))
