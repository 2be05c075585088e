"""Loss by exposure: what a checkpoint's loss is on sequences that it has read, and on others."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pile_tools.errors import ParameterError
from pile_tools.stages.executor import Progress, no_progress
from pile_tools.studies.exposure import check_begins, last_seen
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.models import model_identity
from pile_tools.studies.origins import ORIGIN_FIELDS, origin_columns
from pile_tools.studies.plots import figure
from pile_tools.studies.reading import Reading, check_lineage
from pile_tools.studies.resumable import Part, make_table, step_parts, write_table
from pile_tools.studies.stream_place import StreamPlace, check_steps
from pile_tools.studies.worker import open_here
from pile_tools.viewer import BatchViewer

__all__ = ["LossGroup", "LossReport", "check_plot", "loss_by_exposure", "plot_exposure"]

_PART_SEQUENCES: Final = 1024
_SCHEMA: Final = pa.schema(
    [
        pa.field("step", pa.int64(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("seen", pa.bool_()),
        *ORIGIN_FIELDS,
    ]
)


@dataclass(frozen=True, slots=True)
class LossGroup:
    """``sequences`` of one source (None: all, or those whose source is not known), read before the
    checkpoint or not (``seen``; None: their step was read with other bytes). ``loss`` is the mean over
    tokens in nats, ``error`` the standard error of the mean over sequences, None for a single one."""

    source: str | None
    seen: bool | None
    sequences: int
    loss: float
    error: float | None


@dataclass(frozen=True, slots=True)
class LossReport:
    """``reading`` is what the checkpoint has read; ``totals`` are by seen, ``by_source`` by source and seen;
    ``table`` has a row for each sequence: step, row, loss, seen, document, offset, n_tokens, source (document
    and source are those of most of it, offset and n_tokens which part of the document that is)."""

    reading: Reading
    totals: tuple[LossGroup, ...]
    by_source: tuple[LossGroup, ...]
    table: pa.Table

    def by_largest_sources(self, limit: int, rest: str) -> tuple[LossGroup, ...]:
        """Return the groups by source, those of all but the ``limit`` largest sources taken together.

        ``rest`` names these, and "{}" in it is their number. Where there is only one, it keeps its own name.
        """
        sizes = Counter(self.table.column("source").cast(pa.string()).to_pylist())
        sizes.pop(None, None)
        named = sorted(sizes, key=lambda name: (-sizes[name], name))
        if len(named) <= limit + 1:
            return self.by_source
        others = named[limit:]
        names = {name: rest.format(f"{len(others):,}") for name in others}
        source = self.table.column("source").cast(pa.string()).to_pylist()
        renamed = pa.array([names.get(name, name) for name in source], pa.string())
        index = self.table.column_names.index("source")
        return _groups(self.table.set_column(index, "source", renamed), ["source", "seen"])


def loss_by_exposure(
    place: StreamPlace,
    name: ModelName,
    *,
    start: int,
    stop: int,
    checkpoint_steps: int | None = None,
    output: Path | None = None,
    model_batch_size: int = 8,
    workers: int = 1,
    device: str = "auto",
    dtype: str = "float32",
    progress: Progress = no_progress,
) -> LossReport:
    """Measure the loss of the model ``name`` on each sequence of steps [start, stop).

    The checkpoint has read ``checkpoint_steps`` steps: as its ``data.json`` or its name says unless given.
    Where it has a ``data.json``, a step counts as seen only where its bytes are those that were read. The
    table is written to ``output``, a Parquet file, if given; then a run that ends early is resumed. Raises
    as ``memorize`` does, and ParameterError where it is not known what the checkpoint has read.
    """
    for what, number in (("batch of the model", model_batch_size), ("workers", workers)):
        if number < 1:
            raise ParameterError(f"{what} {number} must be at least 1")
    reading = Reading.of(name, checkpoint_steps)
    viewer = place.open()
    check_steps(viewer, start, stop)
    reading.check(viewer)
    parameters = {
        "model": model_identity(name),
        "stream": viewer.identity,
        "batch_size": viewer.batch_size,
        "start": start,
        "stop": stop,
        "dtype": dtype,
        "checkpoint_steps": reading.steps,
    }
    with tempfile.TemporaryDirectory() as temporary:
        path = output or Path(temporary) / "loss.parquet"
        make_table(
            path,
            study="loss",
            parameters=parameters,
            parts=list(step_parts(start, stop, max(1, _PART_SEQUENCES // viewer.batch_size))),
            function=_part,
            arguments=(place, name, reading, model_batch_size, workers, device, dtype),
            workers=workers,
            progress=progress,
        )
        table = pq.read_table(path, memory_map=False)
    return LossReport(reading, _groups(table, ["seen"]), _groups(table, ["source", "seen"]), table)


def _part(
    part: Part,
    place: StreamPlace,
    name: ModelName,
    reading: Reading,
    model_batch_size: int,
    workers: int,
    device: str,
    dtype: str,
) -> None:
    viewer, model = open_here(place, name, device, dtype, workers)
    tables = []
    for step in range(part.start, part.stop):
        batch = viewer.batch(step)
        model.check(batch[:, :-1], f"{viewer.order.name}: step {step}")
        model.check(batch[:, 1:], f"{viewer.order.name}: step {step}")
        losses = [
            model.token_losses(batch[first : first + model_batch_size]).mean(axis=1, dtype=np.float64)
            for first in range(0, len(batch), model_batch_size)
        ]
        columns: list[Any] = [
            np.full(len(batch), step),
            np.arange(len(batch), dtype=np.int32),
            np.concatenate(losses),
            pa.array([reading.has_seen(step, batch)] * len(batch), pa.bool_()),
            *origin_columns(viewer, step, batch.shape[1]),
        ]
        tables.append(pa.table(columns, schema=_SCHEMA))
    write_table(pa.concat_tables(tables), part.path)


def _groups(table: pa.Table, keys: list[str]) -> tuple[LossGroup, ...]:
    plain = table.set_column(
        table.column_names.index("source"), "source", table.column("source").cast(pa.string())
    )
    found = plain.group_by(keys).aggregate(
        [("loss", "count"), ("loss", "mean"), ("loss", "stddev", pc.VarianceOptions(ddof=1))]
    )
    groups = []
    for row in found.to_pylist():
        count = row["loss_count"]
        error = row["loss_stddev"] / count**0.5 if count > 1 else None
        groups.append(LossGroup(row.get("source"), row["seen"], count, row["loss_mean"], error))
    return tuple(sorted(groups, key=lambda group: (group.source or "", group.seen is not True)))


def check_plot(place: StreamPlace) -> BatchViewer:
    """Return the stream, of which ``plot_exposure`` can be asked; raise what it raises of any other."""
    viewer = place.open()
    if not any(part.n_documents is not None for part in viewer.parts):
        raise ParameterError(
            f"{viewer.order.name}: boundaries of documents are not known, so it is not known when a "
            "sequence was last read; leave --plot out"
        )
    check_begins(viewer)
    return viewer


def plot_exposure(report: LossReport, place: StreamPlace, path: Path) -> None:
    """Draw the loss of the sequences against the steps since they were last read, into a PNG file.

    Steps since last seen are counted from the checkpoint back: 1 for the last step that it has read.
    Sequences that were not read yet are drawn apart, as a line at their mean loss. Raises DataError where the
    checkpoint has read anything but this stream, ParameterError where boundaries of documents are not known
    and PileToolsError of steps that do not begin with the stream.
    """
    viewer = check_plot(place)
    table = report.table.filter(pc.is_valid(report.table.column("document")))
    until, record = report.reading.steps, report.reading.record
    if record is not None:
        check_lineage(viewer, record.lineage, record.digest)
    last = last_seen(viewer, table, until)
    losses = table.column("loss").to_numpy()
    seen = last >= 0
    with figure(path) as axes:
        since = until - last[seen]
        axes.scatter(since, losses[seen], s=6, alpha=0.4, label="a sequence")
        if len(since):
            edges = np.unique(np.geomspace(1, since.max() + 1, 13).astype(np.int64))
            places = np.digitize(since, edges)
            means = [(since[places == p].mean(), losses[seen][places == p].mean()) for p in np.unique(places)]
            axes.plot(*zip(*means, strict=True), color="tab:red", marker="o", label="mean")
            axes.set_xscale("log")
        if (~seen).any():
            axes.axhline(losses[~seen].mean(), color="tab:gray", linestyle="--", label="not yet read: mean")
        axes.set(xlabel="steps since the sequence was last read", ylabel="loss (nats per token)")
        axes.legend()
