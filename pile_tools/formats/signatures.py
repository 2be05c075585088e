"""Saved signatures: what a later deduplication needs of a corpus instead of its text.

For each shard four arrays ``signatures/NAME.*.npy`` of the documents that stayed, in order:

documents   [n]            ``DOCUMENT``: row in the shard beside it, bytes of text, words, hash of the words
signatures  [n, num_perm]  uint32
offsets     [n + 1]        int64: document i has the shingles ``values[offsets[i]:offsets[i + 1]]``
values      [·]            uint64: shingle hashes, sorted, without repeats
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from pile_tools.errors import DataError
from pile_tools.formats.npy import NpyFile

__all__ = ["DOCUMENT", "KINDS", "SIGNATURES_NAME", "SavedSignatures"]

SIGNATURES_NAME = "signatures"
KINDS = ("documents", "signatures", "offsets", "values")

DOCUMENT = np.dtype(
    [("row", "<i8"), ("bytes", "<i8"), ("words", "<i8"), ("source", "<i4"), ("hash", "<u8", 2)]
)
"""One document of a shard. ``hash``: of its words (of its text, where whole texts are compared)."""


@dataclass(frozen=True, slots=True)
class SavedSignatures:
    """The four open arrays of one shard."""

    documents: NpyFile
    signatures: NpyFile
    offsets: NpyFile
    values: NpyFile

    @staticmethod
    def path(directory: Path, shard: str, kind: str) -> Path:
        """Where the array ``kind`` of the shard called ``shard`` is under the output ``directory``."""
        return directory / SIGNATURES_NAME / f"{shard}.{kind}.npy"

    @classmethod
    def open(cls, directory: Path, shard: str, num_perm: int) -> Self:
        """Open the arrays of a shard; DataError where one is missing, damaged or unlike the others."""
        files = []
        for kind in KINDS:
            path = cls.path(directory, shard, kind)
            if not path.is_file():
                raise DataError(f"{path}: missing; make {directory} again with `--save-signatures`")
            files.append(NpyFile.open(path))
        documents, signatures, offsets, values = files
        n = len(documents)
        expected = [
            (documents, (n,), DOCUMENT),
            (signatures, (n, num_perm), np.dtype("<u4")),
            (offsets, (n + 1,), np.dtype("<i8")),
            (values, (len(values),), np.dtype("<u8")),
        ]
        for file, shape, dtype in expected:
            if file.shape != shape or file.dtype != dtype:
                raise DataError(
                    f"{file.path}: {file.dtype} {list(file.shape)}, not {dtype} {list(shape)}; "
                    f"make {directory} again"
                )
        if offsets.read(0, 1)[0] != 0 or offsets.read(n, n + 1)[0] != len(values):
            raise DataError(f"{offsets.path}: does not fit its {len(values)} values; make {directory} again")
        return cls(documents, signatures, offsets, values)
