"""A Parquet file that keeps some rows of another: all columns, types and metadata as they are.

Arrow can neither filter nor slice its view types (``string_view``, ``binary_view``; pyarrow 26). Their
columns are read as the large type of the same bytes, and written under the Arrow schema of the original,
which says that they are views. A column that would not come back as it was is refused by name.
"""

import base64
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pile_tools.corpus.columns import first_line
from pile_tools.corpus.parquet import open_parquet_shard
from pile_tools.corpus.shard import Shard
from pile_tools.corpus.shard_copy import check_rows
from pile_tools.errors import DataError

__all__ = [
    "check_copy",
    "copy_rows",
    "keep_rows",
    "open_writer",
    "refuse_column",
    "schema_metadata",
    "try_schema",
]

_ARROW_SCHEMA: Final = b"ARROW:schema"
# Annotations that say no more than the physical type, or that Arrow's type says too.
_PLAIN: Final = {"None", "Int", "String", "Decimal", "Timestamp", "Date", "List", "Map"}
_GROUP: Final = re.compile(r"\((\w+)[^()]*\) \{$", re.MULTILINE)


def copy_rows(shard: Shard, keep: NDArray[np.bool_], file: BinaryIO) -> int:
    """Write the rows of ``shard`` for which ``keep`` (bool, [rows]) is true; return how many.

    A row group stays one. Raises DataError for damaged data.
    """
    source = open_parquet_shard(shard.path)
    check_rows(shard, source.metadata.num_rows, keep)
    start = copied = 0
    with _copy_writer(file, source, source.schema_arrow) as writer:
        for group in range(source.metadata.num_row_groups):
            try:
                table = source.read_row_group(group)
            except (pa.ArrowException, OSError) as error:
                raise DataError(
                    f"{shard.path}: damaged Parquet data ({first_line(error)}); fetch the file again"
                ) from None
            kept = keep_rows(table, keep[start : start + table.num_rows])
            start += table.num_rows
            if kept.num_rows:
                writer.write_table(kept, row_group_size=kept.num_rows)
                copied += kept.num_rows
    return copied


def check_copy(path: Path) -> None:
    """Raise DataError for a column of a Parquet shard that `copy_rows` would change."""
    file = open_parquet_shard(path)
    for index in range(len(file.schema)):
        column = file.schema.column(index)
        if column.physical_type == "INT96":
            refuse_column(path, column.path, "INT96 timestamps, which wrap before 1678 and after 2261")
    copy = _empty_copy(file, file.schema_arrow)
    if copy is None or not copy.schema_arrow.equals(file.schema_arrow, check_metadata=True):
        for field in file.schema_arrow:
            own = pa.schema([field])
            alone = _empty_copy(file, own)
            if alone is None or not alone.schema_arrow.equals(own):
                refuse_column(path, field.name, str(field.type))
        refuse_column(path, ", ".join(file.schema_arrow.names), "metadata")
    lost = _annotations(file) - _annotations(copy)
    for index in range(len(file.schema)):
        column = file.schema.column(index)
        if _annotation(column) in lost:
            refuse_column(path, column.path, str(column.logical_type))
    if lost:
        refuse_column(path, ", ".join(file.schema_arrow.names), f"groups of type {', '.join(lost)}")


def refuse_column(path: Path, column: str, kind: str) -> NoReturn:
    """Raise DataError for a column that would not come back as it was."""
    raise DataError(
        f"{path}: column {column!r} holds {kind}, and its rows cannot be written again as they are; cast the "
        "column or remove it"
    )


def _empty_copy(file: pq.ParquetFile, schema: pa.Schema) -> pq.ParquetFile | None:
    """A copy of columns of ``file`` with no rows; None where Arrow cannot filter or write their types."""
    return try_schema(schema, lambda target: _copy_writer(target, file, schema))


def try_schema(
    schema: pa.Schema, make_writer: Callable[[BinaryIO], pq.ParquetWriter]
) -> pq.ParquetFile | None:
    """Return a Parquet file of ``schema`` with no rows; None where Arrow cannot filter or write it."""
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    example = pa.Table.from_arrays([pa.nulls(2, field.type) for field in schema], schema=nullable)
    content = io.BytesIO()
    try:
        keep_rows(example, np.array([True, False]))
        make_writer(content).close()
        content.seek(0)
        return pq.ParquetFile(content)
    except (pa.ArrowException, NotImplementedError):
        return None


def _annotation(column: Any) -> str:
    """The logical type of a Parquet column, where Arrow's type does not say it."""
    name = str(column.logical_type).partition("(")[0]
    in_utc = name == "Time" and "isAdjustedToUTC=true" in str(column.logical_type)
    return "" if name in _PLAIN or (name == "Time" and not in_utc) else name


def _annotations(file: pq.ParquetFile) -> Counter[str]:
    columns = Counter(_annotation(file.schema.column(index)) for index in range(len(file.schema)))
    groups = Counter(_GROUP.findall(str(file.schema)))
    both = columns + groups
    return Counter({name: count for name, count in both.items() if name and name not in _PLAIN})


def keep_rows(table: pa.Table, keep: NDArray[np.bool_]) -> pa.Table:
    """Return the rows of ``table`` for which ``keep`` is true, views as the types that stand for them."""
    plain = _without_views(table.schema)
    # An unchanged column is not cast at all: pyarrow 26 casts list views that begin at an offset wrongly.
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(table.columns, plain, strict=True)
    ]
    table = pa.Table.from_arrays(columns, schema=plain)
    return table if keep.all() else table.filter(pa.array(keep))


def _copy_writer(target: BinaryIO, source: pq.ParquetFile, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer of columns of ``source``, which says of their Arrow types what ``source`` says."""
    groups = source.metadata.num_row_groups
    columns = source.metadata.num_columns
    codec = source.metadata.row_group(0).column(0).compression.lower() if groups and columns else "zstd"
    metadata = dict(source.metadata.metadata or {})
    if _ARROW_SCHEMA in metadata and not schema.equals(source.schema_arrow):
        metadata |= schema_metadata(schema)
    return open_writer(target, schema, metadata, "none" if codec == "uncompressed" else codec)


def schema_metadata(schema: pa.Schema) -> dict[bytes, bytes]:
    """Return the metadata by which a Parquet file says what its Arrow types are."""
    return {_ARROW_SCHEMA: base64.b64encode(schema.serialize().to_pybytes())}


def open_writer(
    target: BinaryIO, schema: pa.Schema, metadata: Mapping[bytes, bytes], codec: str = "zstd"
) -> pq.ParquetWriter:
    """Return a writer of columns ``schema``, for tables of `keep_rows`, whose file has ``metadata`` alone."""
    writer = pq.ParquetWriter(
        target,
        _without_views(schema),
        compression=codec,
        write_page_checksum=True,
        # Without the schema that Arrow would store, it writes no metadata of its own.
        store_schema=False,
    )
    if metadata:
        writer.add_key_value_metadata(metadata)
    return writer


def _without_views(schema: pa.Schema) -> pa.Schema:
    return pa.schema([_plain_field(field) for field in schema], metadata=schema.metadata)


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(_plain_type(field.type))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type with large strings and binaries for views, at any depth."""
    types = pa.types
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return pa.large_string() if types.is_string_view(kind) else pa.large_binary()
    if types.is_struct(kind):
        return pa.struct([_plain_field(kind.field(i)) for i in range(kind.num_fields)])
    if types.is_map(kind):
        return pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field), kind.keys_sorted)
    if types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field), kind.list_size)
    for is_list, make in (
        (types.is_list, pa.list_),
        (types.is_large_list, pa.large_list),
        (types.is_list_view, pa.list_view),
        (types.is_large_list_view, pa.large_list_view),
    ):
        if is_list(kind):
            return make(_plain_field(kind.value_field))
    return kind
