"""``pile-tools digest``."""

from pathlib import Path
from typing import Any

import click

from . import options
from .streams import open_viewer, stream_options


@options.command(example="pile-tools digest tokens/")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    show_default="with the order",
    help="Directory to write the digests to.",
)
@stream_options()
@options.json_option
def command(output: Path | None, as_json: bool, **stream: Any) -> None:
    """Digest the bytes of every step of DATA: XXH3-128 of each, and one SHA-256 of all of them.

    The same stream has the same digests however it is stored. `pile-tools verify` compares with them. A run
    that was interrupted goes on where it ended.
    """
    from pile_tools.stages.digest import digest

    viewer = open_viewer(**stream)
    with options.progress_bar() as progress:
        summary = digest(viewer, output, progress=progress)
    record = summary.record
    if as_json:
        options.print_json(
            {
                "path": str(summary.path),
                "root": record.root,
                "steps": [record.first_step, record.steps],
                "batch_size": record.batch_size,
                "existed": summary.existed,
            }
        )
        return
    click.echo(
        f"{summary.path}: {'there already' if summary.existed else 'made'}, steps "
        f"{record.first_step}:{record.steps} of {record.batch_size:,} samples, root {record.root}"
    )
