"""Explanations of removed documents, against the sets of shingles of both texts."""

from pathlib import Path

import pytest

from pile_tools.errors import DataError, OutOfRangeError, ParameterError
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.explain import explain
from pile_tools.stages.dedup.job import resolve_job
from tests.reference import dedup as oracle
from tests.stages.dedup.corpora import in_order, removed_rows


def test_every_document_is_explained(corpus: Path, texts: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    dedup([corpus], out, resolve_job(), workers=1)
    text_of = {(shard, row): text for shard, row, text in in_order(texts)}
    removed = {(row["shard"], row["row"]): row for row in removed_rows(out)}
    partners: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for address, row in list(removed.items())[:12]:
        partner = (row["duplicate_of_shard"], row["duplicate_of_row"])
        found = explain(out, *address)
        assert (found.text, found.partner, found.partner_text) == (
            text_of[address],
            partner,
            text_of[partner],
        )
        sets = (oracle.shingles(text, 5) for text in (found.text, text_of[partner]))
        assert found.similarity == found.recorded == row["jaccard"] == float(oracle.similarity(*sets))
    for address, row in removed.items():
        partners.setdefault((row["duplicate_of_shard"], row["duplicate_of_row"]), []).append(address)
    for address in list(set(text_of) - set(removed))[:12]:
        stays = explain(out, *address)
        assert (stays.partner, stays.text) == (None, text_of[address])
        assert sorted(stays.duplicates) == sorted(partners.get(address, []))


def test_what_cannot_be_explained(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    dedup([corpus], out, resolve_job(), workers=1)
    with pytest.raises(ParameterError, match=r"no input shard called 'x'; they are 0\.jsonl\.zst"):
        explain(out, "x", 0)
    for row in (-1, 10**6):
        with pytest.raises(OutOfRangeError, match=f"row {row}"):
            explain(out, "0.jsonl.zst", row)
    with pytest.raises((DataError, ParameterError)):
        explain(out, "0.jsonl.zst", 0, corpus=[out / "0.jsonl.zst"])
