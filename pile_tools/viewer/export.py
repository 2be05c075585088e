"""Steps of a stream as files for other tools: Parquet, JSON lines, a NumPy array, a token dataset."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pile_tools.errors import ParameterError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.free_space import require_space
from pile_tools.formats.npy import NpyWriter
from pile_tools.formats.outputs import refuse_output
from pile_tools.lookups.stream import Progress, in_threads, no_progress, step_range
from pile_tools.lookups.texts import Texts
from pile_tools.viewer.fetch import fetch_steps
from pile_tools.viewer.view import BatchViewer

__all__ = ["EXPORT_FORMATS", "Exported", "export_steps"]

EXPORT_FORMATS: Final = ("parquet", "jsonl", "npy", "mmidx")
_ROW_GROUP_TOKENS: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Exported:
    """What `export_steps` wrote: ``steps`` [start, stop), ``sequences`` and the ``bytes`` of all files."""

    path: Path
    steps: tuple[int, int]
    sequences: int
    bytes: int


def export_steps(
    viewer: BatchViewer,
    output: Path,
    steps: tuple[int | None, int | None] | None = None,
    *,
    form: str = "parquet",
    text: bool = False,
    progress: Progress = no_progress,
) -> Exported:
    """Write steps [start, stop) of ``viewer`` to ``output``.

    ``form`` "parquet" and "jsonl": a row for each sequence, step, row, tokens, with ``text`` the text, and
    for each of its pieces of documents, in order, documents (their numbers; of a blend also datasets) and
    sources; lists are null where they are not known. "npy": one array [steps, batch_size, seq_length + 1].
    "mmidx": a token dataset of the sequences themselves with a sequential order that keeps the numbers of the
    steps, in the directory ``output`` (see ``fetch_steps``); all of a stream is its pre-shuffled form.

    A file appears whole or not at all, and none is written over. Raises ParameterError for a form that does
    not exist, that has no text or that contradicts the file's name, PileToolsError for a file that exists.
    """
    if form not in EXPORT_FORMATS:
        raise ParameterError(f"format {form!r} is none of {', '.join(EXPORT_FORMATS)}")
    if text and form in ("npy", "mmidx"):
        raise ParameterError(f"format {form} has no text; export parquet or jsonl")
    start, stop = step_range(viewer, steps)
    count = (stop - start) * viewer.batch_size
    if form == "mmidx":
        fetched = fetch_steps(viewer, start, stop, output, progress, label="export")
        size = sum(entry.bytes for entry in fetched.manifest.outputs)
        return Exported(output, (start, stop), count, size)
    refuse_output(output)
    if output.suffix.removeprefix(".") in {*EXPORT_FORMATS} - {form}:
        raise ParameterError(f"{output}: not the name of a file of format {form}")
    output.parent.mkdir(parents=True, exist_ok=True)
    if form == "npy":
        require_space(output.parent, count * (viewer.seq_length + 1) * viewer.dtype.itemsize)
    with atomic_write(output) as file:
        if form == "npy":
            shape = (viewer.batch_size, viewer.seq_length + 1)
            with NpyWriter(file, viewer.dtype, shape) as writer:
                for step, batch in _batches(viewer, start, stop):
                    writer.append(batch[None])
                    progress("export", step + 1 - start, stop - start)
        elif form == "jsonl":
            for table in _tables(viewer, start, stop, text, progress):
                file.writelines(orjson.dumps(row) + b"\n" for row in table.to_pylist())
        else:
            schema = _schema(viewer, text)
            with pq.ParquetWriter(file, schema, compression="zstd") as parquet:
                for table in _tables(viewer, start, stop, text, progress):
                    parquet.write_table(table, row_group_size=len(table))
    return Exported(output, (start, stop), count, output.stat().st_size)


def _batches(viewer: BatchViewer, start: int, stop: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield (step, its tokens), some read ahead."""
    return in_threads(lambda step: (step, viewer.batch(step)), range(start, stop))


def _schema(viewer: BatchViewer, text: bool) -> pa.Schema:
    tokens = pa.from_numpy_dtype(viewer.dtype)
    fields = [("step", pa.int64()), ("row", pa.int64()), ("tokens", pa.list_(tokens))]
    if text:
        fields.append(("text", pa.string()))
    if viewer.parts[0].number is not None:
        fields.append(("datasets", pa.list_(pa.int64())))
    fields += [("documents", pa.list_(pa.int64())), ("sources", pa.list_(pa.string()))]
    return pa.schema(fields)


def _tables(viewer: BatchViewer, start: int, stop: int, text: bool, progress: Progress) -> Iterator[pa.Table]:
    """Yield the rows of some steps at a time."""
    schema = _schema(viewer, text)
    texts = [Texts(part) for part in viewer.parts] if text else []
    each = max(1, _ROW_GROUP_TOKENS // (viewer.batch_size * (viewer.seq_length + 1)))

    def make(first: int) -> tuple[int, pa.Table]:
        last = min(first + each, stop)
        positions = np.arange(first * viewer.batch_size, last * viewer.batch_size)
        tokens = np.concatenate([viewer.batch(step) for step in range(first, last)])
        step, row = np.divmod(positions, viewer.batch_size)
        columns: dict[str, Any] = {"step": step, "row": row, "tokens": _lists(tokens)}
        which, samples = viewer.samples_at(positions)
        if text:
            pairs = zip(which.tolist(), tokens, strict=True)
            columns["text"] = [texts[number].text(sequence) for number, sequence in pairs]
        columns |= _origins(viewer, which, samples)
        return last, pa.table([pa.array(columns[name], kind) for name, kind in _kinds(schema)], schema=schema)

    for last, table in in_threads(make, range(start, stop, each)):
        progress("export", last - start, stop - start)
        yield table


def _kinds(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in schema]


def _lists(tokens: npt.NDArray[Any]) -> pa.Array:
    """Rows of tokens [n, m] as a list array."""
    offsets = np.arange(0, tokens.size + 1, tokens.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(tokens.reshape(-1)))


def _origins(viewer: BatchViewer, which: npt.NDArray[Any], samples: npt.NDArray[Any]) -> dict[str, list[Any]]:
    """Documents and sources of the pieces of each sequence, and the datasets of a blend."""
    documents: list[list[int] | None] = [None] * len(which)
    sources: list[list[str | None] | None] = [None] * len(which)
    for number, part in enumerate(viewer.parts):
        here = np.flatnonzero(which == number)
        if not len(here) or part.n_documents is None:
            continue
        pieces = part.pieces(samples[here])
        provenance = part.provenance()
        names = None
        if provenance is not None:
            names = provenance.lookup(pieces.document, ("source",)).column(0).to_pylist()
        bounds = np.searchsorted(pieces.row, np.arange(len(here) + 1))
        for place, first, last in zip(here.tolist(), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            documents[place] = pieces.document[first:last].tolist()
            sources[place] = None if names is None else names[first:last]
    datasets = [
        [number] * (1 if found is None else len(found))
        for number, found in zip(which.tolist(), documents, strict=True)
    ]
    return {"documents": documents, "sources": sources, "datasets": datasets}
