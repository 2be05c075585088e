"""Reports on tables of ``pile-tools memorize``."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pile_tools.errors import DataError, ParameterError
from pile_tools.studies.exposure import times_seen
from pile_tools.studies.plots import figure
from pile_tools.studies.poisson import PoissonFit, fit_poisson
from pile_tools.studies.reading import check_lineage
from pile_tools.studies.resumable import read_description
from pile_tools.train.record import Segment
from pile_tools.viewer import BatchViewer

__all__ = [
    "Group",
    "Interval",
    "MemorizeReport",
    "Shares",
    "memorize_report",
    "plot_report",
    "read_shares",
    "report_to_json",
]


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences that have something in common, and how many of them are memorized."""

    name: str
    sequences: int
    memorized: int


@dataclass(frozen=True, slots=True)
class Interval:
    """Steps [start, stop); ``whole`` where all of a checkpoint interval was measured, so that it counts in
    the fit."""

    start: int
    stop: int
    whole: bool
    sequences: int
    memorized: int


@dataclass(frozen=True, slots=True)
class MemorizeReport:
    """``parameters`` as recorded by `memorize`; ``by_times_seen`` is None without the stream."""

    parameters: dict[str, Any]
    every: int
    threshold: float
    sequences: int
    memorized: int
    intervals: tuple[Interval, ...]
    fit: PoissonFit
    by_source: tuple[Group, ...]
    by_times_seen: tuple[Group, ...] | None


def memorize_report(
    path: str | os.PathLike[str],
    *,
    every: int = 1000,
    threshold: float = 1.0,
    viewer: BatchViewer | None = None,
    checkpoint_steps: int | None = None,
) -> MemorizeReport:
    """Report on the table at ``path``: a sequence is memorized where its share is at least ``threshold``.

    Intervals of ``every`` steps begin at multiples of it. With the stream, sequences are counted by the
    number of steps before the checkpoint that had read them (``exposure``); ``checkpoint_steps`` is what the
    table records unless given. Raises DataError for a stream that is not the table's, or not all that the
    checkpoint has read; ParameterError where fewer than two whole intervals were measured.
    """
    if every < 1:
        raise ParameterError(f"--every {every} must be at least 1")
    if not 0 < threshold <= 1:
        raise ParameterError(f"threshold {threshold} is not above 0 and at most 1")
    parameters = read_description(Path(path))["parameters"]
    if "share" not in pq.read_schema(path).names:
        raise DataError(f"{path}: not a table of `pile-tools memorize`")
    table = _read(path, "step", "row", "share", "source")
    memorized = table.column("share").to_numpy() >= threshold
    steps = table.column("step").to_numpy()
    intervals = tuple(_intervals(steps, memorized, parameters["start"], parameters["stop"], every))
    return MemorizeReport(
        parameters=parameters,
        every=every,
        threshold=threshold,
        sequences=len(memorized),
        memorized=int(memorized.sum()),
        intervals=intervals,
        fit=fit_poisson([interval.memorized for interval in intervals if interval.whole]),
        by_source=_by_source(table, memorized),
        by_times_seen=None
        if viewer is None
        else _by_times_seen(Path(path), memorized, viewer, parameters, checkpoint_steps),
    )


def _intervals(
    steps: npt.NDArray[np.int64], memorized: npt.NDArray[np.bool_], start: int, stop: int, every: int
) -> list[Interval]:
    found = []
    for number in range(start // every, (stop - 1) // every + 1):
        first, last = max(start, number * every), min(stop, (number + 1) * every)
        here = slice(*np.searchsorted(steps, [first, last]).tolist())
        rows = memorized[here]
        found.append(Interval(first, last, last - first == every, len(rows), int(rows.sum())))
    return found


def _groups(names: Any, memorized: npt.NDArray[np.bool_]) -> dict[Any, tuple[int, int]]:
    table = pa.table({"name": names, "memorized": memorized.astype(np.int64)})
    grouped = table.group_by("name").aggregate([("memorized", "count"), ("memorized", "sum")])
    return {row["name"]: (row["memorized_count"], row["memorized_sum"]) for row in grouped.to_pylist()}


def _by_source(table: pa.Table, memorized: npt.NDArray[np.bool_]) -> tuple[Group, ...]:
    found = _groups(table.column("source").cast(pa.string()), memorized)
    ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[0] or ""))
    return tuple(Group("not known" if name is None else name, *counts) for name, counts in ordered)


def _by_times_seen(
    path: Path,
    memorized: npt.NDArray[np.bool_],
    viewer: BatchViewer,
    parameters: dict[str, Any],
    checkpoint_steps: int | None,
) -> tuple[Group, ...]:
    if viewer.identity != parameters["stream"] or viewer.batch_size != parameters["batch_size"]:
        raise DataError(
            f"{path}: measured on another stream than {viewer.order.name} at batch size {viewer.batch_size}; "
            "name the one that `memorize` read"
        )
    recorded = parameters["checkpoint_steps"]
    until = recorded if checkpoint_steps is None else checkpoint_steps
    if parameters["lineage"] is not None:
        if until != recorded:
            raise ParameterError(
                f"{path}: its checkpoint records {recorded} steps, not {until}; leave --checkpoint-steps out"
            )
        lineage = [Segment.of(segment) for segment in parameters["lineage"]]
        check_lineage(viewer, lineage, parameters["digest"])
    if until is None:
        raise ParameterError(
            f"{path}: does not record how many steps the model had read; say it with --checkpoint-steps"
        )
    try:
        sequences = _read(path, "document", "offset", "n_tokens")
    except pa.ArrowException:
        raise DataError(
            f"{path}: does not say which part of a document was measured; make it again"
        ) from None
    known = pc.is_valid(sequences.column("document")).to_numpy()
    times = times_seen(viewer, sequences.filter(pa.array(known)), until)
    found = _groups(times, memorized[known])
    return tuple(Group(str(name), *counts) for name, counts in sorted(found.items()))


def plot_report(report: MemorizeReport, path: str | os.PathLike[str]) -> None:
    """Draw memorized sequences by interval, and the Q–Q plot of their counts, into a PNG file."""
    fit = report.fit
    with figure(path, columns=2) as (counts, quantiles):
        shown = [interval for interval in report.intervals if interval.whole]
        counts.bar(
            [interval.start for interval in shown],
            [interval.memorized for interval in shown],
            width=report.every * 0.9,
            align="edge",
        )
        counts.axhline(fit.rate, color="tab:gray", linestyle="--", label=f"mean {fit.rate:.3g}")
        counts.set(xlabel="step", ylabel=f"memorized sequences per {report.every} steps")
        counts.legend()
        quantiles.scatter(fit.theoretical, fit.observed, s=14)
        most = max(float(fit.theoretical[-1]), float(fit.observed[-1]), 1.0)
        quantiles.plot([0, most], [0, most], color="tab:gray", linestyle="--")
        quantiles.set(xlabel=f"quantiles of Poisson({fit.rate:.3g})", ylabel="observed counts")
        if fit.p_value is not None:
            quantiles.set_title(f"dispersion {fit.dispersion:.3g}, p = {fit.p_value:.3g}")


@dataclass(frozen=True, slots=True)
class Shares:
    """How many sequences a table has, how many of them are reproduced whole, and the mean share."""

    sequences: int
    memorized: int
    mean: float


def _read(path: str | os.PathLike[str], *columns: str) -> pa.Table:
    """Read columns of the table at ``path``; DataError where a page is damaged."""
    try:
        return pq.read_table(path, columns=list(columns), page_checksum_verification=True)
    except OSError as error:
        reason = str(error).split("\n")[0]
        raise DataError(f"{path}: damaged ({reason}); run `pile-tools memorize` again") from None


def read_shares(path: str | os.PathLike[str]) -> Shares:
    """Summarise the table at ``path``."""
    shares = _read(path, "share").column("share").to_numpy()
    return Shares(len(shares), int((shares == 1).sum()), float(shares.mean()))


def report_to_json(report: MemorizeReport) -> dict[str, Any]:
    """Return the report as JSON's types, the Q–Q pairs as lists."""
    value = asdict(report)
    value["fit"]["theoretical"] = report.fit.theoretical.tolist()
    value["fit"]["observed"] = report.fit.observed.tolist()
    return value
