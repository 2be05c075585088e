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


VALUES = {pa.int32(): 0, pa.int64(): 0, pa.float64(): 1.0, pa.binary(16): bytes(16)}
NAMED = [
    (pattern, name)
    for pattern, schema in TABLES.items()
    for name in schema.names
    if name in ("shard", "duplicate_of_shard")
]


@pytest.mark.parametrize(("pattern", "column"), NAMED)
def test_tables(pattern: str, column: str, tmp_path: Path) -> None:
    path = path_of(tmp_path, pattern)
    schema = TABLES[pattern]
    row = {field.name: VALUES.get(field.type, "folder/b") for field in schema}
    for name, problem in (("folder/b", None), ("/etc/passwd", "which is an absolute path")):
        table = pa.Table.from_pylist([row | {column: name}], schema=schema)
        pq.write_table(table, path, write_page_checksum=True)
        if problem is None:
            check_records(tmp_path)
            continue
        with pytest.raises(DataError, match=f"names '/etc/passwd', {problem}"):
            check_records(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="not a readable Parquet file"):
        check_records(tmp_path)
