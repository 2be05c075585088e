"""``pile-tools count``."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from . import options
from .find import make_query, query_options
from .streams import open_viewer, stream_options
from .tables import print_arrow


@options.command(example='pile-tools count --data tokens/ "to be or not to be" --every 1000')
@query_options
@options.steps_option
@options.every_option
@options.plot_option
@options.workers_option
@stream_options(argument=False)
@options.json_option
def command(
    text: tuple[str, ...],
    tokens: tuple[str, ...],
    regex: str | None,
    steps: options.Steps | None,
    every: int | None,
    plot: Path | None,
    workers: int | None,
    as_json: bool,
    **stream: Any,
) -> None:
    """Count how often the model had read a text by each checkpoint.

    What counts is what `pile-tools find` shows: TEXT is found wherever it is in the text of a sequence;
    several are counted at once. Counts are up to the last step or, with --every, up to each checkpoint:
    checkpoint K has read steps 0 to K - 1. `pile-tools terms` counts words, whatever their case.
    """
    from pile_tools.lookups.find import searched

    query = make_query(text, tokens, regex) | {"steps": steps, "workers": workers}
    viewer = open_viewer(**stream)
    extent = searched(viewer.stream, steps)
    with options.progress_bar() as progress:
        counts = viewer.count(**query, every=every, progress=progress)
    if plot is not None:
        from pile_tools.lookups.plots import plot_counts

        plot_counts(counts.table, plot, "pattern")
    if as_json:
        options.print_json(
            {
                "patterns": [
                    {"pattern": pattern, "count": counts.totals[pattern], "first_step": step}
                    for pattern, step in counts.first_step.items()
                ],
                "counts": counts.table.to_pylist(),
                "searched": asdict(extent),
            }
        )
        return
    for pattern, step in counts.first_step.items():
        total = f"{counts.totals[pattern]:,}, first in step {step}"
        click.echo(f"{pattern}: {total if step is not None else f'no occurrence in {extent}'}")
    if every is not None:
        print_arrow(counts.table)
