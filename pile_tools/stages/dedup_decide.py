"""From pairs of similar documents to the documents that are removed, each with its partner."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pile_tools.algorithms.components import component_roots, unite
from pile_tools.algorithms.partners import update_best
from pile_tools.errors import PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.npy import NpyFile, NpyWriter, write_npy
from pile_tools.stages.dedup_files import CorpusFiles
from pile_tools.stages.dedup_group import read_pairs
from pile_tools.stages.dedup_job import DedupJob, Keep

__all__ = ["DECISION", "Linked", "decide", "decide_last_stays", "link_documents", "partner_pairs"]

DECISION = np.dtype(
    [("document", "<i8"), ("partner", "<i8"), ("common", "<i8"), ("union", "<i8"), ("component", "<i8")]
)
"""One removed document; ``union`` is 0 where nothing was verified."""


_PLACES_AT_ONCE = 1 << 20


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

    def removed(self, n_against: int) -> Iterator[NDArray[np.int64]]:
        """Places of the removed documents, ascending, in pieces."""
        for start in range(0, len(self.ids), _PLACES_AT_ONCE):
            places = np.arange(start, min(start + _PLACES_AT_ONCE, len(self.ids)))
            piece = slice(start, start + len(places))
            yield places[
                (self.component[piece] >= 0) & (places != self.kept[piece]) & (self.ids[piece] >= n_against)
            ]


def _same_pairs(files: CorpusFiles, parts: int) -> Iterator[NDArray[np.int64]]:
    for part in range(parts):
        yield from read_pairs(NpyFile.open(files.paths.same(part, parts)))


def _edges(paths: list[Path]) -> Iterator[NDArray[Any]]:
    for path in paths:
        file = NpyFile.open(path)
        for start in range(0, len(file), _PLACES_AT_ONCE):
            yield file.read(start, min(start + _PLACES_AT_ONCE, len(file)))


def _edge_pairs(paths: list[Path]) -> Iterator[NDArray[np.int64]]:
    for rows in _edges(paths):
        yield np.stack([rows["a"], rows["b"]], axis=1) if rows.dtype.names else rows


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
    for start in range(0, len(ids), _PLACES_AT_ONCE):
        part = slice(start, start + _PLACES_AT_ONCE)
        # A root comes before the rest of its component, and names itself: it may be written over by itself.
        numbers[part] = numbers[roots[part]]
    return Linked(ids, first_same, kept, numbers)


def partner_pairs(files: CorpusFiles, linked: Linked) -> None:
    """Write the pairs of a kept and a removed document that the decision asks about: (lower, higher).

    Of the documents with the same words, the first stands for all.
    """
    asked = np.zeros(len(linked.ids), dtype=np.bool_)
    for removed in linked.removed(files.n_against):
        asked[linked.first_same[removed]] = True
    with (
        atomic_write(files.paths.partner_pairs) as file,
        NpyWriter(file, np.int64, (2,)) as writer,
    ):
        for start in range(0, len(asked), _PLACES_AT_ONCE):
            places = start + np.flatnonzero(asked[start : start + _PLACES_AT_ONCE])
            one, two = linked.ids[places], linked.ids[linked.first_same[linked.kept[places]]]
            pairs = np.stack([np.minimum(one, two), np.maximum(one, two)], axis=1)
            writer.append(pairs[one != two])


@dataclass(frozen=True, slots=True)
class _Partners:
    """For each linked document: the place of its partner, −1 without one, and the similarity to it.

    int64 [n]. ``with_kept``: bool [n], whether the partner is the first with the kept document's words.
    """

    place: NDArray[np.int64]
    common: NDArray[np.int64]
    union: NDArray[np.int64]
    with_kept: NDArray[np.bool_]


def _find_partners(linked: Linked, edge_files: list[Path], partner_files: list[Path]) -> _Partners:
    n = len(linked.ids)
    found = _Partners(np.full(n, -1), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.bool_))
    for edges in _edges(edge_files):
        a, b = np.searchsorted(linked.ids, edges["a"]), np.searchsorted(linked.ids, edges["b"])
        update_best(a, b, edges["common"], edges["union"], found.place, found.common, found.union)
    for edges in _edges(partner_files):
        a, b = np.searchsorted(linked.ids, edges["a"]), np.searchsorted(linked.ids, edges["b"])
        for one, two in ((a, b), (b, a)):
            right = linked.first_same[linked.kept[one]] == two
            place = one[right]
            found.place[place] = two[right]
            found.common[place], found.union[place] = edges["common"][right], edges["union"][right]
            found.with_kept[place] = True
    return found


def decide(
    files: CorpusFiles, job: DedupJob, linked: Linked, edge_files: list[Path], partner_files: list[Path]
) -> None:
    """Write a ``DECISION`` for each removed document, in corpus order.

    The partner is the kept document where the two reach the threshold, else a document with the same
    words, else the most similar document that a verified pair ties it to.
    """
    known = job.method == "text" or job.verify == "exact"
    found = _find_partners(linked, edge_files, partner_files) if known else None
    with atomic_write(files.paths.decision) as file, NpyWriter(file, DECISION) as writer:
        for removed in linked.removed(files.n_against):
            rows = np.zeros(len(removed), dtype=DECISION)
            rows["document"] = linked.ids[removed]
            rows["component"] = linked.component[removed]
            rows["partner"] = linked.ids[linked.kept[removed]]
            if found is not None:
                _name_partners(linked, found, removed, rows)
            writer.append(rows)


def _name_partners(
    linked: Linked, found: _Partners, removed: NDArray[np.int64], rows: NDArray[np.void]
) -> None:
    """Complete the decisions on documents at places ``removed``."""
    group, partner = linked.first_same[removed], linked.kept[removed]
    with_kept = found.with_kept[group]
    same_as_kept = group == linked.first_same[partner]
    # The first document with its words is another document, unless it is itself the first.
    same = ~with_kept & ~same_as_kept & (group != removed)
    tied = ~with_kept & ~same_as_kept & (group == removed)
    partner[same] = group[same]
    partner[tied] = found.place[removed[tied]]
    if (partner < 0).any():
        raise PileToolsError("a removed document has no partner; this is a defect of pile-tools")
    rows["partner"] = linked.ids[partner]
    measured = with_kept | tied
    rows["common"] = np.where(measured, found.common[group], 1)
    rows["union"] = np.where(measured, found.union[group], 1)


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
