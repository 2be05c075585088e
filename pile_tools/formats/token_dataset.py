"""A token dataset: ``PREFIX.idx`` with ``PREFIX.bin`` or its shards, read in place.

Shards are ``PREFIX-00000-of-000NN.bin`` to ``PREFIX-000NN-of-000NN.bin`` (the number after "of" is the
last index), of equal size but the last; end to end they are ``PREFIX.bin``.
"""

import hashlib
import mmap
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.corpus import UNFINISHED_NAME
from pile_tools.formats.manifest import MANIFEST_NAME, Manifest, canonical_json
from pile_tools.formats.mmidx import MMapIndex, read_index
from pile_tools.formats.pieces import shard_name

__all__ = ["TokenDataset", "find_prefix", "sampled_sha256"]

_SHARD: Final = re.compile(r"-(\d{5})-of-(\d{5})\.bin\Z")
_SAMPLE_WHOLE: Final = 4 << 20
_SAMPLE_BLOCK: Final = 64 << 10


def find_prefix(location: str | os.PathLike[str]) -> Path:
    """Return the prefix of the token dataset at ``location``: its ``.idx`` path without the suffix.

    ``location`` is a directory that holds one ``.idx`` file, an ``.idx`` or ``.bin`` path or the prefix
    itself. Raises PileToolsError where there is none, ParameterError where a directory holds several
    and UnfinishedError for what `pile-tools tokenize` has not finished.
    """
    path = Path(location)
    if path.is_dir():
        if (path / UNFINISHED_NAME).exists():
            raise UnfinishedError(f"{path}: unfinished; run `pile-tools tokenize` again")
        found = sorted(path.glob("*.idx"))
        if len(found) > 1:
            names = ", ".join(str(file.with_suffix("")) for file in found)
            raise ParameterError(f"{path}: several token datasets; name one of {names}")
        if found:
            return found[0].with_suffix("")
        raise PileToolsError(f"{path}: no .idx file in it, so no token dataset; name its directory or prefix")
    if path.suffix in {".idx", ".bin"}:
        path = path.with_suffix("")
    if not path.with_name(path.name + ".idx").is_file():
        raise PileToolsError(f"{path}.idx: no such file; name the directory or the prefix of a token dataset")
    return path


def sampled_sha256(parts: list[npt.NDArray[np.uint8]]) -> str:
    """Return the SHA-256 of the bytes of ``parts``, end to end: of all up to 4 MiB, else of a sample.

    The sample is 64 blocks of 64 KiB, spread evenly from the first bytes to the last, so that naming a
    dataset of any size costs milliseconds.
    """
    total = sum(len(part) for part in parts)
    state = hashlib.sha256()
    if total <= _SAMPLE_WHOLE:
        for part in parts:
            state.update(part.data)
        return state.hexdigest()
    blocks = _SAMPLE_WHOLE // _SAMPLE_BLOCK
    for block in range(blocks):
        start = block * (total - _SAMPLE_BLOCK) // (blocks - 1)
        state.update(_bytes_between(parts, start, start + _SAMPLE_BLOCK))
    return state.hexdigest()


def _bytes_between(parts: list[npt.NDArray[np.uint8]], start: int, stop: int) -> bytes:
    pieces = []
    for part in parts:
        if start < len(part) and stop > 0:
            pieces.append(part[max(start, 0) : stop].tobytes())
        start -= len(part)
        stop -= len(part)
    return b"".join(pieces)


def _find_parts(prefix: Path) -> list[Path]:
    whole = prefix.with_name(prefix.name + ".bin")
    shards = {}
    lasts = set()
    for path in prefix.parent.glob("*.bin"):
        if path.name.startswith(prefix.name) and (match := _SHARD.fullmatch(path.name[len(prefix.name) :])):
            shards[int(match[1])] = path
            lasts.add(int(match[2]))
    if whole.is_file() and shards:
        raise DataError(f"{whole}: stands beside shards of itself; remove one or the other")
    if whole.is_file():
        return [whole]
    if not shards:
        raise PileToolsError(f"{whole}: no such file, and no shards {prefix.name}-00000-of-….bin either")
    if len(lasts) > 1:
        raise DataError(f"{prefix}: shards of several sets (last shards {sorted(lasts)}); remove all but one")
    for index in range(max(lasts) + 1):
        if index not in shards:
            name = shard_name(prefix.name, index, max(lasts))
            raise DataError(f"{prefix.with_name(name)}: missing, but other shards of its set are here")
    return [shards[index] for index in sorted(shards)]


def _map(path: Path, length: int) -> npt.NDArray[np.uint8]:
    if length == 0:
        return np.empty(0, np.uint8)
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ), np.uint8)


@dataclass(frozen=True, eq=False)
class TokenDataset:
    """An open token dataset.

    ``prefix`` its path without ``.idx``; ``index`` its sizes and pointers; ``paths`` of the data, one or
    one for each shard; ``parts`` the mapped bytes of each; ``part_starts`` int64[len(parts) + 1] the
    byte of the data at which each part begins, and the length of the data.
    """

    prefix: Path
    index: MMapIndex
    paths: tuple[Path, ...]
    parts: tuple[npt.NDArray[np.uint8], ...]
    part_starts: npt.NDArray[np.int64]
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, location: str | os.PathLike[str]) -> Self:
        """Open the token dataset at ``location`` (see ``find_prefix``), memory-mapped.

        Raises DataError unless index and data agree in length and all shards are there.
        """
        prefix = find_prefix(location)
        index = read_index(prefix.with_name(prefix.name + ".idx"))
        paths = _find_parts(prefix)
        lengths = [path.stat().st_size for path in paths]
        for path, length in zip(paths[:-1], lengths[:-1], strict=True):
            if length != lengths[0]:
                raise DataError(
                    f"{path}: {length} bytes, but {paths[0].name} has {lengths[0]}, and all shards but the "
                    "last are of one size; copy or make it again"
                )
        if sum(lengths) != index.data_bytes:
            named = paths[0] if len(paths) == 1 else f"{prefix} in {len(paths)} shards"
            raise DataError(
                f"{named}: {sum(lengths)} bytes of tokens, but {index.path.name} describes "
                f"{index.data_bytes}; copy or make the dataset again"
            )
        return cls(
            prefix,
            index,
            tuple(paths),
            tuple(_map(path, length) for path, length in zip(paths, lengths, strict=True)),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        )

    @property
    def directory(self) -> Path:
        return self.prefix.parent

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of the tokens, little endian."""
        return self.index.dtype

    @property
    def n_sequences(self) -> int:
        """Sequences of the index; what GPT-NeoX and pile-tools write has one for each document."""
        return self.index.n_sequences

    @property
    def n_tokens(self) -> int:
        return self.index.data_bytes // self.dtype.itemsize

    def sequence(self, number: int) -> npt.NDArray[Any]:
        """Return the tokens of sequence ``number`` of the index, [sizes[number]], as a copy."""
        if not 0 <= number < self.n_sequences:
            raise ParameterError(f"{self.prefix}: no sequence {number} of {self.n_sequences}")
        start = int(self.index.pointers[number])
        stop = start + int(self.index.sizes[number]) * self.dtype.itemsize
        return np.frombuffer(_bytes_between(list(self.parts), start, stop), self.dtype)

    @property
    def manifest(self) -> Manifest | None:
        """The manifest that `pile-tools tokenize` wrote; None for a dataset of another tool."""
        if "manifest" not in self._cache:
            manifest = None
            if (self.directory / MANIFEST_NAME).is_file():
                manifest = Manifest.read(self.directory)
            self._cache["manifest"] = manifest if manifest and manifest.stage == "tokenize" else None
        value: Manifest | None = self._cache["manifest"]
        return value

    @property
    def identity(self) -> str:
        """SHA-256 that names the dataset by its content, 64 hexadecimal digits.

        It covers dtype, counts, sizes, document boundaries and tokens (each by ``sampled_sha256``) and
        not the file names or the division into shards.
        """
        if "identity" not in self._cache:
            index = self.index
            # All of the arrays as bytes of the file: sizes and doc_idx; pointers follow from sizes.
            self._cache["identity"] = hashlib.sha256(
                canonical_json(
                    {
                        "format": "pile-tools token dataset 1",
                        "dtype": self.dtype.name,
                        "n_sequences": index.n_sequences,
                        "n_doc_idx": len(index.doc_idx),
                        "data_bytes": index.data_bytes,
                        "sizes": sampled_sha256([index.sizes.view(np.uint8)]),
                        "doc_idx": sampled_sha256([index.doc_idx.view(np.uint8)]),
                        "data": sampled_sha256(list(self.parts)),
                    }
                )
            ).hexdigest()
        value: str = self._cache["identity"]
        return value
