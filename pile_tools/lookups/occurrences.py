"""Which steps show a document to the model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pile_tools.errors import OutOfRangeError, ParameterError, UnanswerableError
from pile_tools.lookups.document_positions import show_documents
from pile_tools.stream.parts import Part
from pile_tools.stream.ranks import ranks_of_rows
from pile_tools.stream.stream import Stream

__all__ = ["document_at", "occurrences", "the_part"]


def the_part(stream: Stream, dataset: int | None) -> Part:
    """Return part ``dataset`` of a blend; the only part of another stream."""
    parts = stream.parts
    if parts[0].number is None:
        if dataset not in (None, 0):
            raise OutOfRangeError(f"{stream.name}: no dataset {dataset}; it is one dataset, not a blend")
        return parts[0]
    if dataset is None:
        names = ", ".join(f"{part.number} {part.name}" for part in parts)
        raise ParameterError(
            f"{stream.name}: a blend; say which dataset the document is of (--dataset, dataset=): {names}"
        )
    if not 0 <= dataset < len(parts):
        raise OutOfRangeError(f"{stream.name}: no dataset {dataset}, from 0 to {len(parts) - 1}")
    return parts[dataset]


def document_at(part: Part, shard: str, row: int) -> int:
    """Return the number of the document of ``part`` that came from (``shard``, ``row``)."""
    provenance = part.provenance()
    if provenance is None:
        raise UnanswerableError(
            f"{part.name}: no documents.parquet, so it is not known where its documents came from; name "
            "the document by its number (--document)"
        )
    found = provenance.document_of(shard, row)
    if found is None and part.listed() is not None:
        raise OutOfRangeError(
            f"{provenance.name}: no document from row {row} of shard {shard!r} is shown by these steps; "
            "whether the whole dataset has one is not known here"
        )
    if found is None:
        raise OutOfRangeError(f"{provenance.name}: no document from row {row} of shard {shard!r}")
    return found


def occurrences(
    stream: Stream,
    documents: int | Sequence[int] | npt.NDArray[Any],
    *,
    dataset: int | None = None,
    world_size: int | None = None,
    micro_batch_size: int | None = None,
) -> pa.Table:
    """Return every piece in which the stream shows ``documents`` (see ``BatchViewer.occurrences``)."""
    part = the_part(stream, dataset)
    count = part.n_documents
    if count is None:
        raise UnanswerableError(
            f"{part.name}: the boundaries of its documents are not known, so no document has a number; "
            "search for its text (`pile-tools find`)"
        )
    if micro_batch_size is not None and world_size is None:
        raise ParameterError("a micro_batch_size says which rank reads a row only with a world_size")
    wanted = np.atleast_1d(np.asarray(documents))
    if wanted.dtype == object and all(isinstance(number, int) for number in wanted.flat):  # beyond 64 bits
        raise OutOfRangeError(f"{part.name}: no document {wanted.flat[0]}; there are {count}, from 0")
    if wanted.ndim != 1 or (len(wanted) and wanted.dtype.kind not in "iu"):
        raise ParameterError("documents must be whole numbers")
    outside = wanted[(wanted < 0) | (wanted >= count)]
    if len(outside):
        raise OutOfRangeError(f"{part.name}: no document {outside[0]}; there are {count}, from 0")
    shown = show_documents(part, wanted.astype(np.int64), stream.seq_length)
    step, row = np.divmod(shown.stream, stream.batch_size)
    columns: dict[str, Any] = {} if np.ndim(documents) == 0 else {"document": shown.document}
    columns |= {
        "step": step,
        "row": row,
        "position": shown.position,
        "offset": shown.offset,
        "n_tokens": shown.n_tokens,
        "epoch": shown.epoch,
    }
    if world_size is not None:
        columns["rank"] = ranks_of_rows(
            row, stream.batch_size, world_size=world_size, micro_batch_size=micro_batch_size
        )
    return pa.table({name: pa.array(column, pa.int64()) for name, column in columns.items()})
