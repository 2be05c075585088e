"""``pile-tools seen``."""

from typing import Any

import click

from . import options
from .streams import open_viewer, stream_options
from .tables import print_arrow


@options.command(example="pile-tools seen --data tokens/ --document 42")
@click.option("--document", type=int, multiple=True, metavar="N", help="Its number; may be repeated.")
@click.option("--shard", default=None, help="The shard that the document came from, with --row.")
@click.option("--row", type=int, default=None, help="Its row in the shard, from 0.")
@click.option(
    "--dataset", type=int, default=None, metavar="N", help="Its dataset, where several are blended."
)
@click.option(
    "--world-size", type=int, default=None, help="Say which data-parallel rank of so many reads it."
)
@click.option("--micro-batch-size", type=int, default=None, show_default="one micro-batch", help="Of a rank.")
@stream_options
@options.json_option
def command(
    document: tuple[int, ...],
    shard: str | None,
    row: int | None,
    dataset: int | None,
    world_size: int | None,
    micro_batch_size: int | None,
    as_json: bool,
    **stream: Any,
) -> None:
    """Show every step that shows a document to the model.

    position is where the document's piece begins in the sequence, offset where that is in the document,
    epoch which of the document's places in the order it is from.
    """
    from pile_tools.lookups.find import searched

    viewer = open_viewer(**stream)
    table = viewer.occurrences(
        documents=document or None,
        shard=shard,
        row=row,
        dataset=dataset,
        world_size=world_size,
        micro_batch_size=micro_batch_size,
    )
    if as_json:
        options.print_json({"steps": [viewer.first_step, viewer.steps], "occurrences": table.to_pylist()})
        return
    if not table.num_rows:
        click.echo(f"not in {searched(viewer)}")
        return
    print_arrow(table)
