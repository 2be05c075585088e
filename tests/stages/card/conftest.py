"""Fixtures of the tests of cards."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pile_tools.stages.card.croissant import Description
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from pile_tools.stages.order.order import make_order
from pile_tools.stages.tokenize.tokenize import tokenize


@pytest.fixture
def made(tmp_path: Path, demo_corpus: Path) -> Path:
    texts = [f"the words of document {i} are those of no other {i}" for i in range(20)]
    lines = [
        json.dumps({"text": text, "meta": {"pile_set_name": "A|B"}}) + "\n" for text in [*texts, texts[3]]
    ]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    dedup([tmp_path / "in.jsonl"], tmp_path / "kept", resolve_job())
    tokenize([tmp_path / "kept"], tmp_path / "tokens", tokenizer=str(demo_corpus))
    make_order(tmp_path / "tokens", seq_length=32, batch_size=2, steps=3)
    return tmp_path


# In a process of its own: its dependencies warn, and warnings are errors here.
JUDGE = """
import json, sys, mlcroissant
dataset = mlcroissant.Dataset(jsonld=sys.argv[1])
issues = dataset.metadata.ctx.issues
def plain(record):
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in record.items()}
records = {s.uuid: list(map(plain, dataset.records(s.uuid))) for s in dataset.metadata.record_sets}
files = {f.name: f.sha256 for f in dataset.metadata.file_objects}
print(json.dumps([sorted(issues.errors), sorted(issues.warnings), files, records], default=str))
"""


def judge(directory: Path) -> Any:
    command = [sys.executable, "-W", "ignore", "-c", JUDGE, str(directory / "croissant.json")]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


FULL = Description(
    name='A "small" dataset: with | signs',
    description="Some words,\nand a line more.",
    license="Apache-2.0",
    url="https://example.org/small",
    creator="A. Author",
    date_published="2024-02-29",
    version="1.0.0",
    citation="@misc{small, title={Small}}",
    languages=("en", "de"),
)
