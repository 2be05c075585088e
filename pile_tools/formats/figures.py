"""Figures as PNG files, the same bytes for the same data."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pile_tools.errors import needs_extra
from pile_tools.formats.atomic import atomic_write

__all__ = ["check_figures", "figure"]


def check_figures() -> None:
    """Raise MissingExtraError where ``figure`` cannot draw, before hours are spent on what it shows."""
    with needs_extra("a figure"):
        import matplotlib.figure  # noqa: F401


@contextmanager
def figure(path: str | os.PathLike[str], columns: int = 1, width: float = 6) -> Iterator[Any]:
    """Give the axes of a figure (one, or an array of ``columns``); write it to ``path`` at the end.

    ``width`` of each, in inches. Needs matplotlib; MissingExtraError without it.
    """
    with needs_extra("a figure"):
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    with mpl.rc_context():
        mpl.rcdefaults()
        drawn = Figure(figsize=(width * columns, 4), layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn.subplots(1, columns)
        with atomic_write(path) as file:
            drawn.savefig(file, format="png", dpi=130, metadata={"Software": None})
