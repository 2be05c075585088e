"""Check of records: every record and table of a directory, and no name that leads out of it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.checks.records import RECORDS, TABLES, check_records
from pile_tools.errors import DataError
from pile_tools.storage.manifest import canonical_json


def path_of(directory: Path, pattern: str) -> Path:
    path = directory / pattern.replace("*", "x")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_what_stages_write_is_right(whole: Path) -> None:
    for name in ("kept", "tokens"):
        check_records(whole / name)


@pytest.mark.parametrize("pattern", [pattern for pattern in RECORDS if pattern != "manifest.json"])
def test_records_that_are_none(pattern: str, tmp_path: Path) -> None:
    path = path_of(tmp_path, pattern)
    path.write_bytes(b"[]")
    with pytest.raises(DataError, match=path.name):
        check_records(tmp_path)


@pytest.mark.parametrize("pattern", ["locations.json", "inputs.json"])
def test_a_shard_that_leads_out_of_a_list_of_locations(pattern: str, tmp_path: Path) -> None:
    path_of(tmp_path, pattern).write_bytes(canonical_json({"../a.jsonl": "x"}))
    with pytest.raises(DataError, match=rf"{pattern}: names '\.\./a\.jsonl'"):
        check_records(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "column"), [(name, column) for name in TABLES for column in TABLES[name]]
)
def test_tables(pattern: str, column: str, tmp_path: Path) -> None:
    path = path_of(tmp_path, pattern)
    names = {name: ["a.jsonl", "folder/b", None] for name in TABLES[pattern]}
    pq.write_table(pa.table(names | {"row": [0, 1, 2]}), path)
    check_records(tmp_path)
    pq.write_table(pa.table(names | {column: ["a", "a", "/etc/passwd"]}), path)
    with pytest.raises(DataError, match=r"names '/etc/passwd', which is an absolute path"):
        check_records(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="not readable"):
        check_records(tmp_path)
