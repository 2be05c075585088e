"""Ranges of steps and checkpoints of a stream."""

import operator
import re
from typing import TYPE_CHECKING

import numpy as np

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.errors import OutOfRangeError, ParameterError

if TYPE_CHECKING:
    from pile_tools.stream.stream import Stream

__all__ = ["checkpoints", "parse_steps", "step_range"]


def step_range(stream: "Stream", steps: tuple[int | None, int | None] | None) -> tuple[int, int]:
    """Return the steps (start, stop) that ``steps`` means, None at an end for the end of the stream.

    Raises OutOfRangeError for steps that the stream does not have, ParameterError for none at all, which is
    also what a stream has that is shorter than a batch.
    """
    if stream.steps <= stream.first_step:
        raise ParameterError(
            f"{stream.name}: not one whole batch of {stream.batch_size}, so no step; read it at a smaller "
            "batch size (--batch-size)"
        )
    try:
        first, last = (None, None) if steps is None else steps
        start = stream.first_step if first is None else operator.index(first)
        stop = stream.steps if last is None else operator.index(last)
    except (TypeError, ValueError):
        raise ParameterError(
            f"steps {steps!r} are not two whole numbers (start, stop); None at an end means the stream's"
        ) from None
    if start < stream.first_step or stop > stream.steps:
        raise OutOfRangeError(
            f"{stream.name}: no steps {start}:{stop} at batch size {stream.batch_size}; there are "
            f"{stream.first_step}:{stream.steps}"
        )
    if start >= stop:
        raise ParameterError(f"steps {start}:{stop} hold no step; the first number must be the smaller")
    return start, stop


def checkpoints(start: int, stop: int, every: int | None) -> Int64Array:
    """Return the multiples of ``every`` after ``start`` and before ``stop``, and ``stop``."""
    try:
        every = None if every is None else operator.index(every)
    except TypeError:
        raise ParameterError(f"every {every!r} steps: must be a whole number") from None
    if every is not None and every < 1:
        raise ParameterError(f"every {every} steps: must be at least 1")
    inner = np.arange(0) if every is None else np.arange((start // every + 1) * every, stop, every)
    return np.append(inner, stop).astype(np.int64)


def parse_steps(text: str) -> tuple[int | None, int | None]:
    """Return the steps [start, stop) written as "10:20", "10:", ":20" or, one step, "10"."""
    match = re.fullmatch(r"(\d*):(\d*)|(\d+)", text.strip(), re.ASCII)
    if match is None:
        raise ParameterError(f"steps {text!r} are not of the form START:STOP, such as 0:10")
    if match[3]:
        return int(match[3]), int(match[3]) + 1
    return int(match[1]) if match[1] else None, int(match[2]) if match[2] else None
