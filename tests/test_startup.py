"""Start-up: what showing one row loads, which is what every look at a stream waits for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOKENS = Path(__file__).parent / "golden/0.1.0/tokens"
NEVER = {"numba", "llvmlite", "scipy", "pandas", "fsspec", "huggingface_hub", "torch", "tqdm", "datasketch"}
FOR_TEXT = {"pyarrow", "tokenizers"}
SHOW = """
import json, sys
from pile_tools_cli.main import run
assert run(sys.argv[1:]) == 0
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "may_be_loaded"), [(["--format", "tokens"], set()), ([], FOR_TEXT), (["--json"], FOR_TEXT)]
)
def test_showing_a_row_loads_little(arguments: list[str], may_be_loaded: set[str]) -> None:
    row = ["batch", "--data", str(TOKENS), "--step", "3", "--row", "1", *arguments]
    shown = subprocess.run([sys.executable, "-c", SHOW, *row], capture_output=True, text=True, check=True)
    loaded = set(json.loads(shown.stderr.splitlines()[-1]))
    assert loaded & (NEVER | FOR_TEXT) <= may_be_loaded
