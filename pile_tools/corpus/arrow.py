"""Documents out of an Arrow IPC shard (``.arrow``, as `datasets` writes it), and its rows kept as Parquet.

Both forms are read: streams and files. Neither has checksums, so what is read is checked for being
whole: a stream must end with its mark, and offsets must lead into their data.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pile_tools.corpus.columns import BATCH_ROWS, batch_documents, batch_text, field_columns, first_line
from pile_tools.corpus.file_magic import check_magic
from pile_tools.corpus.parquet_copy import (
    keep_rows,
    open_writer,
    refuse_column,
    schema_metadata,
    try_schema,
)
from pile_tools.corpus.records import DocumentBatch, RecordReader
from pile_tools.corpus.shard import Shard
from pile_tools.corpus.shard_copy import check_rows
from pile_tools.corpus.shard_formats import FORMATS
from pile_tools.errors import DataError

__all__ = ["check_copy", "copy_rows", "documents", "text"]

_FILE_MAGIC: Final = b"ARROW1"
_CONTINUATION: Final = b"\xff\xff\xff\xff"
# After the last batch of a stream; those of Arrow before 0.15 have no continuation.
_END: Final = bytes(4)


@contextmanager
def _open(path: Path) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """Open a shard and give its schema and batches. Raises DataError for damaged data, there and later."""
    check_magic(path, FORMATS[".arrow"])
    try:
        # Mapped: one batch may be larger than memory, and of one that is passed over nothing is read.
        with pa.memory_map(str(path)) as source:
            head = source.read(8)
            source.seek(0)
            if head.startswith(_FILE_MAGIC):
                file = pa.ipc.open_file(source)
                yield file.schema, (file.get_batch(index) for index in range(file.num_record_batches))
            else:
                stream = pa.ipc.open_stream(source)
                yield stream.schema, _stream_batches(path, source, stream, head)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and path.stat().st_size:
            raise
        raise DataError(f"{path}: damaged Arrow data ({first_line(error)}); fetch the file again") from None


def _stream_batches(
    path: Path, source: pa.MemoryMappedFile, stream: pa.RecordBatchStreamReader, head: bytes
) -> Iterator[pa.RecordBatch]:
    yield from stream
    size, end = source.size(), source.tell()
    mark = _CONTINUATION + _END if head.startswith(_CONTINUATION) else _END
    source.seek(max(0, size - len(mark)))
    if end != size or source.read() != mark:
        problem = "bytes behind the end of its stream" if end < size else "truncated, its stream does not end"
        raise DataError(f"{path}: {problem}; fetch the file again")


def _check_values(path: Path, batch: pa.RecordBatch) -> None:
    """Raise DataError where offsets of a batch lead out of its data. Invalid UTF-8 is repaired later."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                problem = f"damaged Arrow data in column {name!r} ({first_line(error)})"
                raise DataError(f"{path}: {problem}; fetch the file again") from None


def _select(batch: pa.RecordBatch, *fields: str) -> pa.RecordBatch:
    wanted = set(field_columns(batch.schema.names, *fields))
    return batch.select([index for index, name in enumerate(batch.schema.names) if name in wanted])


def documents(reader: RecordReader) -> Iterator[DocumentBatch]:
    """Yield the documents of ``reader.shard``, counting into ``reader``.

    Raises DataError for a damaged file, RecordsError for one without a string column ``reader.text_field``.
    """
    with _open(reader.shard.path) as (schema, batches):
        for batch in batches:
            columns = _select(batch, reader.text_field, reader.source_field)
            _check_values(reader.shard.path, columns)
            for start in range(0, len(batch), BATCH_ROWS):
                yield from batch_documents(reader, schema.names, columns.slice(start, BATCH_ROWS))


def text(reader: RecordReader, row: int) -> bytes:
    """Return the text in ``row`` of ``reader.shard``; NoDocumentError where there is none."""
    with _open(reader.shard.path) as (schema, batches):
        start = 0
        for batch in batches:
            if row < start + len(batch):
                columns = _select(batch.slice(row - start, 1), reader.text_field)
                _check_values(reader.shard.path, columns)
                return batch_text(reader, schema.names, columns, 0, row)
            start += len(batch)
    raise reader.no_document(row, f"no such row of {start}")


def _writer(target: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    return open_writer(target, schema, {**(schema.metadata or {}), **schema_metadata(schema)})


def copy_rows(shard: Shard, keep: NDArray[np.bool_], file: BinaryIO) -> int:
    """Write the rows for which ``keep`` (bool, [rows]) is true as Parquet, a row group for each batch."""
    row = copied = 0
    with _open(shard.path) as (schema, batches), _writer(file, schema) as writer:
        for batch in batches:
            _check_values(shard.path, batch)
            stop = row + len(batch)
            check_rows(shard, max(stop, len(keep)), keep)
            kept = keep_rows(pa.Table.from_batches([batch]), keep[row:stop])
            if kept.num_rows:
                writer.write_table(kept, row_group_size=kept.num_rows)
            row, copied = stop, copied + kept.num_rows
    check_rows(shard, row, keep)
    return copied


def _same_values(kind: pa.DataType, copy: pa.DataType) -> bool:
    """Whether Parquet's type ``copy`` has the values of ``kind``.

    Parquet has no seconds, which become milliseconds, and no large strings in dictionaries.
    """
    if kind.equals(copy):
        return True
    types = pa.types
    if types.is_dictionary(kind) and types.is_dictionary(copy):
        strings = (types.is_large_string(kind.value_type), types.is_string(copy.value_type))
        return bool(kind.index_type.equals(copy.index_type)) and all(strings)
    if types.is_timestamp(kind) and types.is_timestamp(copy):
        return bool(kind.unit == "s" and copy.unit == "ms" and kind.tz == copy.tz)
    if types.is_time32(kind) and types.is_time32(copy):
        return bool(kind.unit == "s" and copy.unit == "ms")
    return (
        kind.id == copy.id
        and 0 < kind.num_fields == copy.num_fields
        and all(_same_values(kind.field(i).type, copy.field(i).type) for i in range(kind.num_fields))
    )


def check_copy(path: Path) -> None:
    """Raise DataError for a column of an Arrow shard that Parquet would not give back as it is."""
    with _open(path) as (schema, _):
        for field in schema:
            alone = pa.schema([field])
            copy = try_schema(alone, lambda target, own=alone: _writer(target, own))  # type: ignore[misc]
            if copy is None or not _same_values(field.type, copy.schema_arrow.field(0).type):
                refuse_column(path, field.name, str(field.type))
