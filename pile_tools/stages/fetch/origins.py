"""Write the origins of fetched steps: the pieces of documents that they show (``formats.origins_json``)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.errors import UnsupportedError
from pile_tools.formats.documents_parquet import ROW_GROUP_ROWS, ProvenanceWriter
from pile_tools.formats.fetched_documents_parquet import ORIGIN_SCHEMA
from pile_tools.formats.npy import NpyWriter
from pile_tools.formats.origins_json import (
    DATASETS_NAME,
    ORIGINS_NAME,
    PIECES_NAME,
    STARTS_NAME,
    OriginDataset,
    OriginsRecord,
    documents_name,
)
from pile_tools.jobs.progress import Progress
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.manifest import FileEntry, file_entry
from pile_tools.stream.parts import Part
from pile_tools.viewer import BatchViewer

__all__ = ["write_origins"]


# Sequences whose pieces are held at once. Epochs cost a scan of doc_idx for each block.
_BLOCK: Final = 1 << 18


def write_origins(
    viewer: BatchViewer, start: int, stop: int, output: Path, progress: Progress
) -> tuple[OriginsRecord, list[FileEntry]]:
    """Write the origins of steps [start, stop) into ``output``; return their record and the files' entries.

    ``progress`` is told of the sequences as "origins" and of the "documents".
    """
    first, last = start * viewer.batch_size, stop * viewer.batch_size
    shown = [np.zeros(part.n_documents or 0, np.bool_) for part in viewer.stream.parts]
    names = [STARTS_NAME, PIECES_NAME]
    blend = viewer.stream.parts[0].number is not None
    with (
        atomic_write(output / STARTS_NAME) as starts_file,
        atomic_write(output / PIECES_NAME) as pieces_file,
        NpyWriter(starts_file, np.int64) as starts,
        NpyWriter(pieces_file, np.int32, (4,)) as pieces,
    ):
        starts.append(np.zeros(1, np.int64))
        for low in range(first, last, _BLOCK):
            positions = np.arange(low, min(low + _BLOCK, last))
            counts, rows = _pieces(viewer, positions, shown)
            starts.append(pieces.rows + np.cumsum(counts))
            pieces.append(rows)
            progress("origins", int(positions[-1]) + 1 - first, last - first)
    if blend:
        names.append(DATASETS_NAME)
        with atomic_write(output / DATASETS_NAME) as file, NpyWriter(file, np.int16) as datasets:
            for low in range(first, last, _BLOCK):
                which, _ = viewer.stream.samples_at(np.arange(low, min(low + _BLOCK, last)))
                datasets.append(which.astype(np.int16))
    done, total = 0, int(sum(mask.sum() for mask in shown))
    for number, (part, mask) in enumerate(zip(viewer.stream.parts, shown, strict=True)):
        if part.n_documents is not None:
            names.append(documents_name(number))
            for written in _write_documents(part, np.flatnonzero(mask), output / names[-1]):
                done += written
                progress("documents", done, total)
    entries = [file_entry(output / name) for name in names]
    record = OriginsRecord(last - first, blend, _datasets(viewer), tuple(entries))
    with atomic_write(output / ORIGINS_NAME) as file:
        file.write(record.to_bytes())
    carried = sorted({name for part in viewer.stream.parts for name in part.carry(output)})
    others = [file_entry(output / name, name) for name in carried]
    return record, [file_entry(output / ORIGINS_NAME), *entries, *others]


def _datasets(viewer: BatchViewer) -> tuple[OriginDataset, ...]:
    """Describe the datasets, and which of them are the same one."""
    identities: dict[str, int] = {}
    return tuple(
        replace(part.origin(), first=identities.setdefault(part.identity, number))
        for number, part in enumerate(viewer.stream.parts)
    )


def _pieces(
    viewer: BatchViewer, positions: Int64Array, shown: list[npt.NDArray[np.bool_]]
) -> tuple[Int64Array, npt.NDArray[np.int32]]:
    """Return how many pieces each sequence has and the rows of all, and mark the documents in ``shown``."""
    which, samples = viewer.stream.samples_at(positions)
    row: list[Int64Array] = []
    found: list[npt.NDArray[np.int64]] = []
    for number, (part, mask) in enumerate(zip(viewer.stream.parts, shown, strict=True)):
        here = np.flatnonzero(which == number)
        if not len(here):
            continue
        pieces = part.pieces(samples[here])
        row.append(here[pieces.row])
        columns = (pieces.document, pieces.offset, pieces.n_tokens, part.epochs(samples[here]))
        found.append(np.stack(columns, axis=1))
        if part.n_documents is not None:
            mask[pieces.document] = True
    rows, joined = np.concatenate(row), np.concatenate(found)
    most = int(joined.max())
    if most > np.iinfo(np.int32).max:
        raise UnsupportedError(
            f"{viewer.name}: document or offset {most}, more than origins can name (int32)"
        )
    order = np.argsort(rows, kind="stable")
    return np.bincount(rows, minlength=len(positions)), joined[order].astype(np.int32)


def _write_documents(part: Part, documents: Int64Array, path: Path) -> Iterator[int]:
    """Write the table of ``documents``, and yield how many of them after each block."""
    provenance = part.provenance()
    with atomic_write(path) as file, ProvenanceWriter(file, ORIGIN_SCHEMA) as writer:
        for low in range(0, len(documents), ROW_GROUP_ROWS):
            block = documents[low : low + ROW_GROUP_ROWS]
            columns: dict[str, Any] = {
                "n_tokens": pa.array(part.document_tokens(block).astype(np.int32)),
                "document": pa.array(block),
            }
            for field in ORIGIN_SCHEMA:
                if field.name not in columns:
                    columns[field.name] = pa.nulls(len(block), field.type)
            if provenance is not None:
                found = provenance.lookup(block, ("shard", "row", "source"))
                for name in ("shard", "row", "source"):
                    columns[name] = found.column(name).cast(ORIGIN_SCHEMA.field(name).type)
            writer.write(pa.table([columns[name] for name in ORIGIN_SCHEMA.names], schema=ORIGIN_SCHEMA))
            yield len(block)
