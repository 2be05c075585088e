"""Count what a step of a pre-shuffled suite costs: bytes and requests, against the step itself.

    python benchmarks/remote.py

A local server speaks the Hub's API (the one of the tests) and counts. Sequences, batch and tokens are as
published (1024 sequences of 2049 tokens of two bytes in a step); the shards are such that steps lie inside
of one shard or straddle two. Each step is read by a viewer that is opened for it, from nothing.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.formats.mmidx import write_index

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.hub_server import Hub, running_hub, use_as_hub

BATCH, TOKENS = 1024, 2049
STEP = BATCH * TOKENS * 2


def make_files(directory: Path, steps: int, shard_bytes: int) -> dict[str, bytes]:
    """Return the files of a dataset of so many ``steps`` in shards of ``shard_bytes``."""
    write_index(directory / "document.idx", np.uint16, np.full(steps * BATCH, TOKENS))
    tokens = np.random.RandomState(0).randint(0, 50_000, steps * BATCH * TOKENS)
    content = tokens.astype(np.uint16).tobytes()
    parts = [content[start : start + shard_bytes] for start in range(0, len(content), shard_bytes)]
    files = {"document.idx": (directory / "document.idx").read_bytes()}
    for number, part in enumerate(parts):
        files[f"document-{number:05}-of-{len(parts) - 1:05}.bin"] = part
    return files


def suite_of(files: dict[str, bytes], steps: int) -> dict[str, object]:
    sizes = [len(content) for name, content in sorted(files.items()) if name.endswith(".bin")]
    return {
        "format": "pile-tools suite 1",
        "name": "measured",
        "title": "Measured",
        "dataset": {
            "location": "hf://datasets/owner/name",
            "prefix": "document",
            "shards": len(sizes),
            "shard_bytes": sizes[0],
            "last_shard_bytes": sizes[-1],
            "dtype": "uint16",
            "sequences": steps * BATCH,
            "sequence_tokens": TOKENS,
        },
        "order": {"recipe": "sequential"},
        "seq_length": TOKENS - 1,
        "batch_size": BATCH,
        "steps": steps,
        "tokenizer": None,
        "checkpoints": {"first": [0], "every": steps},
        "models": [],
        "notes": [],
        "uncertain": [],
    }


def measure(hub: Hub, suite: Path, steps: range) -> None:
    print(f"{'step':>4} {'bytes':>10} {'times the step':>15} {'HEAD':>5} {'GET':>4} {'ms':>7}")
    for step in steps:
        hub.sent.clear()
        hub.requests.clear()
        start = time.perf_counter()
        tokens = BatchViewer.from_suite(suite).batch(step)
        seconds = time.perf_counter() - start
        expected = whole(hub)[step * STEP : (step + 1) * STEP]
        if tokens.tobytes() != expected:
            raise SystemExit(f"step {step}: other bytes than the server has")
        sent = sum(hub.sent.values())
        asked = {
            kind: sum(count for (name, _), count in hub.requests.items() if name == kind)
            for kind in ("HEAD", "GET", "INFO")
        }
        shards = sum(1 for (name, path) in hub.requests if name == "GET" and path.endswith(".bin"))
        print(
            f"{step:>4} {sent:>10,} {sent / STEP:>15.5f} {asked['HEAD']:>5} {asked['GET']:>4} "
            f"{seconds * 1e3:>7.1f}  {shards} shard(s), {hub.sent['document.idx']} bytes of .idx"
        )


def whole(hub: Hub) -> bytes:
    files = hub.repositories["owner/name"]
    return b"".join(files[name] for name in sorted(files) if name.endswith(".bin"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--shard-bytes", type=int, default=10_000_000)
    options = parser.parse_args()
    patch = pytest.MonkeyPatch()
    with tempfile.TemporaryDirectory() as name, running_hub() as hub:
        use_as_hub(patch, hub)
        files = make_files(Path(name), options.steps, options.shard_bytes)
        hub.repositories["owner/name"] = files
        suite = Path(name) / "suite.json"
        suite.write_text(json.dumps(suite_of(files, options.steps)))
        BatchViewer.from_suite(suite).batch(0)
        measure(hub, suite, range(options.steps))
        print(f"load {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    patch.undo()


if __name__ == "__main__":
    main()
