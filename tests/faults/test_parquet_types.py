"""Every Arrow type in a Parquet shard: kept rows are what they were, or the column is refused by name."""

import base64
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pile_tools_cli.main import run

from pile_tools.errors import DataError
from pile_tools.formats.parquet_copy import check_columns, copy_parquet_rows

N = 40
VIEW, BINARY_VIEW = pa.string_view(), pa.binary_view()


def values_of(kind: Any, i: int) -> Any:
    """Value ``i`` of a column, as Python's: null, empty, short and long ones."""
    types = pa.types
    if i % 7 == 3:
        return None
    if types.is_struct(kind):
        return {field.name: values_of(field.type, i + k) for k, field in enumerate(kind)}
    if types.is_map(kind):
        return [(f"k{i} {j}", values_of(kind.item_type, i + j)) for j in range(i % 3)]
    if types.is_fixed_size_list(kind):
        return [values_of(kind.value_type, i + j) for j in range(kind.list_size)]
    if hasattr(kind, "value_type") and not types.is_dictionary(kind) and not types.is_run_end_encoded(kind):
        return [values_of(kind.value_type, i + j) for j in range(i % 4)]
    text = "" if i % 5 == 0 else f"value {i} " * (i % 4 + 1)
    for is_kind, value in (
        (types.is_boolean, i % 2 == 0),
        (types.is_decimal, Decimal(i) / 4),
        (types.is_fixed_size_binary, bytes([i] * 3)),
        (types.is_integer, i),
        (types.is_floating, np.float16(i) if kind == pa.float16() else float(i)),
    ):
        if is_kind(kind):
            return value
    binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    return text.encode() if binary else text


def plain(*kinds: Any) -> dict[str, pa.Array]:
    return {str(kind): pa.array([values_of(kind, i) for i in range(N)], kind) for kind in kinds}


def of_numbers(*kinds: Any) -> dict[str, pa.Array]:
    """Columns of types that are numbers in storage: times, durations, dates."""
    return {
        str(kind): pa.array([None if i % 7 == 3 else i * 86_400_000 for i in range(N)], pa.int64()).cast(kind)
        for kind in kinds
    }


def small_times(*kinds: Any) -> dict[str, pa.Array]:
    return {
        str(kind): pa.array([None if i % 7 == 3 else i for i in range(N)], pa.int32()).cast(kind)
        for kind in kinds
    }


def dictionaries() -> dict[str, pa.Array]:
    texts = pa.array([None if i % 7 == 3 else f"value {i % 6}" for i in range(N)])
    columns = {}
    for index in (pa.int8(), pa.int32(), pa.uint16(), pa.int64()):
        for values in (pa.string(), pa.large_string(), pa.binary()):
            kind = pa.dictionary(index, values)
            columns[str(kind)] = texts.cast(values).dictionary_encode().cast(kind)
    columns["ordered"] = pa.DictionaryArray.from_arrays(
        pa.array([i % 2 for i in range(N)], pa.int8()), pa.array(["x", "y"]), ordered=True
    )
    columns["of numbers"] = pa.array([i % 5 for i in range(N)]).dictionary_encode()
    return columns


def extensions() -> dict[str, pa.Array]:
    texts = pa.array([None if i % 7 == 3 else f'{{"n": {i}}}' for i in range(N)])
    sixteen = pa.array([None if i % 7 == 3 else bytes([i] * 16) for i in range(N)], pa.binary(16))
    pairs = pa.array([[i, -i] for i in range(N)], pa.list_(pa.int32(), 2))
    made = {
        "json": (pa.json_(), texts),
        "opaque": (pa.opaque(pa.string(), "kind", "vendor"), texts),
        "uuid": (pa.uuid(), sixteen),
        "bool8": (pa.bool8(), pa.array([i % 2 for i in range(N)], pa.int8())),
        "tensor": (pa.fixed_shape_tensor(pa.int32(), [2]), pairs),
    }
    return {name: pa.ExtensionArray.from_storage(kind, storage) for name, (kind, storage) in made.items()}


LISTS = (pa.list_, pa.large_list, pa.list_view, pa.large_list_view)
DEEP = pa.struct(
    [pa.field("a", pa.list_(pa.struct([("x", pa.int8()), ("y", pa.large_string())]))), ("b", pa.float16())]
)
COLUMNS: dict[str, pa.Array] = {
    **plain(pa.string(), pa.large_string(), VIEW, pa.binary(), pa.large_binary(), BINARY_VIEW, pa.binary(3)),
    **plain(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    **plain(pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
    **plain(pa.decimal32(7, 2), pa.decimal64(12, 2), pa.decimal128(20, 2), pa.decimal256(50, 2)),
    **plain(*(make(kind) for make in LISTS for kind in (pa.int8(), pa.string(), pa.list_(pa.binary())))),
    **plain(*(make(VIEW) for make in LISTS[:2]), pa.list_(VIEW, 2), pa.list_(pa.int8(), 2), DEEP),
    **plain(
        pa.map_(pa.string(), pa.int32()), pa.map_(VIEW, BINARY_VIEW), pa.struct([("a", VIEW), ("b", VIEW)])
    ),
    **plain(pa.struct([("a", pa.list_view(pa.int8())), ("b", VIEW)])),
    **of_numbers(*(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns"))),
    **of_numbers(
        *(pa.timestamp(unit, zone) for unit in ("ms", "ns") for zone in ("UTC", "Europe/Berlin", "+02:00"))
    ),
    **of_numbers(*(pa.duration(unit) for unit in ("s", "ms", "us", "ns")), pa.date64()),
    **small_times(pa.time32("s"), pa.time32("ms"), pa.date32()),
    "time64[us]": pa.array(range(N)).cast(pa.time64("us")),
    "time64[ns]": pa.array(range(N)).cast(pa.time64("ns")),
    "null": pa.nulls(N),
    **dictionaries(),
    **extensions(),
}


def corpus_table(columns: dict[str, pa.Array]) -> pa.Table:
    """A table with texts, each of which is there twice, and all kinds of metadata."""
    texts = pa.array([f"document {i // 2} of these words" for i in range(N)])
    fields = [
        pa.field(name, column.type, metadata={"note": f"of {name}", "PARQUET:field_id": str(number + 10)})
        for number, (name, column) in enumerate(columns.items())
    ]
    schema = pa.schema([pa.field("text", pa.string(), nullable=False), *fields], metadata={"who": "me"})
    return pa.Table.from_arrays([texts, *columns.values()], schema=schema)


def assert_same(copy: Path | io.BytesIO, original: Path, keep: list[int]) -> None:
    """The judge: Arrow's schema with its metadata, and each value as Python has it."""
    left, right = pq.read_table(copy), pq.read_table(original)
    assert left.schema.equals(right.schema, check_metadata=True)
    assert pq.ParquetFile(copy).metadata.metadata == pq.ParquetFile(original).metadata.metadata
    for name in right.column_names:
        values = right.column(name).to_pylist()
        assert left.column(name).to_pylist() == [values[row] for row in keep], name


@pytest.mark.parametrize("row_group_size", [N, 7])
def test_a_table_of_every_type_passes_through_dedup(row_group_size: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/a.parquet"
    columns = {
        name: column
        for name, column in COLUMNS.items()
        if row_group_size == N or "_view" not in str(column.type)  # of which pyarrow writes no second group
    }
    pq.write_table(corpus_table(columns), path, row_group_size=row_group_size, compression="zstd")
    assert (
        run(["dedup", str(tmp_path / "in"), "-o", str(tmp_path / "kept"), "--exact", "--workers", "1"]) == 0
    )
    assert_same(tmp_path / "kept/a.parquet", path, list(range(0, N, 2)))


def as_others_write_it(column: pa.Array, path: Path) -> None:
    """A file whose schema says ``column``'s type, where pyarrow itself cannot write the views in it."""
    schema = pa.schema([pa.field("c", column.type)])
    storage = pa.array(column.to_pylist(), without_views(column.type))
    with pq.ParquetWriter(path, pa.schema([("c", storage.type)]), store_schema=False) as writer:
        writer.write_table(pa.table({"c": storage}))
        writer.add_key_value_metadata({"ARROW:schema": base64.b64encode(schema.serialize().to_pybytes())})


def without_views(kind: Any) -> Any:
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, without_views(field.type)) for field in kind])
    for is_kind, make in ((pa.types.is_list, pa.list_), (pa.types.is_list_view, pa.list_view)):
        if is_kind(kind):
            return make(pa.field(kind.value_field.name, without_views(kind.value_type)))
    return pa.string() if kind == VIEW else kind


def test_views_in_lists_of_structs_as_others_write_them(tmp_path: Path) -> None:
    kind = pa.struct([("a", VIEW), ("b", pa.list_(pa.struct([("x", VIEW)])))])
    column = pa.array([values_of(kind, i) for i in range(N)], kind)
    as_others_write_it(column, tmp_path / "a.parquet")
    check_columns(tmp_path / "a.parquet")
    copy = io.BytesIO()
    keep = np.arange(N) % 3 > 0
    assert copy_parquet_rows(tmp_path / "a.parquet", keep, copy) == keep.sum()
    assert_same(copy, tmp_path / "a.parquet", np.flatnonzero(keep).tolist())


def refused(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The error of `dedup`, which must come before it has done anything."""
    assert run(["dedup", str(path), "-o", str(path.parent / "kept")]) == 3
    assert not (path.parent / "kept").exists()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_list_views_of_views_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    column = pa.array([[f"value {i}"] for i in range(N)], pa.list_view(VIEW))
    as_others_write_it(column, tmp_path / "a.parquet")
    assert "a.parquet: column 'c' holds list_view<" in refused(tmp_path / "a.parquet", capsys)


def test_int96_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    when = pa.array([0, None], pa.int64()).cast(pa.timestamp("us"))
    table = pa.table({"text": ["a", "b"], "meta": pa.StructArray.from_arrays([when], ["when"])})
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    assert "column 'meta.when' holds INT96" in refused(tmp_path / "a.parquet", capsys)


@pytest.mark.parametrize(
    ("value", "kind"),
    [("interval 1 day", "Interval"), ("time '10:00:00+02'::timetz", "Time(isAdjustedToUTC=true")],
)
def test_annotations_that_arrow_does_not_know_are_refused_by_name(
    value: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    duckdb = pytest.importorskip("duckdb")
    others = "uuid() as u, '{}'::JSON as j, 'a'::enum('a', 'b') as e, map{'a': 1} as m, 1::utinyint as n"
    for name, more in (("good", ""), ("bad", f", {value} as c")):
        duckdb.sql(f"copy (select 'one two' as text, {others}{more}) to '{tmp_path}/{name}.parquet'")
    check_columns(tmp_path / "good.parquet")
    copy = io.BytesIO()
    copy_parquet_rows(tmp_path / "good.parquet", np.array([True]), copy)
    assert_same(copy, tmp_path / "good.parquet", [0])
    assert f"column 'c' holds {kind}" in refused(tmp_path / "bad.parquet", capsys)


@pytest.mark.parametrize("kind", ["large", "categorical"])
def test_a_table_that_polars_wrote(kind: str, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    column = {"large": ["x", None], "categorical": polars.Series(["x", None], dtype=polars.Categorical)}[kind]
    frame = polars.DataFrame({"text": ["one", "two"], "c": column, "nested": [[{"a": "b"}], None]})
    frame.write_parquet(tmp_path / "a.parquet")
    check_columns(tmp_path / "a.parquet")
    copy = io.BytesIO()
    copy_parquet_rows(tmp_path / "a.parquet", np.array([False, True]), copy)
    assert_same(copy, tmp_path / "a.parquet", [1])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1\x15 and no more")
    with pytest.raises(DataError, match=r"a\.parquet: not a readable Parquet file"):
        check_columns(tmp_path / "a.parquet")
