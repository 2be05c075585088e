"""The sets of shingles of candidate documents, on the disk, and reading some of them."""

import os
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pile_tools.algorithms.jaccard import intersection_sizes
from pile_tools.algorithms.shingle import shingle_sets
from pile_tools.errors import DataError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.corpus import Shard
from pile_tools.formats.npy import NpyFile, NpyWriter
from pile_tools.stages.dedup_files import EDGE, CorpusFiles
from pile_tools.stages.dedup_job import DedupJob
from pile_tools.stages.dedup_sign import open_reader

__all__ = ["SET_KINDS", "SetStore", "verify_pairs", "write_sets"]

SET_KINDS = ("documents", "offsets", "values")


def write_sets(shard: Shard, job: DedupJob, files: CorpusFiles, index: int) -> None:
    """Read the candidates of ``shard`` again and write their sets of shingles.

    ``documents``: their numbers in the shard; ``offsets``: where each set begins in ``values``.
    """
    start, stop = int(files.starts[index]), int(files.starts[index + 1])
    if job.save_signatures and index >= files.n_against_shards:
        chosen = np.arange(stop - start)
    else:
        chosen = np.flatnonzero(NpyFile.open(files.paths.candidates).read(start, stop))
    rows = files.gather(start + chosen, "row")
    wanted = np.zeros(int(rows[-1]) + 1 if len(rows) else 0, dtype=np.bool_)
    wanted[rows] = True
    found = 0
    with ExitStack() as stack:
        documents, offsets, values = (
            stack.enter_context(
                NpyWriter(stack.enter_context(atomic_write(files.paths.sets(kind, index))), dtype)
            )
            for kind, dtype in zip(SET_KINDS, (np.int64, np.int64, np.uint64), strict=True)
        )
        documents.append(chosen)
        offsets.append(np.zeros(1, dtype=np.int64))
        for batch in open_reader(shard, job, wanted) if len(chosen) else ():
            if not np.array_equal(batch.rows, rows[found : found + len(batch)]):
                break
            found += len(batch)
            sets, ends = shingle_sets(batch.text, batch.offsets, job.ngram, job.normalize)
            offsets.append(ends[1:] + values.rows)
            values.append(sets)
        if found != len(chosen):
            raise DataError(f"{shard.path}: changed during the run; run again in a new directory")


@dataclass(frozen=True, slots=True)
class SetStore:
    """Reads sets by document number. What it returns is all that it holds."""

    files: CorpusFiles

    def _offsets(self, shard: int, local: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the sets of documents ``local`` begin and end among the values of a shard: [n, 2]."""
        documents = NpyFile.open(self.files.paths.sets("documents", shard)).read()
        place = np.searchsorted(documents, local)
        offsets = NpyFile.open(self.files.paths.sets("offsets", shard)).read()
        return np.stack([offsets[place], offsets[place + 1]], axis=1)

    def sizes(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of shingles of each of the candidates ``ids``, which ascend."""
        out = np.empty(len(ids), dtype=np.int64)
        for shard, place, local in self.files.by_shard(ids):
            out[place] = np.diff(self._offsets(shard, local), axis=1)[:, 0]
        return out

    def load(self, ids: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The sets of the candidates ``ids`` (ascending) end to end, ``sizes`` long each."""
        ends = np.cumsum(sizes)
        values = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.uint64)
        view = values.data.cast("B")
        for shard, place, local in self.files.by_shard(ids):
            spans = self._offsets(shard, local)
            file = NpyFile.open(self.files.paths.sets("values", shard))
            at = 8 * int(ends[place.start] - sizes[place.start])
            descriptor = os.open(file.path, os.O_RDONLY)
            try:
                for start, end in (file.start + 8 * spans).tolist():
                    # A read of a regular file may be cut short, by a signal or at 2 GiB.
                    while start < end:
                        read = os.preadv(descriptor, [view[at : at + end - start]], start)
                        if read == 0:
                            raise DataError(
                                f"{file.path}: ends before byte {end}; run again in a new directory"
                            )
                        at += read
                        start += read
            finally:
                os.close(descriptor)
        return values


def verify_pairs(
    store: SetStore, pairs: NDArray[np.int64], threshold: float, budget: int
) -> NDArray[np.void]:
    """Return those of ``pairs`` (int64 [n, 2], lower first) that reach ``threshold``, as ``EDGE`` records.

    Pairs are taken in as many pieces as it takes for the sets of one to fit in ``budget`` bytes.
    """
    if not len(pairs):
        return np.empty(0, dtype=EDGE)
    ids, where = np.unique(pairs, return_inverse=True)
    sizes = store.sizes(ids)
    if len(pairs) > 1 and 8 * int(sizes.sum()) > budget:
        half = len(pairs) // 2
        return np.concatenate(
            [verify_pairs(store, part, threshold, budget) for part in (pairs[:half], pairs[half:])]
        )
    where = where.reshape(-1, 2)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    a, b = np.ascontiguousarray(where[:, 0]), np.ascontiguousarray(where[:, 1])
    common = intersection_sizes(store.load(ids, sizes), offsets, a, b, threshold)
    good = np.flatnonzero(common >= 0)
    edges = np.empty(len(good), dtype=EDGE)
    edges["a"], edges["b"] = pairs[good, 0], pairs[good, 1]
    edges["common"] = common[good]
    edges["union"] = sizes[a[good]] + sizes[b[good]] - common[good]
    return edges
