"""Compressions of JSON lines: the bytes of a file unpacked, in pieces of bounded size, and line writers."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from pile_tools.corpus.zstd import RowFrameWriter, zstd_chunks
from pile_tools.errors import DataError

__all__ = ["COMPRESSIONS", "Compression", "LineWriter"]

_CHUNK_BYTES = 1 << 20
_XZ_PADDING: Final = 4


class LineWriter(Protocol):
    """What writes lines, newlines included, into a file that its caller opened and closes."""

    def write_lines(self, lines: Iterable[bytes]) -> object: ...
    def write_piece(self, piece: bytes, *, first: bool) -> None: ...
    def close(self) -> None: ...


class PlainWriter:
    """Write lines as they are."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write_lines(self, lines: Iterable[bytes]) -> None:
        self._file.writelines(lines)

    def write_piece(self, piece: bytes, *, first: bool) -> None:
        self._file.write(piece)

    def close(self) -> None:
        """Leave the file to its caller."""


class GzipWriter(PlainWriter):
    """Write lines through gzip, with nothing of the moment in its header."""

    def __init__(self, file: BinaryIO) -> None:
        self._gzip = gzip.GzipFile("", "wb", 6, file, mtime=0)
        super().__init__(self._gzip)  # type: ignore[arg-type]

    def close(self) -> None:
        self._gzip.close()


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _gzip_chunks(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
            if file.tell() == 0 and path.stat().st_size == 0:
                raise DataError(f"{path}: empty file, but a gzip file has a header; fetch the file again")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip data ({error}); fetch the file again") from None


class _Decompressor(Protocol):
    """What `lzma.LZMADecompressor` and `bz2.BZ2Decompressor` have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _stream_chunks(
    path: Path, name: str, start: Callable[[], _Decompressor], padding: int
) -> Iterator[bytes]:
    """Yield what the streams of a file hold, one after the other.

    Unlike `lzma.open` and `bz2.open`, raises DataError for what is behind a stream and is none. Zero bytes
    in multiples of ``padding`` may be there (none where it is 0).
    """
    zeros = 0
    stream: _Decompressor | None = None
    try:
        with path.open("rb") as file:
            data = b""
            while data := data or file.read(_CHUNK_BYTES):
                if stream is None and padding:
                    rest = data.lstrip(b"\0")
                    zeros, data = zeros + len(data) - len(rest), rest
                    if not data:
                        continue
                    if zeros % padding:
                        break
                stream = stream or start()
                chunk = stream.decompress(data, _CHUNK_BYTES)
                while chunk or not (stream.needs_input or stream.eof):
                    if chunk:
                        yield chunk
                    chunk = b"" if stream.eof else stream.decompress(b"", _CHUNK_BYTES)
                data, zeros = (stream.unused_data, 0) if stream.eof else (b"", 0)
                stream = None if stream.eof else stream
    except (OSError, EOFError, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{path}: damaged {name} data ({error}); fetch the file again") from None
    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty file, but a file of {name} data has a header; fetch the file again")
    if stream is not None:
        raise DataError(f"{path}: truncated, its {name} data does not end; fetch the file again")
    if padding and zeros % padding:
        raise DataError(f"{path}: damaged {name} data ({zeros} zero bytes behind it); fetch the file again")


def _xz_chunks(path: Path) -> Iterator[bytes]:
    return _stream_chunks(path, "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), _XZ_PADDING)


def _bzip2_chunks(path: Path) -> Iterator[bytes]:
    return _stream_chunks(path, "bzip2", bz2.BZ2Decompressor, 0)


@dataclass(frozen=True, slots=True)
class Compression:
    """How the bytes of a file are unpacked, and what writes the lines that are kept of it."""

    chunks: Callable[[Path], Iterator[bytes]]
    writer: Callable[[BinaryIO], LineWriter]


COMPRESSIONS: Final = {
    "": Compression(_file_chunks, PlainWriter),
    ".gz": Compression(_gzip_chunks, GzipWriter),
    ".zst": Compression(zstd_chunks, RowFrameWriter),
    ".xz": Compression(_xz_chunks, RowFrameWriter),
    ".bz2": Compression(_bzip2_chunks, RowFrameWriter),
}
"""The compressions by the suffix that names them."""
