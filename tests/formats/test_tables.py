"""Parquet tables, written and read strictly, against pyarrow."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.errors import DataError, MissingFileError
from pile_tools.formats.tables import check_names, open_table, read_table, write_table

SCHEMA = pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("count", pa.int64())])
TABLE = pa.table({"name": ["a", "b", "a"], "count": [1, None, 3]}, SCHEMA)
REMEDY = "make it again"


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "counts.parquet"
    write_table(path, TABLE.replace_schema_metadata({b"key": b"value"}))
    assert pq.read_table(path).equals(TABLE)
    read = read_table(path, SCHEMA, remedy=REMEDY)
    assert read.equals(TABLE)
    assert read.schema.metadata == {b"key": b"value"}
    part = read_table(path, SCHEMA, remedy=REMEDY, columns=["count"], filters=[("name", "=", "a")])
    assert part.to_pylist() == [{"count": 1}, {"count": 3}]
    assert [entry.name for entry in tmp_path.iterdir()] == ["counts.parquet"]


def content_of(table: pa.Table) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(table, file)
    return io.BytesIO(file.getvalue())


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_of_other_writers_and_columns_beside_ours_are_read(kind: pa.DataType) -> None:
    names = pa.array(["a", "b", "a"]).cast(kind)
    table = pa.table({"more": [0.5] * 3, "count": TABLE["count"], "name": names})
    read = read_table(content_of(table), SCHEMA, remedy=REMEDY, name="x.parquet")
    assert read.to_pydict() == TABLE.to_pydict()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.drop_columns("count"), "column 'count' is missing"),
        (TABLE.append_column("count", TABLE["count"]), "column 'count' is there twice"),
        (
            TABLE.set_column(1, "count", pa.array([1, 2, 3], pa.int32())),
            "column 'count' holds int32, not int64",
        ),
        (TABLE.set_column(0, "name", pa.array([b"a"] * 3)), "column 'name' holds binary, not string"),
        (TABLE.set_column(0, "name", pa.array(["a", None, "b"])), "column 'name' holds nulls"),
    ],
)
def test_other_columns_are_refused(table: pa.Table, message: str) -> None:
    with pytest.raises(DataError, match=rf"^x\.parquet: {message}; {REMEDY}$"):
        read_table(content_of(table), SCHEMA, remedy=REMEDY, name="x.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"text that is no table" * 9])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.parquet: not a readable Parquet file \(.*\); {REMEDY}$"):
        open_table(path, SCHEMA, str(path), REMEDY)
    with pytest.raises(MissingFileError, match=rf"y\.parquet: no such file; {REMEDY}$"):
        read_table(tmp_path / "y.parquet", SCHEMA, remedy=REMEDY)


def test_a_changed_byte_of_a_page_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, pa.table({"name": [str(7**n) for n in range(99)], "count": range(99)}, SCHEMA))
    content = bytearray(path.read_bytes())
    content[pq.ParquetFile(path).metadata.row_group(0).column(0).dictionary_page_offset + 60] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.parquet: not a readable Parquet file"):
        read_table(path, SCHEMA, remedy=REMEDY)


def test_texts_that_could_be_no_file_are_refused() -> None:
    check_names(TABLE, ["name"], "x.parquet")
    check_names(pa.table({"name": pa.nulls(2, pa.string())}), ["name"], "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet: .*\.\./a"):
        check_names(pa.table({"name": ["a", "../a"]}), ["name"], "x.parquet")
