"""Verify candidate pairs by the exact similarity of their sets, in four rounds of tasks.

star      each member of a bucket with the bucket's first
cross     members of a bucket that the first round left in different components
partner   each removed document with the kept one, to name it where they are similar enough
nearest   the other removed documents with all of their component, where it is small
"""

from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pile_tools.algorithms.components import component_roots, unite
from pile_tools.algorithms.pairs import cross_pairs
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.npy import NpyFile, NpyWriter, write_npy
from pile_tools.stages.dedup_files import EDGE, CorpusFiles
from pile_tools.stages.dedup_job import DedupJob
from pile_tools.stages.dedup_sets import SetStore, verify_pairs

__all__ = ["label_components", "n_ranges", "verify_asked", "verify_cross", "verify_star"]

_MAX_RANGE = 1 << 16  # documents whose pairs with earlier ones make up one task, at most
_MIN_RANGE = 1 << 10
_SOME_RANGES = 8  # tasks enough to be shared, where there are as many of the smallest

PAIRS_AT_ONCE = 1 << 16


def n_ranges(count: int) -> int:
    """Into how many ranges ``count`` documents or pairs are cut."""
    return max(-(-count // _MAX_RANGE), min(_SOME_RANGES, -(-count // _MIN_RANGE)))


def _range(count: int, index: int) -> tuple[int, int]:
    """Range ``index`` of ``count`` documents or pairs."""
    ranges = n_ranges(count)
    return count * index // ranges, count * (index + 1) // ranges


def _pairs_of_range(files: CorpusFiles, bands: int, parts: int, low: int, high: int) -> NDArray[np.int64]:
    """All star pairs (first, other) with ``low`` ≤ other < ``high``, once each, by (other, first)."""
    found: list[NDArray[np.int64]] = []
    for band in range(bands):
        for part in range(parts):
            file = NpyFile.open(files.paths.band("star", band, part, parts))

            def other(row: int, file: NpyFile = file) -> int:
                return int(file.read(row, row + 1)[0, 1])

            start, stop = (bisect_left(range(len(file)), bound, key=other) for bound in (low, high))
            if start < stop:
                found.append(file.read(start, stop))
    if not found:
        return np.empty((0, 2), dtype=np.int64)
    pairs = np.concatenate(found)
    # One number for a pair: 16 bits of its other within the range, 47 of its first.
    codes = np.unique((pairs[:, 1] - low) << 47 | pairs[:, 0])
    return np.stack([codes & ((1 << 47) - 1), (codes >> 47) + low], axis=1)


def verify_star(files: CorpusFiles, job: DedupJob, parts: int, index: int, budget: int) -> None:
    """Verify the star pairs whose other is in range ``index`` of the documents."""
    pairs = _pairs_of_range(files, job.bands.bands, parts, *_range(files.documents, index))
    _write_edges(files, files.paths.edges("star", index, n_ranges(files.documents)), job, [pairs], budget)


def _write_edges(
    files: CorpusFiles, target: Path, job: DedupJob, pieces: Iterable[NDArray[np.int64]], budget: int
) -> None:
    store = SetStore(files)
    with atomic_write(target) as file, NpyWriter(file, EDGE) as writer:
        for pairs in pieces:
            for start in range(0, len(pairs), PAIRS_AT_ONCE):
                piece = pairs[start : start + PAIRS_AT_ONCE]
                writer.append(verify_pairs(store, piece, job.threshold_value, budget))


def label_components(files: CorpusFiles, parts: int) -> None:
    """Write the components that the first ``parts`` files of star edges make.

    int64 [n, 2], (document, the first of its component), by document.
    """
    edges = [NpyFile.open(files.paths.edges("star", index, parts)) for index in range(parts)]
    tied = np.zeros(files.documents, dtype=np.bool_)
    for file in edges:
        piece = file.read()
        tied[piece["a"]] = tied[piece["b"]] = True
    ids = np.flatnonzero(tied)
    del tied
    parent = np.arange(len(ids), dtype=np.int64)
    for file in edges:
        piece = file.read()
        unite(parent, np.searchsorted(ids, piece["a"]), np.searchsorted(ids, piece["b"]))
    write_npy(files.paths.labels, np.stack([ids, ids[component_roots(parent)]], axis=1))


def verify_cross(files: CorpusFiles, job: DedupJob, band: int, part: int, parts: int, budget: int) -> None:
    """Verify the cross pairs of the buckets of one band and range."""
    members = NpyFile.open(files.paths.band("members", band, part, parts)).read()
    offsets = NpyFile.open(files.paths.band("offsets", band, part, parts)).read()
    labels = NpyFile.open(files.paths.labels).read()
    place = np.searchsorted(labels[:, 0], members)
    place[place == len(labels)] = 0
    own = members.copy()
    if len(labels):
        known = labels[place, 0] == members
        own[known] = labels[place[known], 1]
    target = files.paths.edges("cross", band * parts + part, job.bands.bands * parts)
    _write_edges(files, target, job, cross_pairs(members, offsets, own), budget)


def verify_asked(files: CorpusFiles, job: DedupJob, round_: str, index: int, budget: int) -> None:
    """Verify one range of the pairs that the decision asks about in ``round_``."""
    file = NpyFile.open(files.paths.asked(round_))
    pairs = file.read(*_range(len(file), index))
    _write_edges(files, files.paths.edges(round_, index, n_ranges(len(file))), job, [pairs], budget)
