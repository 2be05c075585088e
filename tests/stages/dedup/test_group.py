"""Groups of near-duplicates: those of datasketch, and none of documents without words."""

from pathlib import Path

import pytest
from datasketch import MinHash, MinHashLSH

from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from tests.reference import dedup as oracle
from tests.stages.dedup.corpora import (
    in_order,
    record,
    removed_rows,
)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.87, 0.95])
def test_preset_datasketch_gives_the_groups_of_datasketch(
    threshold: float, corpus: Path, texts: list[str], tmp_path: Path
) -> None:
    manifest = dedup(
        [corpus], tmp_path / "out", resolve_job(threshold=threshold, preset="datasketch"), workers=1
    )
    index = MinHashLSH(threshold=threshold, num_perm=128)
    assert (manifest.parameters["bands"], manifest.parameters["rows"]) == (index.b, index.r)
    documents = in_order(texts)
    neighbours: dict[int, set[int]] = {i: set() for i in range(len(documents))}
    for i, (_, _, text) in enumerate(documents):
        shingles = oracle.shingles(text, 5)
        if shingles:
            minhash = MinHash(128, seed=1, hashfunc=lambda h: h & 0xFFFFFFFF)
            minhash.update_batch([oracle.shingle_hash(s) for s in shingles])
            for j in index.query(minhash):
                neighbours[i].add(j)
                neighbours[j].add(i)
            index.insert(i, minhash)
    expected = oracle.graph_components(neighbours)
    address = {(shard, row): i for i, (shard, row, _) in enumerate(documents)}
    found: dict[int, list[int]] = {}
    for row in removed_rows(tmp_path / "out"):
        found.setdefault(row["component"], []).append(address[row["shard"], row["row"]])
        assert row["jaccard"] is None
    assert [found[i] for i in range(len(found))] == [component[1:] for component in expected]


def test_documents_without_words_are_never_merged(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"".join([record("?!"), record("?!"), record(""), record("")]))
    for name, job, kept in (
        ("a", resolve_job(), 4),
        ("b", resolve_job(preset="datasketch"), 4),
        ("c", resolve_job(exact=True), 2),  # whole texts are compared, with words or without
    ):
        assert dedup([tmp_path / "in.jsonl"], tmp_path / name, job, workers=1).counts["kept"] == kept
