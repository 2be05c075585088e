"""Figures as PNG, PDF or SVG files, the same bytes for the same data."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pile_tools.errors import ParameterError, needs_extra
from pile_tools.storage.atomic import atomic_write

__all__ = ["check_figures", "figure"]

# What a file of each format says of when and with what it was made, which would change its bytes.
_METADATA: Final[dict[str, dict[str, None]]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}


def check_figures() -> None:
    """Raise MissingExtraError where ``figure`` cannot draw, before hours are spent on what it shows."""
    with needs_extra("a figure"):
        import matplotlib.figure  # noqa: F401


@contextmanager
def figure(path: str | os.PathLike[str], columns: int = 1, width: float = 6) -> Iterator[Any]:
    """Give the axes of a figure (one, or an array of ``columns``); write it to ``path`` at the end.

    ``width`` of each, in inches. The suffix of ``path`` says the format: .png, .pdf or .svg. Needs
    matplotlib; MissingExtraError without it, ParameterError for another suffix.
    """
    form = os.path.splitext(os.fspath(path))[1].removeprefix(".")
    if form not in _METADATA:
        raise ParameterError(f"{os.fspath(path)}: not the name of a file of .png, .pdf or .svg")
    with needs_extra("a figure"):
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["svg.hashsalt"] = "pile-tools"
        drawn = Figure(figsize=(width * columns, 4), layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn.subplots(1, columns)
        with atomic_write(path) as file:
            drawn.savefig(file, format=form, dpi=130, metadata=_METADATA[form])
