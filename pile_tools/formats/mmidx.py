"""``.idx``: the MMIDIDX index of Megatron-LM and GPT-NeoX, read strictly and written as they write it.

All numbers are little endian::

    magic "MMIDIDX\\0\\0" · version uint64 = 1 · dtype code uint8 · n_sequences uint64 · n_doc_idx uint64
    sizes int32[n_sequences] (tokens) · pointers int64[n_sequences] (bytes into the data)
    doc_idx int64[n_doc_idx] (sequences)

Sequence i of the data is the ``sizes[i]`` tokens at byte ``pointers[i]``; document j is the sequences
``doc_idx[j]`` to ``doc_idx[j + 1]``, which for what GPT-NeoX and pile-tools write is sequence j alone.
Orders are made of the sequences, so doc_idx is read and copied but not checked: GPT-NeoX's own merge of
datasets leaves it at ``[0]``.
"""

import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.atomic import atomic_write

__all__ = [
    "HEADER_BYTES",
    "WHOLE_CHECK",
    "IndexHeader",
    "MMapIndex",
    "check_ends",
    "check_index",
    "check_taken_ends",
    "ends",
    "parse_header",
    "read_index",
    "token_dtype",
    "write_index",
]

_MAGIC: Final = b"MMIDIDX\0\0"
_HEADER: Final = struct.Struct("<9sQBQQ")
HEADER_BYTES: Final = _HEADER.size
# 6 and 7 are float types that Megatron-LM and GPT-NeoX number differently, and no tokens are floats.
_DTYPES: Final[dict[int, np.dtype[Any]]] = {
    1: np.dtype("u1"),
    2: np.dtype("i1"),
    3: np.dtype("<i2"),
    4: np.dtype("<i4"),
    5: np.dtype("<i8"),
    8: np.dtype("<u2"),
}
_CODES: Final = {dtype: code for code, dtype in _DTYPES.items()}
# An index up to this long is checked whole when it is opened (some 20 ms); a longer one at its ends,
# the rest where it is read and by `verify`.
WHOLE_CHECK: Final = 1 << 20
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """The first 34 bytes of an ``.idx`` file: dtype of the tokens and the two counts."""

    dtype: np.dtype[Any]
    n_sequences: int
    n_doc_idx: int

    @property
    def file_bytes(self) -> int:
        """Length of the whole file: header, sizes, pointers and doc_idx."""
        return HEADER_BYTES + 12 * self.n_sequences + 8 * self.n_doc_idx


@dataclass(frozen=True, slots=True)
class MMapIndex:
    """An open ``.idx`` file. The arrays are read-only views of the mapped file, not aligned in memory.

    ``dtype`` of the tokens; ``sizes`` int32[n] in tokens; ``pointers`` int64[n] in bytes;
    ``doc_idx`` int64[m].
    """

    path: Path
    dtype: np.dtype[Any]
    sizes: npt.NDArray[np.int32]
    pointers: npt.NDArray[np.int64]
    doc_idx: npt.NDArray[np.int64]

    @property
    def n_sequences(self) -> int:
        return len(self.sizes)

    @property
    def data_bytes(self) -> int:
        """Length of the data that the index describes."""
        if self.n_sequences == 0:
            return 0
        return int(self.pointers[-1]) + int(self.sizes[-1]) * self.dtype.itemsize


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the dtype in which tokens of a vocabulary are stored: uint16 below 65,500, else int32.

    GPT-NeoX's rule (``best_fitting_dtype``). ``vocab_size`` counts the added tokens too.
    """
    return np.dtype("<u2") if vocab_size < 65_500 else np.dtype("<i4")


def parse_header(header: bytes, file_bytes: int, name: str) -> IndexHeader:
    """Check the header of the ``.idx`` file ``name``, which is ``file_bytes`` long.

    ``header`` is its first ``HEADER_BYTES`` bytes (or all, if it has fewer). Raises DataError unless
    magic, version, dtype code and counts agree with the length of the file.
    """
    if len(header) < HEADER_BYTES or file_bytes < HEADER_BYTES:
        raise DataError(f"{name}: {file_bytes} bytes, shorter than the {HEADER_BYTES} of an .idx header")
    magic, version, code, n_sequences, n_doc_idx = _HEADER.unpack(header[:HEADER_BYTES])
    if magic != _MAGIC:
        raise DataError(f"{name}: begins with {magic!r}, not the {_MAGIC!r} of a Megatron .idx file")
    if version != 1:
        raise DataError(f"{name}: version {version} of the .idx format, but only version 1 is known")
    if code not in _DTYPES:
        known = ", ".join(f"{number} {dtype.name}" for number, dtype in _DTYPES.items())
        raise DataError(f"{name}: dtype code {code} is not a type of tokens ({known})")
    parsed = IndexHeader(_DTYPES[code], n_sequences, n_doc_idx)
    if parsed.file_bytes != file_bytes:
        raise DataError(
            f"{name}: {file_bytes} bytes, but its header ({n_sequences} sequences, {n_doc_idx} document "
            f"boundaries) needs {parsed.file_bytes}; it is damaged, copy or make it again"
        )
    return parsed


def read_index(path: str | os.PathLike[str]) -> MMapIndex:
    """Open the ``.idx`` file ``path``, memory-mapped.

    Header, file length and both ends of sizes and pointers are checked always; an index of up to 2²⁰
    sequences is checked whole (a longer one by ``check_index``). Raises DataError for what fails.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            header = parse_header(file.read(HEADER_BYTES), length, str(path))
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise PileToolsError(f"{path}: no such file; a token dataset needs its .idx") from None
    n, m = header.n_sequences, header.n_doc_idx
    index = MMapIndex(
        path,
        header.dtype,
        np.frombuffer(mapped, "<i4", n, HEADER_BYTES) if n else np.empty(0, "<i4"),
        np.frombuffer(mapped, "<i8", n, HEADER_BYTES + 4 * n) if n else np.empty(0, "<i8"),
        np.frombuffer(mapped, "<i8", m, HEADER_BYTES + 12 * n) if m else np.empty(0, "<i8"),
    )
    if n <= WHOLE_CHECK:
        check_index(index)
    else:
        check_ends(index)
    return index


def ends(length: int) -> list[int]:
    """Return the places of the first and the last two entries of an array, which ``check_ends`` needs."""
    return sorted({place for place in (0, length - 2, length - 1) if 0 <= place < length})


def check_ends(index: MMapIndex) -> None:
    """Check the first and the last sizes and pointers; DataError if wrong."""
    entries = {at: (int(index.sizes[at]), int(index.pointers[at])) for at in ends(index.n_sequences)}
    check_taken_ends(str(index.path), index.dtype, entries)


def check_taken_ends(name: str, dtype: np.dtype[Any], entries: Mapping[int, tuple[int, int]]) -> int:
    """Check size and pointer of the sequences at the ``ends`` of an index; return the length of the data."""
    expected = 0
    for place, (size, pointer) in entries.items():
        if size < 0:
            raise DataError(f"{name}: sequence {place} has the size {size}; the index is damaged")
        if (place == 0 or place - 1 in entries) and pointer != expected:
            raise _wrong_pointer(name, place, pointer, expected)
        expected = pointer + size * dtype.itemsize
    return expected


def check_index(index: MMapIndex) -> None:
    """Check every size and pointer; DataError names the first that is wrong."""
    for start in range(0, index.n_sequences, _BLOCK):
        _check_block(index, start, min(start + _BLOCK, index.n_sequences))


def _check_block(index: MMapIndex, start: int, stop: int) -> None:
    """Check sequences [start, stop): sizes not negative, pointers the running sum of sizes."""
    sizes = index.sizes[start:stop].astype(np.int64)
    negative = np.flatnonzero(sizes < 0)
    if len(negative):
        place = int(negative[0])
        raise DataError(
            f"{index.path}: sequence {start + place} has the size {sizes[place]}; the index is damaged"
        )
    expected = np.empty_like(sizes)
    if start:
        expected[0] = index.pointers[start - 1] + int(index.sizes[start - 1]) * index.dtype.itemsize
    else:
        expected[0] = 0
    np.cumsum(sizes[:-1] * index.dtype.itemsize, out=expected[1:])
    expected[1:] += expected[0]
    wrong = np.flatnonzero(index.pointers[start:stop] != expected)
    if len(wrong):
        place = int(wrong[0])
        raise _wrong_pointer(str(index.path), start + place, index.pointers[start + place], expected[place])


def _wrong_pointer(name: str, place: int, pointer: int, expected: int) -> DataError:
    return DataError(
        f"{name}: sequence {place} points to byte {pointer}, but the sequences before it end at byte "
        f"{expected}; the index is damaged"
    )


def write_index(
    path: str | os.PathLike[str],
    dtype: npt.DTypeLike,
    sizes: npt.ArrayLike,
    doc_idx: npt.ArrayLike | None = None,
) -> None:
    """Write an ``.idx`` file whole, byte for byte as GPT-NeoX writes it.

    ``dtype`` of the tokens (see ``token_dtype``); ``sizes`` [n] the tokens of each sequence;
    ``doc_idx`` [m] the document boundaries, by default one sequence for each document. Besides its
    arguments it holds a few MB, whatever n. Raises ParameterError for a dtype that the format has no
    code for, a size outside int32 or boundaries that do not cover the sequences in order.
    """
    dtype = np.dtype(dtype).newbyteorder("<")
    if dtype not in _CODES:
        raise ParameterError(f"{path}: tokens of dtype {dtype.name} have no code in the .idx format")
    sizes = np.asarray(sizes)
    if sizes.ndim != 1 or (len(sizes) and sizes.dtype.kind not in "iu"):
        raise ParameterError(f"{path}: sizes must be a one-dimensional array of integers")
    if len(sizes) and (sizes.min() < 0 or sizes.max() > np.iinfo(np.int32).max):
        raise ParameterError(f"{path}: a size is outside int32 (from {sizes.min()} to {sizes.max()} tokens)")
    boundaries = None if doc_idx is None else np.asarray(doc_idx, np.int64)
    if boundaries is not None and (
        len(boundaries) == 0
        or (boundaries[0], boundaries[-1]) != (0, len(sizes))
        or np.any(boundaries[1:] < boundaries[:-1])
    ):
        raise ParameterError(f"{path}: doc_idx must rise from 0 to the number of sequences, {len(sizes)}")
    n_doc_idx = len(sizes) + 1 if boundaries is None else len(boundaries)
    with atomic_write(path) as file:
        file.write(_HEADER.pack(_MAGIC, 1, _CODES[dtype], len(sizes), n_doc_idx))
        for start in range(0, len(sizes), _BLOCK):
            file.write(sizes[start : start + _BLOCK].astype("<i4").tobytes())
        address = 0
        for start in range(0, len(sizes), _BLOCK):
            ends = address + np.cumsum(sizes[start : start + _BLOCK], dtype=np.int64) * dtype.itemsize
            file.write(np.concatenate([[address], ends[:-1]]).astype("<i8").tobytes())
            address = int(ends[-1])
        for start in range(0, n_doc_idx, _BLOCK):
            stop = min(start + _BLOCK, n_doc_idx)
            part = np.arange(start, stop) if boundaries is None else boundaries[start:stop]
            file.write(part.astype("<i8").tobytes())
