"""Parquet tables of ours: read strictly, schema first and then values, and written whole or not at all."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from pile_tools.errors import DataError, MissingFileError, PileToolsError
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.names import check_name

__all__ = [
    "BATCH_SIZE_KEY",
    "FIRST_STEP_KEY",
    "STREAM_KEY",
    "check_names",
    "check_values",
    "open_table",
    "read_table",
    "readable",
    "write_table",
]

# Metadata of tables that count by checkpoint: the step from which on they count and the sequences of a step,
# in decimal digits, and the identity of the stream.
FIRST_STEP_KEY: Final = b"pile_tools_first_step"
BATCH_SIZE_KEY: Final = b"pile_tools_batch_size"
STREAM_KEY: Final = b"pile_tools_stream"

TableFile: TypeAlias = str | os.PathLike[str] | BinaryIO | Any
"""A path, a binary file that can seek, or a buffer reader of Arrow, for which mypy has no type."""


@contextmanager
def readable(name: str, remedy: str) -> Iterator[None]:
    """Turn what Arrow raises for a damaged Parquet file into a DataError that names the file ``name``.

    A file that does not exist is a MissingFileError.
    """
    try:
        yield
    except FileNotFoundError:
        raise MissingFileError(f"{name}: no such file; {remedy}") from None
    except PileToolsError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).split("\n")[0].rstrip(".")[:200]
        raise DataError(f"{name}: not a readable Parquet file ({reason}); {remedy}") from None


def open_table(source: TableFile, schema: pa.Schema, name: str, remedy: str) -> pq.ParquetFile:
    """Open a Parquet file that has the columns of ``schema``, in any order and perhaps beside others.

    Checksums of its pages are verified as they are read. Where the schema has texts, the file may have them
    by dictionary or with 64-bit offsets. Raises DataError for any other file.
    """
    with readable(name, remedy):
        file = pq.ParquetFile(source, page_checksum_verification=True)
        present = file.schema_arrow
        names = present.names
    for field in schema:
        if names.count(field.name) != 1:
            problem = "is missing" if field.name not in names else "is there twice"
            raise DataError(f"{name}: column {field.name!r} {problem}; {remedy}")
        kind = present.field(names.index(field.name)).type
        if kind != field.type and not (pa.types.is_string(field.type) and _is_text(kind)):
            raise DataError(f"{name}: column {field.name!r} holds {kind}, not {field.type}; {remedy}")
    return file


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def check_values(table: pa.Table | pa.RecordBatch, schema: pa.Schema, name: str, remedy: str) -> None:
    """Raise DataError for values that Arrow cannot hold, and for nulls where ``schema`` has none."""
    with readable(name, remedy):
        table.validate(full=True)
    for column in table.schema.names:
        field = schema.field(column)
        if not field.nullable and table.column(column).null_count:
            raise DataError(f"{name}: column {column!r} holds nulls; {remedy}")


def check_names(table: pa.Table, columns: Sequence[str], name: str) -> None:
    """Raise DataError for the first text in ``columns`` that could not be the name of a file."""
    for column in columns:
        for text in table.column(column).unique().to_pylist():
            if text is not None:
                check_name(text, name)


def read_table(
    source: TableFile,
    schema: pa.Schema,
    *,
    remedy: str,
    name: str | None = None,
    columns: Sequence[str] | None = None,
    filters: Any = None,
) -> pa.Table:
    """Read the rows of a Parquet file of ``schema``, or its ``columns`` alone, that ``filters`` let through.

    The table keeps the metadata of the file. ``name`` is that of the file where ``source`` is not a path.
    Raises DataError, which ends with ``remedy``, for a damaged file, a column that is missing or of another
    type, and a null where there is none.
    """
    name = str(source) if name is None else name
    wanted = list(columns or schema.names)
    open_table(source, schema, name, remedy).close(force=isinstance(source, str | Path))
    with readable(name, remedy):
        table: pa.Table = pq.read_table(
            source, columns=wanted, filters=filters, page_checksum_verification=True, memory_map=False
        )
    check_values(table, schema, name, remedy)
    return table


def write_table(path: str | os.PathLike[str], table: pa.Table) -> None:
    """Write ``table`` to the Parquet file ``path``."""
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)
