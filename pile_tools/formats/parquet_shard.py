"""Documents out of a Parquet shard, by columns."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pile_tools.errors import DataError, RecordsError
from pile_tools.formats.file_magic import check_magic
from pile_tools.formats.utf8 import repair_utf8

if TYPE_CHECKING:
    from pile_tools.formats.documents import DocumentBatch, ShardReader

__all__ = ["open_parquet", "parquet_documents", "parquet_text"]

_BATCH_ROWS = 1024


def open_parquet(path: object) -> pq.ParquetFile:
    """Open a Parquet file; a file that is none is a DataError. Page checksums are verified where present."""
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file cannot be reached; what it holds is not the matter
        raise DataError(
            f"{path}: not a readable Parquet file ({_brief(error)}); fetch the file again"
        ) from None


def open_parquet_shard(path: Path) -> pq.ParquetFile:
    """Open a Parquet shard; a file that holds something else than its name says is a DataError."""
    check_magic(path, ".parquet")
    return open_parquet(path)


def _brief(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(".")


def _columns(file: pq.ParquetFile, *fields: str) -> list[str]:
    """Names of the columns that ``fields`` may be in."""
    wanted = {name for field in fields for name in (field, field.split(".")[0])}
    return [name for name in file.schema_arrow.names if name in wanted]


def _column(path: Path, batch: pa.RecordBatch, field: str) -> pa.Array | None:
    """The column called ``field``, or else the one at that dotted path, through structs and lists.

    None where there is neither; an element that a list does not have is null.

    Raises DataError where a name on the way is that of several columns.
    """
    name, *rest = [field] if field in batch.schema.names else field.split(".")
    if (count := batch.schema.names.count(name)) == 0:
        return None
    _check_single(path, name, count)
    column = batch.column(name)
    for part in rest:
        if _is_list(column.type) and part.isascii() and part.isdecimal():
            column = _element(column, int(part))
            continue
        is_struct = pa.types.is_struct(column.type)
        names = [column.type.field(i).name for i in range(column.type.num_fields)] if is_struct else []
        if (count := names.count(part)) == 0:
            return None
        _check_single(path, field, count)
        column = pc.struct_field(column, part)
    return column


def _check_single(path: Path, name: str, count: int) -> None:
    if count > 1:
        raise DataError(f"{path}: {count} columns called {name!r}; rename all but one")


def _is_list(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    views = (pa.types.is_list_view, pa.types.is_large_list_view)
    return any(is_kind(kind) for is_kind in (*kinds, *views))


def _element(column: pa.Array, index: int) -> pa.Array:
    """Element ``index`` of each list, null where a list is shorter."""
    return pc.list_element(pc.list_slice(column, index, index + 1, return_fixed_size_list=True), 0)


def _joined(column: pa.Array) -> pa.Array | None:
    """Lists of strings joined by newlines, null for one with a null in it; None for other values.

    By way of `flatten`: a cast of list views to lists gives wrong values where they begin at an offset
    (pyarrow 26).
    """
    strings = _plain(column.flatten())
    if strings is None:
        return None
    parts = iter(strings.to_pylist())
    lists = [
        None if length is None else [next(parts) for _ in range(length)]
        for length in pc.list_value_length(column).to_pylist()
    ]
    return pa.array(
        [None if texts is None or None in texts else b"\n".join(texts) for texts in lists],
        pa.large_binary(),
    )


def _plain(column: pa.Array) -> pa.Array | None:
    """The column as large binary; None where its values are no strings."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    strings = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    binaries = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    if not any(is_kind(kind) for is_kind in (*strings, *binaries)):
        return None
    if kind is not column.type:
        column = column.cast(kind)
    return column.cast(pa.large_binary())


def parquet_documents(reader: "ShardReader") -> Iterator["DocumentBatch"]:
    """Yield the documents of ``reader.shard``, counting into ``reader``.

    Raises DataError for a damaged file, RecordsError for one without a string column ``reader.text_field``.
    """
    path = reader.shard.path
    file = open_parquet_shard(path)
    columns = _columns(file, reader.text_field, reader.source_field)
    hint = reader.name_text("columns", file.schema_arrow.names)
    batches = file.iter_batches(batch_size=_BATCH_ROWS, columns=columns)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: damaged Parquet data ({_brief(error)}); fetch the file again") from None
        if batch is None:
            return
        texts = _text_column(reader, file, batch)
        sources = _column(path, batch, reader.source_field)
        yield from _documents_of_batch(reader, texts, sources, hint)


def _text_column(reader: "ShardReader", file: pq.ParquetFile, batch: pa.RecordBatch) -> pa.Array:
    texts = _column(reader.shard.path, batch, reader.text_field)
    plain = None if texts is None else _joined(texts) if _is_list(texts.type) else _plain(texts)
    if plain is None:
        problem = "is missing" if texts is None else f"holds {texts.type}, not strings"
        raise RecordsError(
            f"{reader.shard.path}: column {reader.text_field!r} {problem}; "
            f"{reader.name_text('columns', file.schema_arrow.names)}"
        )
    return plain


def parquet_text(reader: "ShardReader", row: int) -> bytes | None:
    """Return the text in ``row`` of ``reader.shard``, reading its row group only; None where it is null.

    Raises DataError for a row that the file does not have.
    """
    path = reader.shard.path
    file = open_parquet_shard(path)
    start = 0
    for group in range(file.metadata.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        if start <= row < stop:
            columns = _columns(file, reader.text_field)
            try:
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns):
                    if row < start + len(batch):
                        value = _text_column(reader, file, batch)[row - start].as_py()
                        return None if value is None else _repair(reader, value)
                    start += len(batch)
            except (pa.ArrowException, OSError) as error:
                raise DataError(
                    f"{path}: damaged Parquet data ({_brief(error)}); fetch the file again"
                ) from None
        start = stop
    raise DataError(f"{path}: no row {row} of {file.metadata.num_rows}; it is not the file that was read")


def _documents_of_batch(
    reader: "ShardReader", texts: pa.Array, sources: pa.Array | None, hint: str
) -> Iterator["DocumentBatch"]:
    first = reader.counts.rows
    reader.counts.rows += len(texts)
    valid = texts.is_valid().to_numpy(zero_copy_only=False)
    wanted = reader.wanted(first, len(texts))
    keep = np.ones(len(texts), dtype=np.bool_) if wanted is None else wanted
    for index in np.flatnonzero(keep & ~valid).tolist():
        reader.bad_record(first + index, f"no text in column {reader.text_field!r}", hint)
    keep &= valid
    if reader.max_record_bytes is not None:
        lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
        large = keep & (lengths > reader.max_record_bytes)
        for index in np.flatnonzero(large).tolist():
            reader.oversized_record(first + index)
        keep &= ~large
    kept = np.flatnonzero(keep)
    if not len(kept):
        return
    values: list[bytes] = texts.take(pa.array(kept)).to_pylist()
    plain = None if sources is None else _plain(sources)
    names: list[str | None] = [None] * len(kept)
    if plain is not None:
        names = [
            None if name is None else name.decode("utf-8", "replace")
            for name in plain.take(pa.array(kept)).to_pylist()
        ]
    repaired = [_repair(reader, value) for value in values]
    yield reader.make_batch((kept + first).tolist(), repaired, names)


def _repair(reader: "ShardReader", value: bytes) -> bytes:
    try:
        value.decode()
    except UnicodeDecodeError:
        text, replaced = repair_utf8(value)
        reader.repaired(replaced)
        return text.encode()
    return value
