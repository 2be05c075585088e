"""Documents out of Arrow columns: texts and sources of record batches, whatever file they are from."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pile_tools.corpus.records import DocumentBatch, RecordReader, repair_utf8
from pile_tools.errors import DataError, RecordsError

__all__ = ["BATCH_ROWS", "batch_documents", "batch_text", "field_columns", "first_line"]

BATCH_ROWS = 1024
"""Rows that are looked at together."""


def first_line(error: Exception) -> str:
    """Return the first line of Arrow's message."""
    return str(error).split("\n")[0].rstrip(".")


def field_columns(names: Sequence[str], *fields: str) -> list[str]:
    """Return those of the column ``names`` that ``fields`` may be in."""
    wanted = {name for field in fields for name in (field, field.split(".")[0])}
    return [name for name in names if name in wanted]


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


def _text_column(reader: RecordReader, names: Sequence[str], batch: pa.RecordBatch) -> pa.Array:
    texts = _column(reader.shard.path, batch, reader.text_field)
    plain = None if texts is None else _joined(texts) if _is_list(texts.type) else _plain(texts)
    if plain is None:
        problem = "is missing" if texts is None else f"holds {texts.type}, not strings"
        hint = reader.name_text("columns", names)
        raise RecordsError(f"{reader.shard.path}: column {reader.text_field!r} {problem}; {hint}")
    return plain


def batch_text(
    reader: RecordReader, names: Sequence[str], batch: pa.RecordBatch, index: int, row: int
) -> bytes:
    """Return the text in row ``index`` of a batch, ``row`` of the shard; NoDocumentError without one."""
    value = _text_column(reader, names, batch)[index].as_py()
    if value is None:
        raise reader.no_document(row, f"no text in column {reader.text_field!r}")
    if reader.is_oversized(len(value)):
        raise reader.no_document(row, f"a text of {len(value)} bytes")
    return _repair(reader, value)


def batch_documents(
    reader: RecordReader, names: Sequence[str], batch: pa.RecordBatch
) -> Iterator[DocumentBatch]:
    """Yield the documents of a batch of ``reader.shard``, counting into ``reader``.

    ``names`` are all columns of the shard. Raises RecordsError without one of strings ``reader.text_field``.
    """
    texts = _text_column(reader, names, batch)
    sources = _column(reader.shard.path, batch, reader.source_field)
    first = reader.counts.rows
    reader.counts.rows += len(texts)
    valid = texts.is_valid().to_numpy(zero_copy_only=False)
    wanted = reader.wanted(first, len(texts))
    keep = np.ones(len(texts), dtype=np.bool_) if wanted is None else wanted
    for index in np.flatnonzero(keep & ~valid).tolist():
        reader.bad_record(
            first + index, f"no text in column {reader.text_field!r}", reader.name_text("columns", names)
        )
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
    source_names: list[str | None] = [None] * len(kept)
    if plain is not None:
        source_names = [
            None if name is None else name.decode("utf-8", "replace")
            for name in plain.take(pa.array(kept)).to_pylist()
        ]
    repaired = [_repair(reader, value) for value in values]
    yield reader.make_batch((kept + first).tolist(), repaired, source_names)


def _repair(reader: RecordReader, value: bytes) -> bytes:
    try:
        value.decode()
    except UnicodeDecodeError:
        text, replaced = repair_utf8(value)
        reader.repaired(replaced)
        return text.encode()
    return value
