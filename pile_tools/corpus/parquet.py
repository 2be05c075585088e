"""Documents out of a Parquet shard, by columns."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pile_tools.corpus.columns import BATCH_ROWS, batch_documents, batch_text, field_columns, first_line
from pile_tools.corpus.file_magic import check_magic
from pile_tools.corpus.records import DocumentBatch, RecordReader
from pile_tools.corpus.shard_formats import FORMATS
from pile_tools.errors import DataError

__all__ = ["documents", "open_parquet_shard", "text"]


def open_parquet_shard(path: Path) -> pq.ParquetFile:
    """Open a Parquet shard; page checksums are verified where present.

    Raises DataError for a file that is none.
    """
    check_magic(path, FORMATS[".parquet"])
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file cannot be reached; what it holds is not the matter
        raise DataError(
            f"{path}: not a readable Parquet file ({first_line(error)}); fetch the file again"
        ) from None


def _batches(
    path: Path, file: pq.ParquetFile, columns: Sequence[str], groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the row groups ``groups`` (None for all); DataError for damaged data."""
    batches = file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path}: damaged Parquet data ({first_line(error)}); fetch the file again"
            ) from None
        if batch is None:
            return
        yield batch


def documents(reader: RecordReader) -> Iterator[DocumentBatch]:
    """Yield the documents of ``reader.shard``, counting into ``reader``.

    Raises DataError for a damaged file, RecordsError for one without a string column ``reader.text_field``.
    """
    file = open_parquet_shard(reader.shard.path)
    names = file.schema_arrow.names
    columns = field_columns(names, reader.text_field, reader.source_field)
    for batch in _batches(reader.shard.path, file, columns):
        yield from batch_documents(reader, names, batch)


def text(reader: RecordReader, row: int) -> bytes:
    """Return the text in ``row`` of ``reader.shard``, from its row group; NoDocumentError without one."""
    path = reader.shard.path
    file = open_parquet_shard(path)
    names = file.schema_arrow.names
    start = 0
    for group in range(file.metadata.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        if start <= row < stop:
            for batch in _batches(path, file, field_columns(names, reader.text_field), [group]):
                if row < start + len(batch):
                    return batch_text(reader, names, batch, row - start, row)
                start += len(batch)
        start = stop
    raise reader.no_document(row, f"no such row of {start}")
