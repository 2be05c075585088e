import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from pile_tools.corpus.shards import find_corpus
from pile_tools.stages.dedup import workers as dedup_workers
from pile_tools.stages.dedup.workers import start_workers


def test_importing_it_is_quick() -> None:
    """It is imported first, so that processes start while the rest is imported."""
    code = (
        "import sys, pile_tools.stages.dedup.workers; "
        "print([m for m in ('numba', 'pyarrow', 'zstandard', 'datasketch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_processes_start_where_there_is_work_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(dedup_workers, "start_server", started.append)
    monkeypatch.setattr(dedup_workers, "SMALL_BYTES", 100)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 99)
    start_workers(find_corpus([path]), 2)
    path.write_bytes(b"x" * 100)
    start_workers(find_corpus([path]), 1)
    assert started == []
    start_workers(find_corpus([path]), 2)
    # A server that cannot import what it is told to goes on without it: the name must be right.
    assert [importlib.util.find_spec(name) is not None for name in started] == [True]
