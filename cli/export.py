"""``pile-tools export``."""

from pathlib import Path
from typing import Any

import click

from . import options
from .streams import open_viewer, stream_options


@options.command(example="pile-tools export --data tokens/ --steps 0:10 --format parquet -o steps.parquet")
@options.steps_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "jsonl", "npy", "mmidx"]),
    default="parquet",
    show_default=True,
    help="parquet, jsonl: a row for each sequence; npy: one array; mmidx: a token dataset of the sequences.",
)
@click.option("--text", is_flag=True, help="Add the text of each sequence.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write; a directory for mmidx.",
)
@stream_options()
@options.json_option
def command(
    steps: options.Steps | None, form: str, text: bool, output: Path, as_json: bool, **stream: Any
) -> None:
    """Write steps for other tools: their tokens, documents and sources.

    mmidx of a whole stream is its pre-shuffled form, which GPT-NeoX reads without index maps; steps keep
    their numbers.
    """
    from pile_tools.stages.export import export_steps

    viewer = open_viewer(**stream)
    with options.progress_bar() as progress:
        exported = export_steps(viewer, output, steps, form=form, text=text, progress=progress)
    if as_json:
        options.print_json(
            {
                "path": str(exported.path),
                "format": form,
                "steps": exported.steps,
                "sequences": exported.sequences,
                "bytes": exported.bytes,
            }
        )
        return
    start, stop = exported.steps
    click.echo(
        f"{exported.path}: steps {start}:{stop}, {exported.sequences:,} sequences, {exported.bytes:,} bytes"
    )
