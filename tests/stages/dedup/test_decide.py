"""Which document of a component stays, and which one a removed document names."""

from pathlib import Path
from typing import Any

import pytest

from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from tests.reference import dedup as oracle
from tests.stages.dedup.corpora import (
    in_order,
    kept_texts,
    removed_rows,
)


def test_partner_is_the_kept_document_where_it_is_similar_enough(
    corpus: Path, texts: list[str], tmp_path: Path
) -> None:
    dedup([corpus], tmp_path / "out", resolve_job(threshold=0.8), workers=1)
    documents = in_order(texts)
    address = {(shard, row): i for i, (shard, row, _) in enumerate(documents)}
    sets = [oracle.shingles(text, 5) for _, _, text in documents]
    first = {i: c[0] for c in oracle.components([t for _, _, t in documents], 0.8, 5) for i in c}
    for row in removed_rows(tmp_path / "out"):
        me = address[row["shard"], row["row"]]
        partner = address[row["duplicate_of_shard"], row["duplicate_of_row"]]
        if float(oracle.similarity(sets[me], sets[first[me]])) >= 0.8:
            assert partner == first[me]
        else:
            assert first[partner] == first[me]


@pytest.mark.parametrize("keep", ["last", "longest"])
def test_keep(keep: Any, corpus: Path, texts: list[str], tmp_path: Path) -> None:
    dedup([corpus], tmp_path / "out", resolve_job(keep=keep), workers=1)
    documents = in_order(texts)
    stays = []
    for component in oracle.components([t for _, _, t in documents], 0.87, 5):
        longest = max(component, key=lambda i: (len(documents[i][2].encode()), -i))
        stays.append(component[-1] if keep == "last" else longest)
    kept = set(range(len(documents))) - {
        i for c in oracle.components([t for _, _, t in documents], 0.87, 5) for i in c if i not in stays
    }
    assert kept_texts(tmp_path / "out") == [(s, t) for i, (s, _, t) in enumerate(documents) if i in kept]
    for row in removed_rows(tmp_path / "out"):
        assert row["jaccard"] >= 0.87
