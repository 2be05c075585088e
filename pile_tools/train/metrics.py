"""``metrics.jsonl``: one line for each step, and a picture of the loss."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from pile_tools.errors import DataError, EmptyError, FileAccessError, MissingFileError
from pile_tools.render.figures import figure
from pile_tools.storage.atomic import atomic_write

__all__ = ["METRICS_NAME", "MetricsFile", "plot_loss", "read_metrics"]

METRICS_NAME: Final = "metrics.jsonl"


class MetricsFile:
    """Appends lines to ``metrics.jsonl``; lines of steps from ``first_step`` on are dropped first."""

    def __init__(self, run: Path, first_step: int) -> None:
        path = run / METRICS_NAME
        kept = [line for line in _lines(path) if line["step"] < first_step]
        with atomic_write(path) as file:
            file.writelines(orjson.dumps(line) + b"\n" for line in kept)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._path = path

    def write(self, line: Mapping[str, Any]) -> None:
        content = orjson.dumps(line) + b"\n"
        try:
            # One call, so that a kill leaves whole lines; the last one may be cut, which the next run drops.
            written = os.write(self._descriptor, content)
        except OSError as error:
            raise FileAccessError(f"{self._path}: could not be written ({error.strerror})") from error
        if written < len(content):
            raise FileAccessError(f"{self._path}: could not be written (no space left on the disk)")

    def close(self) -> None:
        os.close(self._descriptor)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    content = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            return  # cut by a kill or a full disk
        try:
            value = orjson.loads(line)
            value["step"] + 0
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise DataError(f"{path}:{number}: not a line of metrics; remove the file or the line") from None
        yield value


def read_metrics(run: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the metrics of the run directory ``run``, a dictionary for each step, in order."""
    path = Path(run) / METRICS_NAME
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; name the directory of a run")
    return list(_lines(path))


def plot_loss(run: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Draw the loss of every step of ``run``, with the learning rate, into the PNG file ``path``."""
    lines = read_metrics(run)
    if not lines:
        raise EmptyError(f"{Path(run) / METRICS_NAME}: no steps yet, so there is nothing to plot")
    with figure(path, width=7) as axes:
        steps = [line["step"] for line in lines]
        axes.plot(steps, [line["loss"] for line in lines], color="tab:blue", linewidth=1.2)
        axes.set(xlabel="step", ylabel="loss (nats per token)", title=f"{Path(run).name}: training loss")
        axes.grid(visible=True, alpha=0.3)
        rate = axes.twinx()
        rate.plot(steps, [line["lr"] for line in lines], color="tab:gray", linewidth=0.8, linestyle="--")
        rate.set_ylabel("learning rate (dashed)")
        rate.set_ylim(bottom=0)
