"""The tables of a deduplication: removed documents, each with its partner, and skipped records."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pile_tools.formats.npy import NpyFile
from pile_tools.stages.dedup.work_files import CorpusFiles, read_info
from pile_tools.storage.atomic import atomic_write

__all__ = [
    "DEDUP_NAME",
    "DEDUP_SCHEMA",
    "SKIPPED_NAME",
    "SKIPPED_SCHEMA",
    "write_removed",
    "write_skipped",
]

DEDUP_NAME = "dedup.parquet"
DEDUP_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("duplicate_of_shard", pa.string(), nullable=False),
        pa.field("duplicate_of_row", pa.int64(), nullable=False),
        pa.field("jaccard", pa.float64()),
        pa.field("component", pa.int64(), nullable=False),
    ]
)
"""One row for each removed document, in corpus order."""

SKIPPED_NAME = "skipped.parquet"
SKIPPED_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
"""One row for each record that was skipped on request, in corpus order."""

_ROWS_AT_ONCE = 1 << 18


def _decisions(files: CorpusFiles) -> Iterator[NDArray[Any]]:
    file = NpyFile.open(files.paths.decision)
    for start in range(0, len(file), _ROWS_AT_ONCE):
        yield file.read(start, min(start + _ROWS_AT_ONCE, len(file)))


def _write_table(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    with (
        atomic_write(path) as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for table in tables:
            writer.write_table(table)


def _array(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """An Arrow array over ``values``, null where not ``valid``; `pa.array` would import pandas for it."""
    mask = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [mask, data])


def _strings(values: list[str]) -> pa.Array:
    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = (pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))
    return pa.StringArray.from_buffers(len(values), *buffers)


def _removed_tables(files: CorpusFiles, names: list[str]) -> Iterator[pa.Table]:
    for decisions in _decisions(files):
        columns = []
        for field in ("document", "partner"):
            ids, back = np.unique(decisions[field], return_inverse=True)
            rows = files.gather(ids, "row")
            shards = pa.DictionaryArray.from_arrays(_array(files.shard_of(ids)[back]), _strings(names))
            columns += [shards.cast(pa.string()), _array(rows[back])]
        verified = decisions["union"] > 0
        similarity = decisions["common"] / np.where(verified, decisions["union"], 1)
        columns += [_array(similarity, verified), _array(decisions["component"])]
        yield pa.Table.from_arrays(columns, schema=DEDUP_SCHEMA)


def write_removed(files: CorpusFiles, names: list[str], path: Path) -> None:
    """Write ``dedup.parquet``; ``names`` are those of all shards, a compared corpus's first."""
    _write_table(path, DEDUP_SCHEMA, _removed_tables(files, names))


def write_skipped(files: CorpusFiles, names: list[str], path: Path) -> None:
    """Write ``skipped.parquet`` for the shards after those of a compared corpus."""

    def tables() -> Iterator[pa.Table]:
        for index in range(files.n_against_shards, files.n_shards):
            skipped = read_info(files.paths.info(index))["skipped"]
            rows, reasons = [row for row, _ in skipped], [reason for _, reason in skipped]
            columns = [
                pa.array([names[index]] * len(rows), pa.string()),
                pa.array(rows, pa.int64()),
                pa.array(reasons, pa.string()),
            ]
            if rows:
                yield pa.Table.from_arrays(columns, schema=SKIPPED_SCHEMA)

    _write_table(path, SKIPPED_SCHEMA, tables())
