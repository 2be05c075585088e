"""Progress bars on standard error, for functions that take ``progress`` as True, False or a function."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pile_tools.errors import ParameterError
from pile_tools.jobs.progress import Progress, no_progress

__all__ = ["ProgressOption", "reporting"]

ProgressOption = bool | Progress
"""True for a bar on standard error, False for none, or a function of (label, done, total)."""


@contextmanager
def reporting(progress: ProgressOption) -> Iterator[Progress]:
    """Give the `Progress` function that ``progress`` means; its bars are closed at the end of the block."""
    if callable(progress):
        yield progress
    elif progress is True:
        with _bars() as shown:
            yield shown
    elif progress is False:
        yield no_progress
    else:
        raise ParameterError(f"progress {progress!r} is not True, False or a function")


@contextmanager
def _bars() -> Iterator[Progress]:
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def show(label: str, done: int, total: int) -> None:
        if label not in bars:
            for bar in bars.values():
                bar.close()
            bars[label] = tqdm(
                total=total, desc=label, unit_scale=True, leave=False, file=sys.stderr, disable=False
            )
        bars[label].update(done - bars[label].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
