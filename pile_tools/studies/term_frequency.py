"""Accuracy by term frequency: answers of checkpoints, joined with how often operands had been read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.tables import BATCH_SIZE_KEY, FIRST_STEP_KEY, STREAM_KEY
from pile_tools.studies.arithmetic import Answer
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.plots import figure
from pile_tools.train.files import DATA_NAME
from pile_tools.train.record import DataRecord

__all__ = ["CheckpointResult", "Frequencies", "answers_table", "plot_frequency", "summarise", "write_answers"]

_TENTH = 10


@dataclass(frozen=True, slots=True)
class CheckpointResult:
    """Accuracy of one checkpoint in one task.

    ``operands`` are (x₁, count up to the checkpoint or None, accuracy) for each x₁; ``most`` and ``least``
    the accuracy of the tenth of them with the highest and lowest counts, ``gap`` their difference, None
    without counts.
    """

    model: str
    steps: int | None
    task: str
    problems: int
    accuracy: float
    operands: tuple[tuple[int, int | None, float], ...]
    most: float | None
    least: float | None
    gap: float | None


class Frequencies:
    """A table of `pile-tools count`: how often terms had been read by each checkpoint.

    Columns checkpoint, term, count and, null where a term is counted alone, other. Raises ParameterError for
    one that does not count from step 0 on, DataError for any other file. ``stream`` is the identity of the
    stream that was counted and ``batch_size`` its sequences a step, None where the table does not say.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        try:
            table = pq.read_table(path)
        except FileNotFoundError:
            raise PileToolsError(f"{path}: no such file; make it with `pile-tools count`") from None
        except pa.ArrowException:
            raise DataError(f"{path}: not a Parquet file") from None
        missing = {"checkpoint", "term", "count"} - set(table.column_names)
        if missing:
            raise DataError(f"{path}: no column {min(missing)!r}; make it with `pile-tools count`")
        metadata = table.schema.metadata or {}
        self.stream: str | None = metadata[STREAM_KEY].decode() if STREAM_KEY in metadata else None
        self.batch_size = int(metadata[BATCH_SIZE_KEY]) if BATCH_SIZE_KEY in metadata else None
        first = int(metadata.get(FIRST_STEP_KEY, b"0"))
        if first != 0:
            raise ParameterError(
                f"{path}: counts from step {first} on, but a checkpoint has read from step 0; leave --steps "
                "of `pile-tools count` out, or begin them with 0"
            )
        if "other" in table.column_names:  # with a window, pairs of terms are counted, too
            table = table.filter(pc.is_null(table.column("other")))
        rows = zip(*(table.column(name).to_pylist() for name in ("checkpoint", "term", "count")), strict=True)
        self._counts = {(checkpoint, term): count for checkpoint, term, count in rows}
        self.checkpoints = sorted({checkpoint for checkpoint, _ in self._counts})

    def prove(self, name: ModelName) -> bool:
        """Return whether the checkpoint ``name`` records that it has read what was counted.

        False where it has no record. Raises DataError where it has read another stream, another batch size,
        or more than one stream.
        """
        directory = Path(name.location)
        if not (directory / DATA_NAME).is_file():
            return False
        for segment in DataRecord.read(directory).lineage:
            read = segment.stream.identity, segment.stream.batch_size
            if segment.first_step < segment.last_step and read != (self.stream, self.batch_size):
                raise DataError(
                    f"{self._path}: counts {self.describe()}, but {name} has read steps "
                    f"{segment.first_step}:{segment.last_step} of {_described(*read)}; run `pile-tools "
                    "count` on what it has read"
                )
        return True

    def describe(self) -> str:
        """Say what was counted."""
        return _described(self.stream, self.batch_size)

    def count(self, term: str, steps: int) -> int:
        """Return the count of ``term`` in the first ``steps`` steps, which the table must have."""
        if steps == 0:
            return 0
        if (steps, term) not in self._counts:
            known = ", ".join(map(str, self.checkpoints[:10]))
            what = (
                f"term {term!r}" if steps in self.checkpoints else f"checkpoint {steps} (it has {known}, …)"
            )
            raise ParameterError(
                f"{self._path}: no {what}; count the numbers 0 to 99 with an --every that divides {steps}"
            )
        return int(self._counts[steps, term])


def _described(stream: str | None, batch_size: int | None) -> str:
    if stream is None or batch_size is None:
        return "a stream that it does not name"
    return f"the stream {stream[:12]}… in batches of {batch_size}"


def summarise(
    model: str, steps: int | None, answers: Sequence[Answer], frequencies: Frequencies | None
) -> CheckpointResult:
    """Return the result of ``answers``, of one task; counts of operands where ``frequencies`` are given."""
    if frequencies is not None and steps is None:
        raise ParameterError(
            f"{model}: its name does not say how many steps it has read (stepN), so no counts can be joined"
        )
    by_operand: dict[int, list[bool]] = {}
    for answer in answers:
        by_operand.setdefault(answer.problem.x1, []).append(answer.is_right)
    operands = [
        (
            x1,
            None if frequencies is None or steps is None else frequencies.count(str(x1), steps),
            float(np.mean(right)),
        )
        for x1, right in sorted(by_operand.items())
    ]
    accuracy = float(np.mean([answer.is_right for answer in answers]))
    most = least = gap = None
    if frequencies is not None:
        # Ties are broken by the operand, so that the tenths are always the same.
        ordered = sorted(operands, key=lambda operand: (operand[1] or 0, operand[0]))
        size = max(1, len(ordered) // _TENTH)
        least = float(np.mean([operand[2] for operand in ordered[:size]]))
        most = float(np.mean([operand[2] for operand in ordered[-size:]]))
        gap = most - least
    task = answers[0].problem.task
    return CheckpointResult(model, steps, task, len(answers), accuracy, tuple(operands), most, least, gap)


def answers_table(model: str, steps: int | None, answers: Sequence[Answer]) -> pa.Table:
    """Return a row for each answer: model, steps, task, x1, x2, answer, continuation, is_right."""
    return pa.table(
        {
            "model": pa.array([model] * len(answers), pa.string()),
            "steps": pa.array([steps] * len(answers), pa.int64()),
            "task": [answer.problem.task for answer in answers],
            "x1": pa.array([answer.problem.x1 for answer in answers], pa.int64()),
            "x2": pa.array([answer.problem.x2 for answer in answers], pa.int64()),
            "answer": pa.array([answer.problem.answer for answer in answers], pa.int64()),
            "continuation": [answer.text for answer in answers],
            "is_right": [answer.is_right for answer in answers],
        }
    )


def is_answers_table(path: Path) -> bool:
    """Whether the file ``path`` is a Parquet table of answers."""
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return False
    return bool(names == answers_table("", None, []).column_names)


def write_answers(tables: Sequence[pa.Table], path: Path) -> None:
    """Write the rows of ``tables`` to a Parquet file."""
    with atomic_write(path) as file:
        pq.write_table(pa.concat_tables(tables), file, compression="zstd")


def plot_frequency(results: Sequence[CheckpointResult], path: str | os.PathLike[str]) -> None:
    """Draw accuracy by frequency of x₁, a panel a task and a colour a checkpoint, into a PNG file."""
    tasks = sorted({result.task for result in results})
    if any(result.gap is None for result in results):
        raise ParameterError("accuracy is drawn against counts; give them with --counts")
    with figure(path, columns=len(tasks)) as panels:
        for axes, task in zip(np.atleast_1d(panels), tasks, strict=True):
            for result in results:
                if result.task == task:
                    counts = [(operand[1] or 0) + 1 for operand in result.operands]
                    label = f"{result.steps} steps, gap {result.gap:.2f}"
                    axes.scatter(counts, [operand[2] for operand in result.operands], s=10, label=label)
            axes.set_xscale("log")
            axes.set(xlabel="times that x₁ had been read, plus 1", ylabel="accuracy", title=task)
            axes.set_ylim(-0.02, 1.02)
            axes.legend(fontsize="small")
