"""`import pile_tools` stays light: numpy at most."""

import subprocess
import sys

HEAVY = [
    "numba",
    "pyarrow",
    "tokenizers",
    "fastokens",
    "datasketch",
    "zstandard",
    "fsspec",
    "huggingface_hub",
]


def test_import_loads_numpy_at_most() -> None:
    code = (
        "import sys, pile_tools; "
        f"print([m for m in {[*HEAVY, 'torch', 'click', 'tqdm', 'scipy', 'orjson']} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
