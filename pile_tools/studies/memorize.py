"""Memorization: which sequences of the stream a model goes on with word for word.

A sequence is memorized when greedy decoding from its first k tokens gives its next l tokens (Carlini et al.
2023; Biderman et al. 2023, who use k = l = 32). Recorded is how many of the l tokens are reproduced at their
places, and how many before the first that is not.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pile_tools.errors import ParameterError
from pile_tools.jobs.progress import Progress, no_progress
from pile_tools.jobs.resumable_table import Part, make_table, step_parts, write_table
from pile_tools.stream.steps import step_range
from pile_tools.studies.memorize_report import MEMORIZE_SCHEMA
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.models import CausalModel, model_identity
from pile_tools.studies.row_documents import origin_columns
from pile_tools.studies.steps_read import read_record
from pile_tools.studies.stream_place import StreamPlace
from pile_tools.studies.worker import open_here
from pile_tools.viewer import BatchViewer

__all__ = ["continue_rows", "memorize"]

# What one process loses at most when it is killed.
_PART_SEQUENCES: Final = 4096


def memorize(
    place: StreamPlace,
    name: ModelName,
    output: Path,
    *,
    start: int | None,
    stop: int | None,
    k: int = 32,
    l: int = 32,  # noqa: E741 - the papers' letters
    model_batch_size: int = 64,
    workers: int = 1,
    device: str = "auto",
    dtype: str = "float32",
    progress: Progress = no_progress,
) -> bool:
    """Write how much of each sequence of steps [start, stop) the model ``name`` reproduces.

    ``output`` is a Parquet file with a row for each sequence, in stream order: step, row, share (n_matched /
    l), n_matched (tokens reproduced at their places), n_prefix (before the first that is not), document and
    source (those of most of the k + l tokens; null where not known), offset and n_tokens (the part of the
    document that these are), continuation (the l tokens that the model gives). A run that ends early is
    resumed; False says that the same file was there. Raises ParameterError for parameters that no sequence
    has, OutOfRangeError for steps that the stream has not, DataError for a vocabulary that is not the
    stream's.
    """
    for letter, number in (
        ("k", k),
        ("l", l),
        ("batch of the model", model_batch_size),
        ("workers", workers),
    ):
        if number < 1:
            raise ParameterError(f"{letter} {number} must be at least 1")
    viewer = place.open()
    start, stop = step_range(viewer.stream, (start, stop))
    if k + l > viewer.seq_length + 1:
        raise ParameterError(
            f"k + l is {k + l}, but sequences of {viewer.order.name} have {viewer.seq_length + 1} tokens"
        )
    record = read_record(name)
    parameters = {
        "model": model_identity(name),
        "stream": viewer.identity,
        "batch_size": viewer.batch_size,
        "start": start,
        "stop": stop,
        "k": k,
        "l": l,
        "dtype": dtype,
        "checkpoint_steps": name.steps(),
        # For the report, which counts what was read before only where all of that is known to be this stream.
        "digest": None if record is None else record.digest,
        "lineage": None if record is None else [asdict(segment) for segment in record.lineage],
    }
    return make_table(
        output,
        study="memorize",
        parameters=parameters,
        parts=list(step_parts(start, stop, max(1, _PART_SEQUENCES // viewer.batch_size))),
        function=_part,
        arguments=(place, name, k, l, model_batch_size, workers, device, dtype),
        workers=workers,
        progress=progress,
    )


def _part(
    part: Part,
    place: StreamPlace,
    name: ModelName,
    k: int,
    l: int,  # noqa: E741
    model_batch_size: int,
    workers: int,
    device: str,
    dtype: str,
) -> None:
    viewer, model = open_here(place, name, device, dtype, workers)
    tables = []
    for step in range(part.start, part.stop):
        window = viewer.batch(step)[:, : k + l]
        model.check(window, f"{viewer.order.name}: step {step}")
        tables.append(_table(viewer, step, window, continue_rows(model, window, k, model_batch_size), k))
    write_table(pa.concat_tables(tables), part.path)


def continue_rows(
    model: CausalModel, window: npt.NDArray[Any], k: int, model_batch_size: int
) -> npt.NDArray[np.int64]:
    """Return the greedy continuations of the first ``k`` tokens of ``window`` [n, k + l]: int64 [n, l]."""
    length = window.shape[1] - k
    parts = [
        model.greedy(window[first : first + model_batch_size, :k], length)
        for first in range(0, len(window), model_batch_size)
    ]
    return np.concatenate(parts)


def _table(
    viewer: BatchViewer, step: int, window: npt.NDArray[Any], found: npt.NDArray[np.int64], k: int
) -> pa.Table:
    rows, length = found.shape
    same = found == window[:, k:]
    matched = same.sum(axis=1)
    prefix = np.where(same.all(axis=1), length, same.argmin(axis=1))
    continuation = pa.field("continuation", pa.list_(pa.int32(), length), nullable=False)
    columns = [
        np.full(rows, step),
        np.arange(rows, dtype=np.int32),
        matched / length,
        matched.astype(np.int32),
        prefix.astype(np.int32),
        *origin_columns(viewer, step, window.shape[1]),
        pa.FixedSizeListArray.from_arrays(pa.array(found.reshape(-1).astype(np.int32)), length),
    ]
    return pa.table(columns, schema=MEMORIZE_SCHEMA.append(continuation))
