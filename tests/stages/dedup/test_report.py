"""Counts of a deduplication: every document is kept or removed."""

from pathlib import Path
from typing import Any

import pytest

from pile_tools.errors import PileToolsError
from pile_tools.stages.dedup import dedup as module
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job


def test_documents_that_are_neither_kept_nor_removed(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = module.count_everything

    def lose_one(*arguments: Any) -> dict[str, Any]:
        counts = count(*arguments)
        return counts | {"kept": counts["kept"] - 1}

    monkeypatch.setattr(module, "count_everything", lose_one)
    with pytest.raises(PileToolsError, match="documents in, but"):
        dedup([corpus], tmp_path / "out", resolve_job(), workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()
