"""Differences between two jobs, named in one line where one of them is in the way of the other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pile_tools.errors import OccupiedError

__all__ = ["differences", "refuse_difference"]

_SHOWN: Final = 3


def differences(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> list[str]:
    """Return the values in which two jobs differ, each as "name old value, now new value"."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            lines += differences(before, now, f"{where}{key}: ")
        elif before != now:
            lines.append(f"{where}{key} {before!r}, now {now!r}")
    return lines


def refuse_difference(
    path: Path, state: str, old: Mapping[str, Any], new: Mapping[str, Any], remedy: str
) -> None:
    """Raise PileToolsError where ``path`` is the work of a job ``old`` that is not ``new``.

    ``state`` says what it is, such as "half-finished"; ``remedy`` ends the message.
    """
    lines = differences(old, new)
    if lines:
        more = f" (and {len(lines) - _SHOWN} more)" if len(lines) > _SHOWN else ""
        raise OccupiedError(
            f"{path}: {state} by a different job: {'; '.join(lines[:_SHOWN])}{more}; {remedy}"
        )
