"""A token dataset: ``PREFIX.idx`` with ``PREFIX.bin`` or its shards, read in place, here or behind a URL.

Shards are ``PREFIX-00000-of-000NN.bin`` to ``PREFIX-000NN-of-000NN.bin`` (the number after "of" is the
last index), of equal size but the last; end to end they are ``PREFIX.bin``.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.block_cache import BlockCache
from pile_tools.formats.corpus import UNFINISHED_NAME
from pile_tools.formats.manifest import MANIFEST_NAME, FileEntry, Manifest, canonical_json
from pile_tools.formats.mmidx import (
    HEADER_BYTES,
    WHOLE_CHECK,
    MMapIndex,
    check_index,
    check_taken_ends,
    ends,
    parse_header,
)
from pile_tools.formats.pieces import shard_name
from pile_tools.formats.proofs import Claim
from pile_tools.formats.recorded_files import hash_claim, listed_entry, open_recorded
from pile_tools.formats.sources import (
    ArrayView,
    MappedFile,
    MissingFileError,
    Source,
    bytes_between,
    read_parts,
)
from pile_tools.formats.store import Io, Store, open_store
from pile_tools.formats.urls import child, is_url, split_last, without_credentials

__all__ = ["DatasetLayout", "TokenDataset", "find_dataset", "sampled_sha256"]

_SHARD: Final = re.compile(r"-(\d{5})-of-(\d{5})\.bin\Z")
# The stages whose manifests list a token dataset.
_STAGES: Final = ("tokenize", "fetch", "merge", "split")
_REMEDY: Final = "restore it, or make the dataset again"
_SAMPLE_WHOLE: Final = 4 << 20
_SAMPLE_BLOCK: Final = 64 << 10
# Of the sizes alone, which are looked at behind a URL as well: 16 blocks of 4 KiB, fetched at one time.
_SIZES_WHOLE: Final = 1 << 14
_SIZES_BLOCK: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class DatasetLayout:
    """What is known of a published dataset before any of it is read.

    ``parts`` names and bytes of the data files in order; ``sequence_tokens`` the size of every sequence
    where all are of one size, so that none needs to be looked up.
    """

    prefix: str
    parts: tuple[tuple[str, int], ...]
    sequence_tokens: int | None = None


class _LazySource:
    """A file of a store that is opened when it is first read: a step needs one shard of many."""

    def __init__(self, store: Store, file: str, size: int) -> None:
        self.name = f"{store.name}/{file}"
        self.size = size
        self._store = store
        self._file = file

    def read_many(
        self, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.uint8]:
        return self._store.open(self._file, self.size).read_many(starts, lengths)


def sampled_sha256(total: int, read: Callable[[int, int], bytes]) -> str:
    """Return the SHA-256 of ``total`` bytes that ``read(start, length)`` gives: of a sample above 4 MiB.

    The sample is 64 blocks of 64 KiB, spread evenly from the first bytes to the last, so that naming a
    dataset of any size costs milliseconds.
    """
    if total <= _SAMPLE_WHOLE:
        return hashlib.sha256(read(0, total)).hexdigest()
    state = hashlib.sha256()
    blocks = _SAMPLE_WHOLE // _SAMPLE_BLOCK
    for block in range(blocks):
        state.update(read(block * (total - _SAMPLE_BLOCK) // (blocks - 1), _SAMPLE_BLOCK))
    return state.hexdigest()


def find_dataset(
    location: str | os.PathLike[str],
    *,
    io: Io = "mmap",
    cache: BlockCache | None = None,
    near: Store | None = None,
) -> tuple[Store, str]:
    """Return the store and the prefix of the token dataset at ``location``.

    ``location`` is a directory or URL that holds one ``.idx`` file, an ``.idx`` or ``.bin`` file or the
    prefix itself. Raises PileToolsError where there is none, ParameterError where there are several and
    UnfinishedError for what a command has not finished. ``near``: see ``open_store``.
    """
    name = os.fspath(location).rstrip("/") or "/"
    folder, last = split_last(name) if is_url(name) else os.path.split(name)
    prefix = re.sub(r"\.(idx|bin)\Z", "", last)
    # Megatron-Core keeps its maps in a directory that is called as the prefix beside which it is.
    is_folder = Path(name).is_dir() and not Path(f"{name}.idx").is_file()
    if prefix == last and (is_url(name) or is_folder):
        found = _prefix_in(store := open_store(name, io=io, cache=cache, near=near))
        if found is not None:
            return store, found
        if not is_url(name) or ((names := store.list()) is not None and (names or store.folders())):
            where = "the current directory" if name == "." else name
            raise PileToolsError(
                f"{without_credentials(where)}: no .idx file in it, so no token dataset; name the directory "
                "or prefix of one (--data, or $PILE_TOOLS_DATA)"
            )
    store = open_store(folder or ".", io=io, cache=cache, near=near)
    names = store.list() if store.path is None or store.path.is_dir() else {}
    if prefix and (names is None or f"{prefix}.idx" in names):
        return store, prefix
    if is_url(name):
        stem = without_credentials(child(folder, prefix))
        raise PileToolsError(f"{stem}.idx: no such file; name the folder or the prefix of a token dataset")
    if Path(name).is_file():
        raise PileToolsError(f"{name}: not a token dataset; name its directory, .idx file or prefix")
    raise PileToolsError(
        f"{name}: no such directory, and {os.path.join(folder, prefix)}.idx: no such file; name the "
        "directory or the prefix of a token dataset (one on the Hub is hf://datasets/OWNER/NAME)"
    )


def _prefix_in(store: Store) -> str | None:
    """Return the prefix of the only dataset in ``store``, None where there is none."""
    if store.path is not None and (store.path / UNFINISHED_NAME).exists():
        raise UnfinishedError(f"{store.path}: unfinished; run the command that makes it again")
    names = _listed(store)
    prefixes = sorted(name.removesuffix(".idx") for name in names or () if name.endswith(".idx"))
    if len(prefixes) > 1:
        known = ", ".join(f"{store.name}/{prefix}" for prefix in prefixes)
        raise ParameterError(f"{store.name}: several token datasets; name one of {known}")
    return prefixes[0] if prefixes else None


def _listed(store: Store) -> Mapping[str, int | None] | None:
    """Names and sizes of the files in ``store``; those in its manifest where the server lists none."""
    names = store.list()
    if names is None:
        manifest = Manifest.find_in(store.read(MANIFEST_NAME), f"{store.name}/{MANIFEST_NAME}")
        names = None if manifest is None else {entry.name: entry.bytes for entry in manifest.outputs}
    return names


def _part_names(names: Mapping[str, int | None], store: Store, prefix: str) -> list[str]:
    """Return the names of the data files of ``prefix``, in order; raise DataError where one is missing."""
    whole = f"{prefix}.bin"
    shards = {}
    lasts = set()
    for name in names:
        if name.startswith(prefix) and (match := _SHARD.fullmatch(name[len(prefix) :])):
            shards[int(match[1])] = name
            lasts.add(int(match[2]))
    where = f"{store.name}/{prefix}"
    if whole in names and shards:
        raise DataError(f"{where}.bin: stands beside shards of itself; remove one or the other")
    if whole in names:
        return [whole]
    if not shards:
        raise PileToolsError(f"{where}.bin: no such file, and no shards {prefix}-00000-of-….bin either")
    if len(lasts) > 1:
        raise DataError(f"{where}: shards of several sets (last shards {sorted(lasts)}); remove all but one")
    for index in range(max(lasts) + 1):
        if index not in shards:
            missing = shard_name(prefix, index, max(lasts))
            raise DataError(f"{store.name}/{missing}: missing, but other shards of its set are here")
    return [shards[index] for index in sorted(shards)]


class TokenDataset:
    """An open token dataset.

    ``name`` its location without ``.idx``, ``store`` and ``prefix`` the parts of it; ``dtype`` of the
    tokens, little endian; ``sizes`` int32[n], ``pointers`` int64[n] and ``doc_idx`` int64[m] views of the
    index; ``parts`` the data, one source or one for each shard; ``part_starts`` int64[len(parts) + 1]
    the byte of the data at which each part begins, and the length of the data; ``sequence_tokens`` the
    size of every sequence where its publisher tells it; ``opened`` keeps what belongs to the dataset and was
    opened once.
    """

    def __init__(self, store: Store, prefix: str, layout: DatasetLayout | None = None) -> None:
        self.store = store
        self.prefix = prefix
        self.name = f"{store.name}/{prefix}"
        source = store.open(f"{prefix}.idx")
        header = parse_header(
            bytes_between(source, 0, min(HEADER_BYTES, source.size)), source.size, source.name
        )
        n = header.n_sequences
        self.dtype = header.dtype
        self.n_sequences = n
        self.index_name = source.name
        self.sizes = ArrayView(source, "<i4", (n,), HEADER_BYTES)
        self.pointers = ArrayView(source, "<i8", (n,), HEADER_BYTES + 4 * n)
        self.doc_idx = ArrayView(source, "<i8", (header.n_doc_idx,), HEADER_BYTES + 12 * n)
        self.parts = self._open_parts(layout)
        lengths = [part.size for part in self.parts]
        self.part_starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.opened: dict[str, Any] = {}
        self.sequence_tokens = layout.sequence_tokens if layout is not None else None
        self._check(layout)

    @classmethod
    def open(
        cls,
        location: str | os.PathLike[str],
        *,
        io: Io = "mmap",
        cache: BlockCache | None = None,
        near: Store | None = None,
    ) -> Self:
        """Open the token dataset at ``location`` (see ``find_dataset``).

        Raises DataError unless index and data agree in length and all shards are there.
        """
        return cls(*find_dataset(location, io=io, cache=cache, near=near))

    def _open_parts(self, layout: DatasetLayout | None) -> list[Source]:
        if layout is not None:
            return [_LazySource(self.store, name, size) for name, size in layout.parts]
        names = _listed(self.store)
        if names is None:
            return [self._open_unlisted()]
        parts: list[Source] = []
        for name in _part_names(names, self.store, self.prefix):
            size = names[name]
            if self.store.path is not None or size is None:
                parts.append(self.store.open(name))
            else:
                parts.append(_LazySource(self.store, name, size))
        for part in parts[:-1]:
            if part.size != parts[0].size:
                raise DataError(
                    f"{part.name}: {part.size} bytes, but {parts[0].name} has {parts[0].size}, and all "
                    "shards but the last are of one size; copy or make it again"
                )
        return parts

    def _open_unlisted(self) -> Source:
        """Open the data where a server lists no files and no manifest does: it can only be one file."""
        try:
            return self.store.open(f"{self.prefix}.bin")
        except MissingFileError as error:
            raise MissingFileError(
                f"{error}; of a server that lists no files, shards are found only by the manifest.json of "
                "`pile-tools tokenize` beside them, or by a suite file"
            ) from None

    def _check(self, layout: DatasetLayout | None) -> None:
        if layout is not None and layout.sequence_tokens is not None:
            described = self.n_sequences * layout.sequence_tokens * self.dtype.itemsize
        elif self.store.path is not None and self.n_sequences <= WHOLE_CHECK:
            arrays = (self.sizes, self.pointers, self.doc_idx)
            index = MMapIndex(Path(self.index_name), self.dtype, *(array.whole() for array in arrays))
            check_index(index)
            described = index.data_bytes
        else:
            described = self._check_ends()
        if self.data_bytes != described:
            named = self.parts[0].name if len(self.parts) == 1 else f"{self.name} in {len(self.parts)} shards"
            raise DataError(
                f"{named}: {self.data_bytes} bytes of tokens, but {self.prefix}.idx describes {described}; "
                "copy or make the dataset again"
            )

    def _check_ends(self) -> int:
        """Check the ends of an index too long or too far away to be read whole; return the data's length."""
        places = ends(self.n_sequences)
        ones = [1] * len(places)
        taken = zip(
            self.sizes.take(places, ones).tolist(), self.pointers.take(places, ones).tolist(), strict=True
        )
        return check_taken_ends(self.index_name, self.dtype, dict(zip(places, taken, strict=True)))

    @property
    def index(self) -> MMapIndex:
        """The mapped index; ParameterError where the dataset is not mapped."""
        sizes, pointers, doc_idx = self.sizes.mapped, self.pointers.mapped, self.doc_idx.mapped
        if sizes is None or pointers is None or doc_idx is None:
            raise ParameterError(f"{self.name}: this needs a dataset of this machine, opened with mmap")
        return MMapIndex(Path(self.index_name), self.dtype, sizes, pointers, doc_idx)

    @property
    def directory(self) -> Path:
        """The directory of a dataset of this machine; ParameterError for one behind a URL."""
        if self.store.path is None:
            raise ParameterError(f"{self.name}: this needs a dataset of this machine")
        return self.store.path

    @property
    def is_mapped(self) -> bool:
        """Whether all of it is mapped into memory."""
        return self.sizes.mapped is not None and all(isinstance(part, MappedFile) for part in self.parts)

    @property
    def data_bytes(self) -> int:
        """Length of the data."""
        return int(self.part_starts[-1])

    @property
    def n_tokens(self) -> int:
        return self.data_bytes // self.dtype.itemsize

    def read(self, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the bytes of ranges of the data (int64[n] each), end to end."""
        return read_parts(self.parts, self.part_starts, starts, lengths)

    def sequence(self, number: int) -> npt.NDArray[Any]:
        """Return the tokens of sequence ``number`` of the index, [sizes[number]], as a copy."""
        if not 0 <= number < self.n_sequences:
            raise ParameterError(f"{self.name}: no sequence {number} of {self.n_sequences}")
        length = self.sizes.take([number], [1]).astype(np.int64) * self.dtype.itemsize
        return self.read(self.pointers.take([number], [1]), length).view(self.dtype)

    @property
    def manifest(self) -> Manifest | None:
        """The manifest that `pile-tools tokenize` wrote; None for a dataset of another tool."""
        if "manifest" not in self.opened:
            content = self.store.read(MANIFEST_NAME)
            manifest = Manifest.find_in(content, f"{self.store.name}/{MANIFEST_NAME}")
            self.opened["manifest"] = manifest if manifest and manifest.stage == "tokenize" else None
        value: Manifest | None = self.opened["manifest"]
        return value

    @property
    def recorded(self) -> tuple[str, tuple[FileEntry, ...]] | None:
        """The name of the record that lists the files of the dataset, and what it lists; None without one.

        It is the manifest of a stage that makes datasets, or what was set with ``set_recorded``.
        """
        if "recorded" not in self.opened:
            name = f"{self.store.name}/{MANIFEST_NAME}"
            manifest = Manifest.find_in(self.store.read(MANIFEST_NAME), name)
            # One that lists nothing says nothing of the files.
            is_ours = manifest is not None and manifest.stage in _STAGES and len(manifest.outputs) > 0
            self.opened["recorded"] = (name, tuple(manifest.outputs)) if manifest and is_ours else None
        value: tuple[str, tuple[FileEntry, ...]] | None = self.opened["recorded"]
        return value

    def set_recorded(self, record: str, entries: Sequence[FileEntry]) -> None:
        """Have the file ``record`` be the one that lists the files of the dataset."""
        self.opened["recorded"] = record, tuple(entries)

    def open_beside(self, name: str) -> Source:
        """Open the file ``name`` beside the dataset, proved where a record lists the files there.

        Raises MissingFileError where it is not there, DataError where it is not the one that is listed, or
        where none of this name is.
        """
        source = self.store.open(name)
        if self.recorded is None or self.is_remote:
            return source
        record, entries = self.recorded
        return open_recorded(self.store, listed_entry(entries, name, record, _REMEDY), _REMEDY)

    def index_claims(self) -> list[Claim]:
        """Return what is to be proved of the index: that it is the one that a record lists, if any does."""
        if self.is_remote or self.recorded is None:
            return []
        record, entries = self.recorded
        entry = listed_entry(entries, f"{self.prefix}.idx", record, _REMEDY)
        return [hash_claim(self.sizes.source, entry, _REMEDY)]

    @property
    def is_remote(self) -> bool:
        """Whether it is behind a URL."""
        return self.store.path is None

    @property
    def identity(self) -> str:
        """SHA-256 that names the dataset by its content, 64 hexadecimal digits.

        It covers dtype, counts, sizes, document boundaries and tokens (each by ``sampled_sha256``) and
        not the file names or the division into shards. Behind a URL, where a sample costs megabytes, it
        covers versions and sizes of the files instead and differs from that of a local copy (see
        ``index_identity``).
        """
        if "identity" not in self.opened:
            self.opened["identity"] = hashlib.sha256(canonical_json(self._description())).hexdigest()
        value: str = self.opened["identity"]
        return value

    @property
    def index_identity(self) -> str:
        """SHA-256 of what an order depends on, 64 hexadecimal digits, the same here and behind a URL.

        It covers dtype, counts and sizes: all of them up to 16,384, then 16 blocks of 1,024, spread evenly.
        """
        if "index_identity" not in self.opened:
            n = self.n_sequences
            starts, counts = np.zeros(1, np.int64), np.array([n])
            if n > _SIZES_WHOLE:
                blocks = _SIZES_WHOLE // _SIZES_BLOCK
                starts = np.arange(blocks) * (n - _SIZES_BLOCK) // (blocks - 1)
                counts = np.full(blocks, _SIZES_BLOCK)
            description = {
                "format": "pile-tools token index 1",
                "dtype": self.dtype.name,
                "n_sequences": n,
                "data_bytes": self.data_bytes,
                "sizes": hashlib.sha256(self.sizes.take(starts, counts).tobytes()).hexdigest(),
            }
            self.opened["index_identity"] = hashlib.sha256(canonical_json(description)).hexdigest()
        value: str = self.opened["index_identity"]
        return value

    def _description(self) -> dict[str, Any]:
        description: dict[str, Any] = {
            "format": "pile-tools token dataset 1",
            "dtype": self.dtype.name,
            "n_sequences": self.n_sequences,
            "n_doc_idx": len(self.doc_idx),
            "data_bytes": self.data_bytes,
        }
        if self.is_remote:
            source: Any = self.sizes.source
            return description | {
                "index": getattr(source, "version", source.name),
                "parts": [part.name for part in self.parts],
            }

        def of_array(array: ArrayView) -> str:
            size = array.dtype.itemsize
            return sampled_sha256(len(array) * size, array.read_bytes)

        def of_data(start: int, length: int) -> bytes:
            return self.read(np.array([start], np.int64), np.array([length], np.int64)).tobytes()

        return description | {
            "sizes": of_array(self.sizes),
            "doc_idx": of_array(self.doc_idx),
            "data": sampled_sha256(self.data_bytes, of_data),
        }
