"""``documents.parquet``: where each document of a token dataset came from, one row each, in its order.

=================  ==========================  ===========================================================
shard              dictionary<string>          name of the shard that it was read from
row                int64                       its row there, 0-based
source             dictionary<string> or null  the named part of the corpus that it is from
n_tokens           int32                       its tokens in the dataset, an EOD that was appended included
text_xxh3_128      fixed-size binary, 16       XXH3-128 of the UTF-8 text that was tokenised, big endian
=================  ==========================  ===========================================================

Row groups have ``ROW_GROUP_ROWS`` rows, so that one lookup reads some 100 kB of any file. The bytes
depend on the rows alone, not on how they were handed to the writer.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from pile_tools.errors import DataError, MissingFileError, OutOfRangeError, ParameterError
from pile_tools.formats.tables import check_names, check_values, open_table, readable

__all__ = [
    "PROVENANCE_NAME",
    "PROVENANCE_SCHEMA",
    "ROW_GROUP_ROWS",
    "Provenance",
    "ProvenanceWriter",
    "integers",
    "provenance_table",
    "text_digest",
]

PROVENANCE_NAME: Final = "documents.parquet"
ROW_GROUP_ROWS: Final = 1 << 16
_NAMES = pa.dictionary(pa.int32(), pa.string())
PROVENANCE_SCHEMA: Final = pa.schema(
    [
        pa.field("shard", _NAMES, nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("source", _NAMES),
        pa.field("n_tokens", pa.int32(), nullable=False),
        pa.field("text_xxh3_128", pa.binary(16), nullable=False),
    ]
)
_ADDRESS = ("shard", "row", "source", "n_tokens")
_KEPT_GROUPS = 8
_REMEDY: Final = "make or fetch it again"


def text_digest(text: bytes) -> bytes:
    """Return the 16 bytes by which ``documents.parquet`` knows a text: XXH3-128, seed 0, big endian."""
    return xxhash.xxh3_128_digest(text)


def provenance_table(
    shard: str,
    rows: npt.ArrayLike,
    sources: Sequence[str | None],
    n_tokens: npt.ArrayLike,
    digests: Sequence[bytes],
) -> pa.Table:
    """Return rows for the writer: n documents of the one shard that is named ``shard``.

    ``rows`` and ``n_tokens``: integers [n]; ``sources`` and ``digests`` (16 bytes each): length n.
    """
    codes = {name: code for code, name in enumerate(dict.fromkeys(sources))}
    names = [name for name in codes if name is not None]
    if None in codes:  # null is no name in the dictionary
        codes = {None: -1} | {name: code for code, name in enumerate(names)}
    source_codes = np.fromiter((codes[source] for source in sources), np.int32, len(sources))
    columns = [
        pa.DictionaryArray.from_arrays(
            _plain(pa.int32(), np.zeros(len(source_codes), np.int32)), _strings([shard])
        ),
        _plain(pa.int64(), np.ascontiguousarray(rows, np.int64)),
        pa.DictionaryArray.from_arrays(_with_nulls(source_codes), _strings(names)),
        _plain(pa.int32(), np.ascontiguousarray(n_tokens, np.int32)),
        pa.Array.from_buffers(pa.binary(16), len(digests), [None, pa.py_buffer(b"".join(digests))]),
    ]
    return pa.Table.from_arrays(columns, schema=PROVENANCE_SCHEMA)


def integers(table: pa.Table, column: str) -> npt.NDArray[Any]:
    """Return an integer column without nulls of ``table`` as an array of its own type."""
    parts = []
    for chunk in table.column(column).chunks:
        kind = np.dtype(str(chunk.type))
        parts.append(np.frombuffer(chunk.buffers()[1], kind, len(chunk), chunk.offset * kind.itemsize))
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int32), *parts])


# Arrays are made of buffers and taken from them: pyarrow's own conversions import pandas wherever that is
# installed, half a second for each process.
def _plain(kind: pa.DataType, values: npt.NDArray[Any]) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _with_nulls(codes: npt.NDArray[np.int32]) -> pa.Array:
    """Codes with null for −1."""
    valid = pa.py_buffer(np.packbits(codes >= 0, bitorder="little"))
    return pa.Array.from_buffers(pa.int32(), len(codes), [valid, pa.py_buffer(codes)])


def _strings(values: Sequence[str]) -> pa.Array:
    parts = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(parts))]
    return pa.Array.from_buffers(pa.string(), len(parts), buffers)


class ProvenanceWriter:
    """Write ``documents.parquet`` into an open binary file; a context manager. ``rows`` counts them.

    ``schema``: that of the rows, where they have further columns of whole numbers.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema = PROVENANCE_SCHEMA) -> None:
        self.rows = 0
        self._schema = schema
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            use_dictionary=["shard", "source"],
            column_encoding={
                field.name: "DELTA_BINARY_PACKED" for field in schema if pa.types.is_integer(field.type)
            },
            write_page_checksum=True,
        )

    def write(self, table: pa.Table) -> None:
        """Add the rows of ``table``, which has the writer's schema."""
        if not table.schema.equals(self._schema):
            raise ParameterError(f"{PROVENANCE_NAME}: rows with the columns {table.schema.names}")
        self.rows += table.num_rows
        while table.num_rows:
            part = table.slice(0, ROW_GROUP_ROWS - self._held_rows)
            table = table.slice(part.num_rows)
            self._held.append(part)
            self._held_rows += part.num_rows
            if self._held_rows == ROW_GROUP_ROWS:
                self._write_group()

    def _write_group(self) -> None:
        group = pa.concat_tables(self._held).combine_chunks()
        for name in ("shard", "source"):
            # Encoded anew: the dictionary of a group holds the names in it, in the order of their first row.
            place = group.schema.get_field_index(name)
            column = group.column(name).cast(pa.string()).combine_chunks().dictionary_encode()
            group = group.set_column(place, self._schema.field(name), column)
        self._writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
        self._held, self._held_rows = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._held:
            self._write_group()
        self._writer.close()


class Provenance:
    """Read ``documents.parquet`` by document number. ``len()`` is the number of documents.

    ``source`` is a path or a binary file object that can seek (of a remote file, say, then called
    ``name`` in messages); only the row groups that a lookup needs are read, and the last few are kept.
    Raises DataError for a file that is not of this form.
    """

    _schema = PROVENANCE_SCHEMA

    def __init__(self, source: Path | BinaryIO, name: str | None = None) -> None:
        self.name = name or str(source)
        try:
            self._file = open_table(source, self._schema, self.name, _REMEDY)
        except MissingFileError:
            raise MissingFileError(f"{self.name}: no such file; the dataset has no provenance") from None
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._kept: OrderedDict[tuple[int, tuple[str, ...]], pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _group(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        key = (group, columns)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        table = self._read_group(group, columns, use_threads=False)
        self._kept[key] = table
        if len(self._kept) > _KEPT_GROUPS:
            self._kept.popitem(last=False)
        return table

    def _read_group(self, group: int, columns: tuple[str, ...], *, use_threads: bool) -> pa.Table:
        """Read columns of a row group; DataError for values that no such file has."""
        with readable(self.name, _REMEDY):
            table = self._file.read_row_group(group, columns=list(columns), use_threads=use_threads)
        if table.num_rows != self._starts[group + 1] - self._starts[group]:
            rows = self._starts[group + 1] - self._starts[group]
            raise DataError(
                f"{self.name}: not a readable Parquet file (row group {group} holds {table.num_rows} rows, "
                f"not {rows}); {_REMEDY}"
            )
        check_values(table, self._schema, self.name, _REMEDY)
        check_names(table, [name for name in ("shard",) if name in columns], self.name)
        return table

    def _statistics(self, group: int, column: str) -> Any:
        """Return the statistics of ``column`` in a row group, None where there are none with bounds."""
        with readable(self.name, _REMEDY):
            index = self._file.schema_arrow.names.index(column)
            statistics = self._file.metadata.row_group(group).column(index).statistics
            return statistics if statistics is not None and statistics.has_min_max else None

    def lookup(self, documents: npt.ArrayLike, columns: Sequence[str] = _ADDRESS) -> pa.Table:
        """Return the rows of ``documents`` (document numbers, any order, repeats allowed), in their order.

        Raises OutOfRangeError for a number that the dataset does not have.
        """
        groups, rows = self._find(np.atleast_1d(np.asarray(documents, np.int64)))
        if not len(groups):
            return self._schema.empty_table().select(list(columns))
        parts: list[pa.Table] = []
        places: list[npt.NDArray[np.int64]] = []
        for group in np.unique(groups).tolist():
            here = np.flatnonzero(groups == group)
            places.append(here)
            table = self._group(group, tuple(columns))
            parts.append(table.select(list(columns)).take(_plain(pa.int64(), rows[here])))
        joined = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
        return joined.take(_plain(pa.int64(), np.argsort(np.concatenate(places))))

    def _find(self, documents: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return row group and row in it of each of ``documents``; OutOfRangeError for one without a row."""
        outside = documents[(documents < 0) | (documents >= len(self))]
        if len(outside):
            raise OutOfRangeError(
                f"{self.name}: document {outside[0]}, but there are {len(self)} documents, from 0"
            )
        groups = np.searchsorted(self._starts, documents, side="right") - 1
        return groups, documents - self._starts[groups]

    def _number(self, group: int, row: int) -> int:
        """Return the document of row ``row`` of a row group."""
        return int(self._starts[group]) + row

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows in order, a table for each row group."""
        chosen = tuple(columns or self._schema.names)
        for group in range(self._file.metadata.num_row_groups):
            yield self._read_group(group, chosen, use_threads=True)

    def document_of(self, shard: str, row: int) -> int | None:
        """Return the number of the document at (``shard``, ``row``); None where there is none.

        The statistics of the row groups say which of them can hold it, so few are read.
        """
        for group in range(self._file.metadata.num_row_groups):
            with readable(self.name, _REMEDY):
                if any(
                    _excludes(self._statistics(group, column), value)
                    for column, value in (("shard", shard), ("row", row))
                ):
                    continue
            table = self._group(group, ("shard", "row"))
            for place in np.flatnonzero(integers(table, "row") == row).tolist():
                if table.column("shard")[place].as_py() == shard:
                    return self._number(group, place)
        return None

    def close(self) -> None:
        self._file.close()


def _excludes(statistics: Any, value: str | int) -> bool:
    """Whether a column chunk cannot hold ``value``; without statistics it can."""
    return statistics is not None and not statistics.min <= value <= statistics.max
