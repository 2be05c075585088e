"""Rows kept of a Parquet file against pyarrow's filter: columns, types, metadata, row groups."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.corpus.parquet_copy import check_copy, copy_rows, keep_rows, try_schema
from pile_tools.corpus.shard import Shard
from pile_tools.errors import DataError

TABLE = pa.table(
    {
        "text": pa.array(["a", "b", None, "d"]),
        "meta": pa.array([{"k": [1]}, None, {"k": []}, {"k": None}]),
        "n": pa.array([1, 2, 3, 4], pa.uint8()),
        "view": pa.array(["x" * 20, None, "", "y"], pa.string_view()),
    }
).replace_schema_metadata({"who": "me"})


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    path = tmp_path / "x.parquet"
    pq.write_table(TABLE, path, row_group_size=3, compression="gzip")
    return Shard(path, path.name)


@pytest.mark.parametrize("kept", [[], [0, 2, 3], [3], [0, 1, 2, 3]])
def test_rows_keep_all_columns(shard: Shard, kept: list[int]) -> None:
    keep = np.isin(np.arange(4), kept)
    check_copy(shard.path)
    files = [io.BytesIO(), io.BytesIO()]
    assert [copy_rows(shard, keep, file) for file in files] == [len(kept)] * 2
    assert files[0].getvalue() == files[1].getvalue()
    copied = pq.read_table(files[0])
    assert copied.to_pylist() == [
        row for row, is_kept in zip(TABLE.to_pylist(), keep, strict=True) if is_kept
    ]
    assert copied.schema.equals(pq.read_schema(shard.path), check_metadata=True)
    groups = pq.ParquetFile(files[0]).metadata
    expected = [count for count in (sum(keep[:3]), sum(keep[3:])) if count]
    assert [groups.row_group(index).num_rows for index in range(groups.num_row_groups)] == expected
    if kept:
        assert groups.row_group(0).column(0).compression == "GZIP"


@pytest.mark.parametrize("rows", [0, 3, 5])
def test_another_number_of_rows_is_refused(shard: Shard, rows: int) -> None:
    with pytest.raises(DataError, match=f"x.parquet: 4 rows, but {rows} were read before"):
        copy_rows(shard, np.ones(rows, np.bool_), io.BytesIO())


def test_a_column_that_would_be_changed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"text": ["a"], "when": pa.array([0], pa.timestamp("ns"))})
    pq.write_table(table, path)
    check_copy(path)
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    with pytest.raises(DataError, match=r"x\.parquet: column 'when' holds INT96 timestamps.*cast the column"):
        check_copy(path)


def test_a_damaged_row_group_is_named(shard: Shard) -> None:
    column = pq.ParquetFile(shard.path).metadata.row_group(0).column(0)
    content = bytearray(shard.path.read_bytes())
    start = column.dictionary_page_offset
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    shard.path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.parquet: damaged Parquet data .*fetch the file again"):
        copy_rows(shard, np.ones(4, np.bool_), io.BytesIO())


@pytest.mark.parametrize("flags", [[True] * 4, [False] * 4, [False, True, False, True]])
def test_views_are_filtered_as_the_large_types_of_the_same_bytes(flags: list[bool]) -> None:
    kept = keep_rows(TABLE, np.array(flags))
    assert kept.schema.field("view").type == pa.large_string()
    assert kept.to_pylist() == [row for row, flag in zip(TABLE.to_pylist(), flags, strict=True) if flag]
    assert kept.schema.metadata == {b"who": b"me"}


def test_a_schema_that_parquet_cannot_hold() -> None:
    def writer(target: io.BytesIO) -> pq.ParquetWriter:
        return pq.ParquetWriter(target, schema)

    for kind, is_written in ((pa.string(), True), (pa.struct([]), False)):
        schema = pa.schema([("column", kind)])
        copy = try_schema(schema, writer)  # type: ignore[arg-type]
        assert (copy is not None) == is_written
        assert copy is None or copy.metadata.num_rows == 0
