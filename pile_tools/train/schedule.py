"""What a step's learning rate is, and after which steps a checkpoint is written."""

import math
from collections.abc import Callable
from typing import Final

from pile_tools.errors import ParameterError

__all__ = ["CHECKPOINTS", "checkpoint_due", "learning_rate"]

CHECKPOINTS: Final = "0,1,2,4,8,16,32,64,128,256,512,every 1000"
_WARMUP_SHARE: Final = 0.01
_FLOOR: Final = 0.1


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of the update that ``step`` of ``steps`` makes (steps from 0).

    It rises linearly over the first hundredth of the steps and falls along a cosine to a tenth of ``peak``,
    which the last step has. The first update is step 1 of the rise, not step 0 at a rate of zero, so that
    no batch is read in vain (GPT-NeoX's rise began with that until 2026: its issue 1373).
    """
    done, warmup = step + 1, _WARMUP_SHARE * steps
    if done < warmup:
        return peak * done / warmup
    phase = (done - warmup) / (steps - warmup)
    return peak * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * phase)))


def checkpoint_due(schedule: str) -> Callable[[int], bool]:
    """Return whether a number of steps ends with a checkpoint, by a schedule such as ``CHECKPOINTS``.

    A schedule is a list with commas of numbers of steps and of ``every N``, for each multiple of N but 0.
    The last step of a run has a checkpoint anyway. Raises ParameterError for anything else.
    """
    numbers, intervals = set(), []
    for item in schedule.split(","):
        words = item.split()
        digits = words[-1] if words else ""
        if not (digits.isascii() and digits.isdigit()) or words[:-1] not in ([], ["every"]):
            raise ParameterError(
                f"schedule {schedule!r}: {item.strip()!r} is neither a number of steps nor `every N`"
            )
        if len(words) == 1:
            numbers.add(int(digits))
        elif int(digits) == 0:
            raise ParameterError(f"schedule {schedule!r}: every 0 steps; name at least 1")
        else:
            intervals.append(int(digits))

    def due(done: int) -> bool:
        return done in numbers or (done > 0 and any(done % interval == 0 for interval in intervals))

    return due
