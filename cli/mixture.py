"""``pile-tools mixture``."""

from itertools import groupby
from pathlib import Path
from typing import Any

from . import options
from .streams import open_viewer, stream_options
from .tables import LARGEST, fold_rows, print_table


@options.command(example="pile-tools mixture --data tokens/ --every 1000")
@options.every_option
@options.plot_option
@stream_options
@options.all_sources_option
@options.json_option
def command(every: int | None, plot: Path | None, all_sources: bool, as_json: bool, **stream: Any) -> None:
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
    limit = None if all_sources else LARGEST
    intervals = groupby((tuple(row.values()) for row in table.to_pylist()), key=lambda row: row[:2])
    print_table(
        table.column_names,
        [
            (*interval, *row)
            for interval, rows in intervals
            for row in _fold([row[2:] for row in rows], limit)
        ],
    )


def _fold(rows: list[tuple[Any, ...]], limit: int | None) -> list[Any]:
    """Fold the rows (source, number, …) of one interval; documents without a source keep their row."""
    named = [row for row in rows if row[0] is not None]
    return fold_rows(named, "sources", limit=limit) + [row for row in rows if row[0] is None]
