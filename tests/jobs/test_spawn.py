"""Searches in several processes, started by programs of every kind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lookups.conftest import MakeStream

SCRIPT = """
import sys
from pile_tools import BatchViewer
from pile_tools.lookups import regex_search as decoded
decoded._FEW = 0
decoded._BLOCK_ROWS = 3
main = sys.modules["__main__"]
print("begins")
print(BatchViewer.open({directory!r}).find(regex="a+b|c", workers=2).num_rows)
print(sys.modules["__main__"] is main)
"""


@pytest.mark.parametrize("way", ["a script", "standard input"])
@pytest.mark.slow
def test_a_program_without_a_guard(way: str, tmp_path: Path, make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 6, 8, 10, 11]] * 30, num_samples=40)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(directory=viewer.dataset.store.name))
    done = subprocess.run(
        [sys.executable, str(script) if way == "a script" else "-"],
        input=script.read_text(),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    # The program itself has run once.
    assert done.stdout.split() == ["begins", str(viewer.find(regex="a+b|c").num_rows), "True"]
