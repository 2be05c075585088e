"""Deduplication against an earlier one: by its saved signatures or by its texts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from pile_tools.storage.manifest import Manifest
from tests.reference import dedup as oracle
from tests.stages.dedup.conftest import Halves
from tests.stages.dedup.corpora import (
    in_order,
    kept_texts,
    removed_rows,
)


def kept_of(texts: list[str]) -> list[tuple[str, str]]:
    """What stays of ``write_corpus(texts)`` with the default settings."""
    documents = in_order(texts)
    gone = {i for c in oracle.components([t for _, _, t in documents], 0.87, 5) for i in c[1:]}
    return [(s, t) for i, (s, _, t) in enumerate(documents) if i not in gone]


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("keep", ["first", "longest"])
def test_against_another_corpus(saved: bool, keep: Any, halves: Halves, tmp_path: Path) -> None:
    one, two, texts_one, texts_two = halves
    dedup([one], tmp_path / "first", resolve_job(save_signatures=saved), workers=1)
    if saved:
        # The text is not needed any more.
        for path in (tmp_path / "first").glob("*.zst"):
            path.unlink()
    dedup([two], tmp_path / "second", resolve_job(keep=keep), against=[tmp_path / "first"], workers=1)
    # Documents as (shard, row, text): what stayed of the first corpus, then the second.
    documents: list[tuple[str, int, str]] = []
    for shard, text in kept_of(texts_one):
        row = sum(s == f"first:{shard}" for s, _, _ in documents)
        documents.append((f"first:{shard}", row, text))
    there = len(documents)
    documents += in_order(texts_two)
    expected = []
    for component in oracle.components([text for _, _, text in documents], 0.87, 5):
        own = [i for i in component if i >= there]
        if len(own) == len(component):
            longest = max(own, key=lambda i: (len(documents[i][2].encode()), -i))
            own.remove(own[0] if keep == "first" else longest)
        if own:
            expected.append(own)
    place = {(shard, row): i for i, (shard, row, _) in enumerate(documents)}
    found: dict[int, list[int]] = {}
    for row in removed_rows(tmp_path / "second"):
        me = place[row["shard"], row["row"]]
        found.setdefault(row["component"], []).append(me)
        other = place[row["duplicate_of_shard"], row["duplicate_of_row"]]
        one_set, two_set = (oracle.shingles(documents[i][2], 5) for i in (me, other))
        assert row["jaccard"] == float(oracle.similarity(one_set, two_set)) >= 0.87
    assert [found[i] for i in range(len(found))] == expected
    assert len(expected) > 5
    assert Manifest.read(tmp_path / "second").parents == [Manifest.read(tmp_path / "first").identity]


@pytest.mark.parametrize("options", [{}, {"preset": "datasketch"}, {"exact": True}], ids=str)
def test_nothing_that_stayed_before_stays_again(
    options: dict[str, Any], halves: Halves, tmp_path: Path
) -> None:
    one, _, texts_one, _ = halves
    dedup([one], tmp_path / "first", resolve_job(save_signatures=True), workers=1)
    dedup([one], tmp_path / "again", resolve_job(**options), against=[tmp_path / "first"], workers=1)
    both = {text for _, text in kept_texts(tmp_path / "again")} & {text for _, text in kept_of(texts_one)}
    without_words = {text for text in texts_one if not oracle.words(text)}
    assert both == (set() if "exact" in options else without_words)


def test_signatures_of_other_parameters_are_not_used(halves: Halves, tmp_path: Path) -> None:
    one, two, *_ = halves
    dedup([one], tmp_path / "first", resolve_job(save_signatures=True, seed=2), workers=1)
    dedup([two], tmp_path / "a", resolve_job(), against=[tmp_path / "first"], workers=1)
    (tmp_path / "other").mkdir()
    dedup([one], tmp_path / "other" / "first", resolve_job(), workers=1)
    dedup([two], tmp_path / "b", resolve_job(), against=[tmp_path / "other" / "first"], workers=1)
    assert removed_rows(tmp_path / "a") == removed_rows(tmp_path / "b")


def test_against_what_is_no_deduplicated_corpus(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match=r"manifest\.json"):
        dedup([corpus], tmp_path / "out", resolve_job(), against=[corpus], workers=1)
    dedup([corpus], tmp_path / "kept", resolve_job(), workers=1)
    with pytest.raises(ParameterError, match="called kept"):
        dedup([corpus], tmp_path / "out", resolve_job(), against=[tmp_path / "kept"] * 2, workers=1)
    with pytest.raises(ParameterError, match="pile-dedupe"):
        dedup([corpus], tmp_path / "out", resolve_job(preset="pile-dedupe"), against=[tmp_path / "kept"])


@pytest.mark.parametrize("kind", ["documents", "signatures", "offsets", "values"])
def test_damaged_signatures_are_noticed(kind: str, halves: Halves, tmp_path: Path) -> None:
    one, *_ = halves
    kept = tmp_path / "kept"
    dedup([one], kept, resolve_job(save_signatures=True), workers=1)
    path = kept / "signatures" / f"0.jsonl.zst.{kind}.npy"
    whole = path.read_bytes()
    # The lowest bit of the last item but one: every item still has its type, and most their range.
    at = len(whole) - 2 * np.load(path).itemsize
    for damaged in (whole[:-8], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{kind}\.npy: changed since the manifest"):
            dedup([one], tmp_path / "out", resolve_job(), against=[kept], workers=1)
    path.write_bytes(whole)
    dedup([one], tmp_path / "out", resolve_job(), against=[kept], workers=1)


def test_signatures_that_no_manifest_lists(halves: Halves, tmp_path: Path) -> None:
    one, *_ = halves
    kept = tmp_path / "kept"
    manifest = dedup([one], kept, resolve_job(save_signatures=True), workers=1)
    some = [entry for entry in manifest.outputs if not entry.name.endswith("1.jsonl.zst.values.npy")]
    replace(manifest, outputs=some).write(kept)
    with pytest.raises(DataError, match=r"1\.jsonl\.zst\.values\.npy: not listed"):
        dedup([one], tmp_path / "out", resolve_job(), against=[kept], workers=1)
