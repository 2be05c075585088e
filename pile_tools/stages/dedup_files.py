"""The work files of a deduplication, and the numbering of its documents across shards."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pile_tools.algorithms.lsh import Bands
from pile_tools.formats.npy import NpyFile
from pile_tools.formats.signatures import DOCUMENT

__all__ = ["EDGE", "KEY_CHUNK", "CorpusFiles", "DedupPaths", "read_info"]

EDGE = np.dtype([("a", "<i8"), ("b", "<i8"), ("common", "<i8"), ("union", "<i8")])
"""A verified pair of documents a < b with ``common`` of ``union`` shingles."""

KEY_CHUNK = 1 << 14
"""Documents whose band keys lie together in a file of keys, band after band."""

_SIGN = "sign"
_AFTER_SIGN = ("same", "bands", "sets", "edges", "decision", "written")


@dataclass(frozen=True, slots=True)
class DedupPaths:
    """Names of the work files under ``root``."""

    root: Path

    def documents(self, shard: int) -> Path:
        return self.root / f"sign/{shard:05}.documents.npy"

    def keys(self, shard: int) -> Path:
        return self.root / f"sign/{shard:05}.keys.npy"

    def signatures(self, shard: int) -> Path:
        return self.root / f"sign/{shard:05}.signatures.npy"

    def info(self, shard: int) -> Path:
        return self.root / f"sign/{shard:05}.json"

    def same(self, part: int, parts: int) -> Path:
        return self.root / f"same/{part:05}-of-{parts:05}.npy"

    @property
    def passed_over(self) -> Path:
        return self.root / "same/passed-over.npy"

    def band(self, kind: str, band: int, part: int, parts: int) -> Path:
        return self.root / f"bands/{band:03}-{part:05}-of-{parts:05}.{kind}.npy"

    @property
    def candidates(self) -> Path:
        return self.root / "bands/candidates.npy"

    def sets(self, kind: str, shard: int) -> Path:
        return self.root / f"sets/{shard:05}.{kind}.npy"

    def edges(self, round_: str, part: int, parts: int) -> Path:
        return self.root / f"edges/{round_}-{part:05}-of-{parts:05}.npy"

    @property
    def labels(self) -> Path:
        return self.root / "edges/labels.npy"

    def linked(self, kind: str) -> Path:
        return self.root / f"decision/linked-{kind}.npy"

    def asked(self, round_: str) -> Path:
        return self.root / f"decision/{round_}-pairs.npy"

    @property
    def decision(self) -> Path:
        return self.root / "decision/decision.npy"

    def written(self, shard: int) -> Path:
        return self.root / f"written/{shard:05}.json"

    def make(self) -> None:
        for name in (_SIGN, *_AFTER_SIGN):
            (self.root / name).mkdir(exist_ok=True)

    def forget(self, shards: set[int]) -> bool:
        """Remove what signing ``shards`` gave; False, and nothing is removed, where more was made of it."""
        if any(any((self.root / name).glob("*")) for name in _AFTER_SIGN):
            return False
        for shard in shards:
            for path in (self.root / _SIGN).glob(f"{shard:05}.*"):
                path.unlink()
        return True

    def remove(self) -> None:
        """Remove all work files."""
        for name in (_SIGN, *_AFTER_SIGN):
            shutil.rmtree(self.root / name, ignore_errors=True)


def read_info(path: Path) -> dict[str, Any]:
    """Read a small JSON file that a task of ours wrote."""
    value: dict[str, Any] = orjson.loads(path.read_bytes())
    return value


@dataclass(frozen=True)
class CorpusFiles:
    """The signed documents of all shards: document d of shard s has number ``starts[s] + d``.

    Numbers follow corpus order, so that "first" is "lowest". ``n_against`` of them, the lowest, belong to
    a corpus that this one is compared against.
    """

    paths: DedupPaths
    n_shards: int
    n_against_shards: int = 0

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        counts = [len(NpyFile.open(self.paths.documents(shard))) for shard in range(self.n_shards)]
        return np.concatenate([[0], np.cumsum(np.array(counts, dtype=np.int64))]).astype(np.int64)

    @property
    def documents(self) -> int:
        return int(self.starts[-1])

    @property
    def n_against(self) -> int:
        return int(self.starts[self.n_against_shards])

    def shard_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Shard of each document number."""
        found: NDArray[np.int64] = np.searchsorted(self.starts, ids, side="right") - 1
        return found

    def by_shard(self, ids: NDArray[np.int64]) -> Iterator[tuple[int, slice, NDArray[np.int64]]]:
        """For ascending ``ids``: each shard that has some, their place in ``ids``, and their indices."""
        bounds = np.searchsorted(ids, self.starts)
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            place = slice(int(bounds[shard]), int(bounds[shard + 1]))
            yield shard, place, ids[place] - self.starts[shard]

    def read_documents(self, shard: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """The documents of a shard in pieces, each with the number of its first in the corpus."""
        file = NpyFile.open(self.paths.documents(shard))
        for start in range(0, len(file), 1 << 16):
            yield int(self.starts[shard]) + start, file.read(start, min(start + (1 << 16), len(file)))

    def read_keys(self, shard: int, plane: int, band: int, bands: Bands, wide: bool) -> NDArray[np.uint64]:
        """One plane of the keys of one band for all documents of a shard: uint64 [documents]."""
        n = int(self.starts[shard + 1] - self.starts[shard])
        file = NpyFile.open(self.paths.keys(shard))
        planes = 2 if wide else 1
        out = np.empty(n, dtype=np.uint64)
        for start in range(0, n, KEY_CHUNK):
            size = min(KEY_CHUNK, n - start)
            at = start * planes * bands.bands + (plane * bands.bands + band) * size
            out[start : start + size] = file.read_items(at, at + size)
        return out

    def gather(self, ids: NDArray[np.int64], field: str) -> NDArray[Any]:
        """The values of one field of the documents ``ids`` (ascending)."""
        out = np.empty(len(ids), dtype=DOCUMENT[field])
        for shard, place, local in self.by_shard(ids):
            for first, piece in self.read_documents(shard):
                start = first - int(self.starts[shard])
                inside = slice(*np.searchsorted(local, [start, start + len(piece)]).tolist())
                out[place.start + inside.start : place.start + inside.stop] = piece[field][
                    local[inside] - start
                ]
        return out
