"""Find the documents that may be duplicates: the same words, or a band in common.

Every task sorts one range of keys, read from the files of all shards; the ranges are as many as it
takes for one to fit in memory, and what is found does not depend on how many they are.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pile_tools.algorithms.dedup.lsh import buckets
from pile_tools.algorithms.dedup.pairs import ALL_PAIRS, order_large_buckets, star_pairs
from pile_tools.formats.npy import NpyFile, write_npy
from pile_tools.stages.dedup.job import DedupJob
from pile_tools.stages.dedup.work_files import CorpusFiles

__all__ = [
    "BAND_BYTES",
    "SAME_BYTES",
    "group_band",
    "group_same",
    "mark_candidates",
    "mark_passed_over",
    "read_pairs",
]

SAME_BYTES = 96
"""Memory of ``group_same`` for each document of its range."""

BAND_BYTES = 80
"""Memory of ``group_band`` for each document of its range."""


def _in_part(keys: NDArray[np.uint64], part: int, parts: int) -> NDArray[np.bool_]:
    # The top 32 bits times the number of parts, over 2³²: equal ranges, without a remainder.
    chosen: NDArray[np.bool_] = ((keys >> np.uint64(32)) * np.uint64(parts)) >> np.uint64(32) == part
    return chosen


def group_same(files: CorpusFiles, part: int, parts: int) -> None:
    """Write (first, other) for each document that has the words of an earlier one: int64 [n, 2], by other.

    Documents without words are like no other.
    """
    found: list[tuple[NDArray[np.int64], NDArray[np.uint64]]] = []
    for shard in range(files.n_shards):
        for first, piece in files.read_documents(shard):
            chosen = np.flatnonzero(_in_part(piece["hash"][:, 0], part, parts) & (piece["words"] > 0))
            found.append((first + chosen, piece["hash"][chosen]))
    ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in found)])
    hashes = np.concatenate([np.empty((0, 2), np.uint64), *(hashes for _, hashes in found)])
    del found
    members, offsets = buckets(np.ascontiguousarray(hashes[:, 0]), np.ascontiguousarray(hashes[:, 1]))
    write_npy(files.paths.same(part, parts), star_pairs(ids[members], offsets))


def mark_passed_over(files: CorpusFiles, parts: int) -> None:
    """Write which documents take no part in bands: without words, or with those of an earlier one.

    ``parts`` files of ``group_same`` tell the latter.
    """
    passed = np.zeros(files.documents, dtype=np.bool_)
    for shard in range(files.n_shards):
        for first, piece in files.read_documents(shard):
            passed[first : first + len(piece)] = piece["words"] == 0
    for part in range(parts):
        for pairs in read_pairs(NpyFile.open(files.paths.same(part, parts))):
            passed[pairs[:, 1]] = True
    write_npy(files.paths.passed_over, passed)


def _read_band(
    files: CorpusFiles, job: DedupJob, band: int, part: int, parts: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64] | None]:
    """Documents whose key of ``band`` is in the range, their keys, and the other half of wide keys."""
    passed = NpyFile.open(files.paths.passed_over)
    found: list[tuple[NDArray[np.int64], NDArray[np.uint64]]] = []
    seconds: list[NDArray[np.uint64]] = []
    for shard in range(files.n_shards):
        start, stop = int(files.starts[shard]), int(files.starts[shard + 1])
        keys = files.read_keys(shard, 0, band, job.bands, job.wide_keys)
        chosen = np.flatnonzero(_in_part(keys, part, parts) & ~passed.read(start, stop))
        found.append((start + chosen, keys[chosen]))
        if job.wide_keys:
            seconds.append(files.read_keys(shard, 1, band, job.bands, True)[chosen])
    ids, keys = (np.concatenate([pair[k] for pair in found]) for k in (0, 1))
    return ids, keys, np.concatenate(seconds) if job.wide_keys else None


def _order_by_next_band(
    files: CorpusFiles, job: DedupJob, band: int, members: NDArray[np.int64], offsets: NDArray[np.int64]
) -> None:
    """Order the members of large buckets by their keys of the next band."""
    sizes = np.diff(offsets)
    inside = np.flatnonzero(np.repeat(sizes > ALL_PAIRS, sizes))
    ids = np.unique(members[inside])
    keys = np.empty(len(ids), dtype=np.uint64)
    for shard, place, local in files.by_shard(ids):
        keys[place] = files.read_keys(shard, 0, (band + 1) % job.bands.bands, job.bands, False)[local]
    all_keys = np.zeros(len(members), dtype=np.uint64)
    all_keys[inside] = keys[np.searchsorted(ids, members[inside])]
    order_large_buckets(members, offsets, all_keys)


def group_band(files: CorpusFiles, job: DedupJob, band: int, part: int, parts: int) -> None:
    """Write the buckets of one band whose keys are in one range.

    ``star``: (first, other) of each bucket, by other. Where pairs are verified also ``members`` and
    ``offsets`` of the buckets of three and more, in the order in which pairs are made of them.
    """
    ids, keys, seconds = _read_band(files, job, band, part, parts)
    members, offsets = buckets(keys, seconds)
    paths = files.paths
    write_npy(paths.band("star", band, part, parts), star_pairs(ids[members], offsets))
    if job.verify == "none":
        return
    sizes = np.diff(offsets)
    documents = ids[members[np.repeat(sizes > 2, sizes)]]
    offsets = np.concatenate([[0], np.cumsum(sizes[sizes > 2])]).astype(np.int64)
    _order_by_next_band(files, job, band, documents, offsets)
    write_npy(paths.band("members", band, part, parts), documents)
    write_npy(paths.band("offsets", band, part, parts), offsets)


def read_pairs(file: NpyFile, rows: int = 1 << 20) -> Iterator[NDArray[np.int64]]:
    """The rows of a file of pairs, in pieces."""
    for start in range(0, len(file), rows):
        yield file.read(start, min(start + rows, len(file)))


def mark_candidates(files: CorpusFiles, bands: int, parts: int) -> None:
    """Write which documents are in a bucket of any band: bool [documents]."""
    candidates = np.zeros(files.documents, dtype=np.bool_)
    for band in range(bands):
        for part in range(parts):
            for pairs in read_pairs(NpyFile.open(files.paths.band("star", band, part, parts))):
                candidates[pairs.ravel()] = True
    write_npy(files.paths.candidates, candidates)
