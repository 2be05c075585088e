"""From pairs of similar documents to the documents that are removed, each with its partner."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pile_tools.algorithms.components import component_roots, representatives, unite
from pile_tools.algorithms.partners import update_best
from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.npy import NpyFile, NpyWriter, write_npy
from pile_tools.stages.dedup_files import CorpusFiles
from pile_tools.stages.dedup_group import read_pairs
from pile_tools.stages.dedup_job import DedupJob, Keep

__all__ = [
    "DECISION",
    "LINKED_BYTES",
    "LINKED_KINDS",
    "Linked",
    "decide",
    "decide_last_stays",
    "link_documents",
    "nearest_pairs",
    "partner_pairs",
]

DECISION = np.dtype(
    [("document", "<i8"), ("partner", "<i8"), ("common", "<i8"), ("union", "<i8"), ("component", "<i8")]
)
"""One removed document; ``union`` is 0 where nothing was verified."""


LINKED_KINDS = ("ids", "first_same", "other_same", "kept", "component")

LINKED_BYTES = 64
"""Memory that the decision takes for each document that is linked to another."""

_AT_ONCE = 1 << 18

SMALL_COMPONENT = 64
"""Documents of a component in which each is compared with all, where that is needed to name its partner."""

Places = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Linked:
    """The documents that are linked to another, ``ids``: int64 [n], ascending; "places" are indices into it.

    All int32 [n]. ``first_same``: place of the first document with the same words. ``other_same``: place of
    the first other one, −1 for none. ``kept``: place of the document that stays for its component.
    ``component``: its number, −1 where nothing of it is removed.
    """

    ids: NDArray[np.int64]
    first_same: Places
    other_same: Places
    kept: Places
    component: Places

    def write(self, files: CorpusFiles) -> None:
        for kind in LINKED_KINDS:
            write_npy(files.paths.linked(kind), getattr(self, kind))

    @classmethod
    def read(cls, files: CorpusFiles) -> Self:
        return cls(*(NpyFile.open(files.paths.linked(kind)).read() for kind in LINKED_KINDS))

    def places(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where linked documents are in ``ids``."""
        found: NDArray[np.int64] = np.searchsorted(self.ids, ids)
        return found

    def pieces(self, size: int = _AT_ONCE) -> Iterator[NDArray[np.int64]]:
        """All places, ``size`` at a time."""
        for start in range(0, len(self.ids), size):
            yield np.arange(start, min(start + size, len(self.ids)))

    def removed(self, places: NDArray[np.int64], n_against: int) -> NDArray[np.int64]:
        """Those of ``places`` whose documents are removed."""
        gone = (self.component[places] >= 0) & (self.kept[places] != places)
        removed: NDArray[np.int64] = places[gone & (self.ids[places] >= n_against)]
        return removed


def _same_pairs(files: CorpusFiles, parts: int) -> Iterator[NDArray[np.int64]]:
    for part in range(parts):
        yield from read_pairs(NpyFile.open(files.paths.same(part, parts)))


def _edge_pairs(paths: list[Path]) -> Iterator[NDArray[np.int64]]:
    for path in paths:
        file = NpyFile.open(path)
        for start in range(0, len(file), 1 << 20):
            rows = file.read(start, min(start + (1 << 20), len(file)))
            if rows.dtype.names:
                rows = np.stack([rows["a"], rows["b"]], axis=1)
            yield rows


def link_documents(
    files: CorpusFiles, keep: Keep, same_parts: int, edge_files: list[Path], memory: int
) -> None:
    """Tie the documents together that have the same words or an edge in ``edge_files``: write ``Linked``.

    Raises ParameterError where they are more than ``memory`` bytes can decide about.
    """
    linked = np.zeros(files.documents, dtype=np.bool_)
    for piece in chain(_same_pairs(files, same_parts), _edge_pairs(edge_files)):
        linked[piece.ravel()] = True
    ids = np.flatnonzero(linked)
    del linked
    if len(ids) >= 1 << 31:
        raise PileToolsError(f"{len(ids)} documents that are linked to another: at most {(1 << 31) - 1}")
    if len(ids) * LINKED_BYTES > memory:
        raise ParameterError(
            f"memory of {memory} bytes: {len(ids)} documents are linked to another, which takes "
            f"{len(ids) * LINKED_BYTES} bytes to decide; give more with `--memory` to go on"
        )
    parent = np.arange(len(ids), dtype=np.int32)
    first_same, other_same = parent.copy(), np.full(len(ids), -1, dtype=np.int32)
    for piece in _same_pairs(files, same_parts):
        first, other = np.searchsorted(ids, piece[:, 0]), np.searchsorted(ids, piece[:, 1])
        first_same[other] = other_same[other] = first
        # Others ascend, and the last value that is put at an index stays: the lowest.
        new = np.flatnonzero(other_same[first] < 0)[::-1]
        other_same[first[new]] = other[new]
        unite(parent, first, other)
    for piece in _edge_pairs(edge_files):
        unite(parent, np.searchsorted(ids, piece[:, 0]), np.searchsorted(ids, piece[:, 1]))
    roots = component_roots(parent)
    fixed = int(np.searchsorted(ids, files.n_against))
    weights = files.gather(ids, "bytes") if keep == "longest" else None
    kept = representatives(roots, fixed=fixed, take_last=keep == "last", weights=weights)
    # A component of documents that all belong to the other corpus removes nothing.
    own = np.zeros(len(ids), dtype=np.bool_)
    own[roots[fixed:]] = True
    heads = np.flatnonzero(own)
    numbers = np.full(len(ids), -1, dtype=np.int32)
    numbers[heads] = np.arange(len(heads))
    Linked(ids, first_same, other_same, kept, numbers[roots]).write(files)


def partner_pairs(files: CorpusFiles) -> None:
    """Write the pairs of documents that the decision asks about: int64 [n, 2], (lower, higher).

    One of a pair is the first with its words, the other the first with the words of what stays for it.
    """
    linked = Linked.read(files)
    with atomic_write(files.paths.asked("partner")) as file, NpyWriter(file, np.int64, (2,)) as writer:
        for places in linked.pieces():
            keepers = linked.first_same[linked.kept[places]]
            asked = (linked.first_same[places] == places) & (keepers != places)
            asked &= linked.component[places] >= 0
            one, two = linked.ids[places[asked]], linked.ids[keepers[asked]]
            writer.append(np.stack([np.minimum(one, two), np.maximum(one, two)], axis=1))


def nearest_pairs(files: CorpusFiles, partner_files: list[Path]) -> None:
    """Write the pairs by which the most similar document is found: int64 [n, 2], (lower, higher).

    Each removed document of a small component, unless its partner is the kept one or has its words, with
    every document of the component that is the first with its words.
    """
    linked = Linked.read(files)
    similar = _Similar.read(linked, [], partner_files)
    firsts = np.flatnonzero((linked.component >= 0) & (linked.first_same == np.arange(len(linked.ids))))
    firsts = firsts[np.argsort(linked.component[firsts], kind="stable")]
    bounds = np.searchsorted(linked.component[firsts], np.arange(linked.component.max(initial=-1) + 2))
    sizes = np.bincount(linked.component[linked.component >= 0], minlength=len(bounds) - 1)
    with (
        atomic_write(files.paths.asked("nearest")) as file,
        NpyWriter(file, np.int64, (2,)) as writer,
    ):
        for places in linked.pieces(_AT_ONCE // SMALL_COMPONENT):
            tied = similar.tied(linked, linked.removed(places, files.n_against))
            tied = tied[sizes[linked.component[tied]] <= SMALL_COMPONENT]
            starts, counts = bounds[linked.component[tied]], np.diff(bounds)[linked.component[tied]]
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            one = linked.ids[np.repeat(tied, counts)]
            two = linked.ids[firsts[np.repeat(starts, counts) + within]]
            pairs = np.stack([np.minimum(one, two), np.maximum(one, two)], axis=1)
            writer.append(pairs[one != two])


@dataclass(frozen=True, slots=True)
class _Similar:
    """For each place (of a document that is the first with its words) the best partners known.

    ``kept_common`` of ``kept_union`` shingles are shared with what stays, 0 where that is below the
    threshold; ``best`` is the most similar neighbour.
    """

    kept_common: Places
    kept_union: Places
    best: Places
    best_common: Places
    best_union: Places

    @classmethod
    def read(cls, linked: Linked, edge_files: list[Path], partner_files: list[Path]) -> Self:
        n = len(linked.ids)
        zeros = [np.zeros(n, dtype=np.int32) for _ in range(4)]
        found = cls(zeros[0], zeros[1], np.full(n, -1, dtype=np.int32), zeros[2], zeros[3])
        for path in edge_files:
            edges = NpyFile.open(path).read()
            a, b = linked.places(edges["a"]), linked.places(edges["b"])
            update_best(
                a, b, edges["common"], edges["union"], found.best, found.best_common, found.best_union
            )
        for path in partner_files:
            edges = NpyFile.open(path).read()
            a, b = linked.places(edges["a"]), linked.places(edges["b"])
            for one, two in ((a, b), (b, a)):
                right = linked.first_same[linked.kept[one]] == two
                found.kept_common[one[right]] = edges["common"][right]
                found.kept_union[one[right]] = edges["union"][right]
        return found

    def tied(self, linked: Linked, removed: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of ``removed`` whose partner neither stays nor has the same words."""
        with_kept = self.kept_union[linked.first_same[removed]] > 0
        same_as_kept = linked.first_same[removed] == linked.first_same[linked.kept[removed]]
        tied: NDArray[np.int64] = removed[~with_kept & ~same_as_kept & (linked.other_same[removed] < 0)]
        return tied


def _decisions(linked: Linked, removed: NDArray[np.int64], similar: _Similar | None) -> NDArray[np.void]:
    """The decisions about the documents at places ``removed``."""
    rows = np.zeros(len(removed), dtype=DECISION)
    rows["document"] = linked.ids[removed]
    rows["component"] = linked.component[removed]
    kept, group = linked.kept[removed], linked.first_same[removed]
    rows["partner"] = linked.ids[kept]
    if similar is None:
        return rows
    with_kept = similar.kept_union[group] > 0
    same_as_kept = group == linked.first_same[kept]
    same = ~with_kept & ~same_as_kept & (linked.other_same[removed] >= 0)
    tied = np.isin(removed, similar.tied(linked, removed), assume_unique=True)
    partner = kept.copy()
    partner[same] = linked.other_same[removed[same]]
    partner[tied] = similar.best[removed[tied]]
    if (partner < 0).any():
        raise PileToolsError("a removed document has no partner; this is a defect of pile-tools")
    rows["partner"] = linked.ids[partner]
    for field, of_kept, of_best in (
        ("common", similar.kept_common, similar.best_common),
        ("union", similar.kept_union, similar.best_union),
    ):
        rows[field] = np.where(with_kept, of_kept[group], np.where(tied, of_best[removed], 1))
    return rows


def decide(files: CorpusFiles, job: DedupJob, edge_files: list[Path], partner_files: list[Path]) -> None:
    """Write a ``DECISION`` for each removed document, in corpus order.

    The partner is the kept document where the two reach the threshold, else the first other document with
    the same words, else the most similar of the pairs in ``edge_files``.
    """
    linked = Linked.read(files)
    verified = job.method == "text" or job.verify == "exact"
    similar = _Similar.read(linked, edge_files, partner_files) if verified else None
    with atomic_write(files.paths.decision) as file, NpyWriter(file, DECISION) as writer:
        for places in linked.pieces():
            writer.append(_decisions(linked, linked.removed(places, files.n_against), similar))


def decide_last_stays(files: CorpusFiles, star_files: list[Path]) -> None:
    """Write the ``DECISION`` of the Pile's scripts: in order, what matches another still present goes.

    When a document's turn comes, all later ones are present, and an earlier one that is would have been
    removed for matching it. So what goes is every document but the last of some bucket; its partner is
    the last document of all that it shares a bucket with.
    """
    linked = Linked.read(files)
    partner = np.full(len(linked.ids), -1, dtype=np.int64)
    for path in star_files:
        pairs = np.searchsorted(linked.ids, NpyFile.open(path).read())
        firsts, bucket = np.unique(pairs[:, 0], return_inverse=True)
        last = firsts.copy()
        np.maximum.at(last, bucket, pairs[:, 1])
        partner[firsts] = np.maximum(partner[firsts], last)
        others = pairs[:, 1]
        gone = others != last[bucket]
        partner[others[gone]] = np.maximum(partner[others[gone]], last[bucket][gone])
    removed = np.flatnonzero(partner >= 0)
    rows = np.zeros(len(removed), dtype=DECISION)
    rows["document"] = linked.ids[removed]
    rows["partner"] = linked.ids[partner[removed]]
    rows["component"] = linked.component[removed]
    write_npy(files.paths.decision, rows)
