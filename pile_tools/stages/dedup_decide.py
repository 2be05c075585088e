"""From pairs of similar documents to the documents that are removed, each with its partner."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pile_tools.algorithms.components import component_roots, unite
from pile_tools.algorithms.partners import update_best
from pile_tools.errors import PileToolsError
from pile_tools.formats.npy import NpyFile, write_npy
from pile_tools.stages.dedup_files import CorpusFiles
from pile_tools.stages.dedup_group import read_pairs
from pile_tools.stages.dedup_job import DedupJob, Keep

__all__ = ["DECISION", "Linked", "decide", "decide_last_stays", "link_documents", "partner_pairs"]

DECISION = np.dtype(
    [("document", "<i8"), ("partner", "<i8"), ("common", "<i8"), ("union", "<i8"), ("component", "<i8")]
)
"""One removed document; ``union`` is 0 where nothing was verified."""


@dataclass(frozen=True, slots=True)
class Linked:
    """The documents that are linked to another, in ascending order, and what they are linked to.

    All int64 [n]. ``first_same``: place of the first document with the same words. ``kept``: place of the
    document that stays for its component. ``component``: its number, −1 where nothing of it is removed.
    """

    ids: NDArray[np.int64]
    first_same: NDArray[np.int64]
    kept: NDArray[np.int64]
    component: NDArray[np.int64]

    def removed(self, n_against: int) -> NDArray[np.int64]:
        """Places of the removed documents."""
        places = np.arange(len(self.ids))
        found: NDArray[np.int64] = np.flatnonzero(
            (self.component >= 0) & (places != self.kept) & (self.ids >= n_against)
        )
        return found


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


def _choose_kept(
    files: CorpusFiles, keep: Keep, ids: NDArray[np.int64], roots: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Place of the document that stays, for each place. ``roots``: place of the component's first."""
    places = np.arange(len(ids), dtype=np.int64)
    if keep == "first":
        return roots
    rank = np.zeros(len(ids), np.int64) if keep == "last" else -files.gather(ids, "bytes")
    # What stays of a corpus that this one is compared against goes before all.
    against = ids >= files.n_against
    order = np.lexsort((-places if keep == "last" else places, rank, against, roots))
    heads = order[np.flatnonzero(np.diff(roots[order], prepend=-1))]
    kept = np.empty(len(ids), dtype=np.int64)
    kept[roots[heads]] = np.where(ids[heads] < files.n_against, roots[heads], heads)
    return kept[roots]


def link_documents(files: CorpusFiles, keep: Keep, same_parts: int, edge_files: list[Path]) -> Linked:
    """Tie the documents together that have the same words or an edge in ``edge_files``."""
    linked = np.zeros(files.documents, dtype=np.bool_)
    for piece in chain(_same_pairs(files, same_parts), _edge_pairs(edge_files)):
        linked[piece.ravel()] = True
    ids = np.flatnonzero(linked)
    del linked
    parent = np.arange(len(ids), dtype=np.int64)
    first_same = parent.copy()
    for piece in _same_pairs(files, same_parts):
        first, other = np.searchsorted(ids, piece[:, 0]), np.searchsorted(ids, piece[:, 1])
        first_same[other] = first
        unite(parent, first, other)
    for piece in _edge_pairs(edge_files):
        unite(parent, np.searchsorted(ids, piece[:, 0]), np.searchsorted(ids, piece[:, 1]))
    roots = component_roots(parent)
    kept = _choose_kept(files, keep, ids, roots)
    # A component of documents that all belong to the other corpus removes nothing.
    own = np.zeros(len(ids), dtype=np.bool_)
    own[roots[ids >= files.n_against]] = True
    numbers = np.full(len(ids), -1, dtype=np.int64)
    heads = np.flatnonzero((roots == np.arange(len(ids))) & own)
    numbers[heads] = np.arange(len(heads))
    return Linked(ids, first_same, kept, numbers[roots])


def partner_pairs(files: CorpusFiles, linked: Linked) -> None:
    """Write the pairs of a kept and a removed document that the decision asks about: (lower, higher)."""
    removed = linked.removed(files.n_against)
    one = linked.ids[linked.first_same[removed]]
    two = linked.ids[linked.first_same[linked.kept[removed]]]
    pairs = np.stack([np.minimum(one, two), np.maximum(one, two)], axis=1)[one != two]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    new = np.ones(len(pairs), dtype=np.bool_)
    new[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    write_npy(files.paths.partner_pairs, pairs[new])


def _kept_similarity(
    files: CorpusFiles, linked: Linked, partner_files: list[Path]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Shingles in common with the kept document, and in the union: 0 below the threshold."""
    common = np.zeros(len(linked.ids), dtype=np.int64)
    union = np.zeros(len(linked.ids), dtype=np.int64)
    keepers = linked.ids[linked.first_same[linked.kept]]
    for path in partner_files:
        edges = NpyFile.open(path).read()
        for one, two in (("a", "b"), ("b", "a")):
            place = np.searchsorted(linked.ids, edges[one])
            right = keepers[place] == edges[two]
            common[place[right]] = edges["common"][right]
            union[place[right]] = edges["union"][right]
    return common, union


def decide(
    files: CorpusFiles, job: DedupJob, linked: Linked, edge_files: list[Path], partner_files: list[Path]
) -> None:
    """Write a ``DECISION`` for each removed document, in corpus order.

    The partner is the kept document where the two reach the threshold, else a document with the same
    words, else the most similar document that a verified pair ties it to.
    """
    removed = linked.removed(files.n_against)
    rows = np.zeros(len(removed), dtype=DECISION)
    rows["document"] = linked.ids[removed]
    rows["component"] = linked.component[removed]
    kept, group = linked.kept[removed], linked.first_same[removed]
    rows["partner"] = linked.ids[kept]
    if job.method == "text" or job.verify == "exact":
        n = len(linked.ids)
        best, best_common, best_union = np.full(n, -1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
        for path in edge_files:
            edges = NpyFile.open(path).read()
            a, b = np.searchsorted(linked.ids, edges["a"]), np.searchsorted(linked.ids, edges["b"])
            update_best(a, b, edges["common"], edges["union"], best, best_common, best_union)
        common, union = _kept_similarity(files, linked, partner_files)
        partner = linked.kept[removed]
        with_kept = union[group] > 0
        same_as_kept = group == linked.first_same[kept]
        # The first document with its words is another document, unless it is itself the first.
        same = ~with_kept & ~same_as_kept & (group != removed)
        tied = ~with_kept & ~same_as_kept & (group == removed)
        partner[same] = group[same]
        partner[tied] = best[removed[tied]]
        if (partner < 0).any():
            raise PileToolsError("a removed document has no partner; this is a defect of pile-tools")
        rows["partner"] = linked.ids[partner]
        rows["common"] = np.where(with_kept, common[group], np.where(tied, best_common[removed], 1))
        rows["union"] = np.where(with_kept, union[group], np.where(tied, best_union[removed], 1))
    write_npy(files.paths.decision, rows)


def decide_last_stays(files: CorpusFiles, linked: Linked, star_files: list[Path]) -> None:
    """Write the ``DECISION`` of the Pile's scripts: in order, what matches another still present goes.

    When a document's turn comes, all later ones are present, and an earlier one that is would have been
    removed for matching it. So what goes is every document but the last of some bucket; its partner is
    the last document of all that it shares a bucket with.
    """
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
