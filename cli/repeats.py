"""``pile-tools repeats``."""

from pathlib import Path
from typing import Any

import click

from . import options
from .streams import open_viewer, stream_options
from .tables import print_arrow


@options.command(example="pile-tools repeats --data tokens/ --every 1000")
@options.every_option
@options.plot_option
@stream_options
@options.json_option
def command(every: int | None, plot: Path | None, as_json: bool, **stream: Any) -> None:
    """Show how many documents, samples and tokens had been seen 0, 1, 2 … times.

    From the order itself. A token is seen as an input of the model, a document when any of its tokens is.
    """
    viewer = open_viewer(**stream)
    with options.progress_bar() as progress:
        table = viewer.repeats(every=every, progress=progress)
    if plot is not None:
        from pile_tools.lookups.plots import plot_repeats

        plot_repeats(table, plot)
    if as_json:
        options.print_json({"repeats": table.to_pylist()})
        return
    if not viewer.knows_documents:
        click.echo("where documents begin and end is not known, so they are not counted", err=True)
    print_arrow(table)
