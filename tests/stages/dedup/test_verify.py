"""Verification of candidate pairs: how many are compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools.stages.dedup import verify as dedup_verify
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from pile_tools.stages.dedup.shingle_sets import verify_pairs
from tests.stages.dedup.corpora import (
    VOCABULARY,
    record,
    text_of,
    write_zst,
)


def compared_pairs(n: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many pairs are compared where ``n`` documents are alike and ``n`` different ones share much."""
    rng = np.random.RandomState(3)
    shared = text_of([VOCABULARY[i] for i in rng.randint(0, 500, 60)])
    same = [record(shared)] * n
    alike = [
        record(shared + " " + text_of([VOCABULARY[j] for j in rng.randint(0, 500, 12)])) for _ in range(n)
    ]
    directory.mkdir()
    write_zst(directory / "in.jsonl.zst", [*same, *alike])
    compared = 0

    def count(store: Any, pairs: Any, *arguments: Any) -> Any:
        nonlocal compared
        compared += len(pairs)
        return verify_pairs(store, pairs, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(dedup_verify, "verify_pairs", count)
        manifest = dedup([directory / "in.jsonl.zst"], directory / "out", resolve_job(), workers=1)
    assert manifest.counts["removed"] == n - 1
    return compared


def test_identical_documents_and_boilerplate_take_linear_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (compared_pairs(n, tmp_path / f"{n}", monkeypatch) for n in (1000, 4000))
    assert few > 0
    assert many < 6 * few  # all pairs would be 16 times as many
