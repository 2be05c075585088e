"""``pile-tools mixture``."""

from pathlib import Path
from typing import Any

from . import options
from .streams import open_viewer, stream_options


@options.command(example="pile-tools mixture --data tokens/ --every 1000")
@options.every_option
@options.plot_option
@stream_options
@options.json_option
def command(every: int | None, plot: Path | None, as_json: bool, **stream: Any) -> None:
    """Show how many tokens of each source the model saw between checkpoints."""
    viewer = open_viewer(**stream)
    with options.progress_bar() as progress:
        table = viewer.mixture(every=every, progress=progress)
    if plot is not None:
        from pile_tools.lookups.plots import plot_mixture

        plot_mixture(table, plot)
    if as_json:
        options.print_json({"mixture": table.to_pylist()})
        return
    options.print_arrow(table)
