"""`card` of a corpus whose shards have any names: judged by mlcroissant and by the Hub's own loader."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pile_tools.stages.card import write_card
from pile_tools.stages.croissant import Description
from pile_tools.stages.dedup import dedup
from pile_tools.stages.dedup_job import resolve_job

NAMES = [
    *(
        "part 1.jsonl",
        "tab\t.jsonl",
        "new\nline.jsonl",
        "no\u00a0break.jsonl",
        "é.jsonl",
        "e\u0301.jsonl",
        "日本.jsonl",
    ),
    *(
        "q\"uo'te.jsonl",
        "ti`ck|pipe.jsonl",
        "0lead.jsonl",
        "-dash.jsonl",
        "@id.jsonl",
        "_:blank.jsonl",
        "a:b.jsonl",
    ),
    *(
        "a#b.jsonl",
        "a?b.jsonl",
        "a b.jsonl",
        "a%20b.jsonl",
        "a&b<c>.jsonl",
        "a\\b.jsonl",
        "[x]*.jsonl",
        "{z}.jsonl",
    ),
    *("sub dir/x.jsonl", "x" * 200 + ".jsonl"),
]
DESCRIPTION = Description(
    "odd names", "Some words.", "MIT", "https://example.org", "A. Author", "2024-02-29", "1.0.0", "@misc{a}"
)
# In a process of its own: dependencies of the judges warn, and warnings are errors here.
JUDGE = """
import json, sys, mlcroissant
dataset = mlcroissant.Dataset(jsonld=sys.argv[1])
issues, files = dataset.metadata.ctx.issues, dataset.metadata.file_objects
print(json.dumps([sorted(issues.errors), sorted(issues.warnings), {f.name: f.sha256 for f in files}]))
"""
LOADER = """
import datasets, sys
print(datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])["train"].num_rows)
"""


def judged(program: str, *arguments: str) -> Any:
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two of them have the same content, and so one identity.
        path.write_text(json.dumps({"text": f"words of document {max(number, 1)}"}) + "\n")
    dedup([tmp_path / "in"], tmp_path / "kept", resolve_job(exact=True), workers=1)
    write_card(tmp_path / "kept", DESCRIPTION)
    return tmp_path / "kept"


def test_croissant_is_valid_for_any_name(kept: Path) -> None:
    errors, warnings, files = judged(JUDGE, str(kept / "croissant.json"))
    assert (errors, warnings) == ([], [])
    assert set(files) == {*NAMES, "dedup.parquet", "manifest.json"}
    identifiers = [
        entry["@id"] for entry in json.loads((kept / "croissant.json").read_text())["distribution"]
    ]
    assert len(set(identifiers)) == len(identifiers)
    assert all(identifier.isascii() and identifier.isprintable() for identifier in identifiers)


def test_the_hub_loads_the_documents_and_no_table_of_ours(kept: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    header = yaml.safe_load((kept / "README.md").read_text().split("---\n")[1])
    assert [config["config_name"] for config in header["configs"]] == ["default"]
    assert "dedup.parquet" not in header["configs"][0]["data_files"]
    assert judged(LOADER, str(kept), str(tmp_path / "cache")) == len(NAMES) - 1


def test_files_of_several_kinds_have_a_configuration_each(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": ["one two"]}), tmp_path / "in/a.parquet")
    (tmp_path / "in/b.jsonl").write_text('{"text": "three"}\n')
    (tmp_path / "c.txt").write_text("four five")
    dedup([tmp_path / "in", tmp_path / "c.txt"], tmp_path / "kept", resolve_job(exact=True), workers=1)
    write_card(tmp_path / "kept", DESCRIPTION)
    header = yaml.safe_load((tmp_path / "kept/README.md").read_text().split("---\n")[1])
    assert header["configs"] == [
        {"config_name": "parquet", "data_files": ["a.parquet"]},
        {"config_name": "json", "data_files": ["b.jsonl"]},
        {"config_name": "text", "data_files": ["c.txt"]},
    ]
