"""A corpus, its deduplication and its tokens with an order, which tests of checks change."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from pile_tools.stages.order.order import make_order
from pile_tools.stages.tokenize.tokenize import tokenize
from pile_tools.storage.manifest import Manifest, file_entry


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, demo_corpus: Path) -> Path:
    """kept/ and tokens/ with an order; do not write into it."""
    path = tmp_path_factory.mktemp("whole")
    texts = [f"the words of document {i} are those of no other {i}" for i in range(60)] + [
        "",
        "twice " * 9,
    ] * 2
    (path / "in").mkdir()
    for number in range(3):
        lines = [json.dumps({"text": text}) + "\n" for text in texts[number::3]]
        (path / f"in/{number}.jsonl").write_text("".join(lines))
    dedup([path / "in"], path / "kept", resolve_job())
    tokenize([path / "kept"], path / "tokens", tokenizer=str(demo_corpus), shard_bytes=500)
    make_order(path / "tokens", seq_length=32, batch_size=2, steps=5)
    return path


@pytest.fixture
def made(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "made")
    return tmp_path / "made"


def list_again(directory: Path) -> None:
    """Let the manifest list the files as they are now: only what they hold is wrong then."""
    manifest = Manifest.read(directory)
    outputs = [file_entry(directory / entry.name, entry.name, entry.documents) for entry in manifest.outputs]
    replace(manifest, outputs=outputs).write(directory)
    (directory / "order.json").unlink(missing_ok=True)
    for path in directory.glob("*.npy"):
        path.unlink()
