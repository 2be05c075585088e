"""``pile-tools fetch``."""

from pathlib import Path
from typing import Any

import click

from . import options
from .streams import open_viewer, stream_options


@options.command(example="pile-tools fetch --suite pythia-deduped --steps 0:10 -o steps/")
@stream_options()
@options.required_steps_option
@options.output_directory_option
@click.option(
    "--tokens-only", is_flag=True, help="Leave out which documents the sequences show, and their sources."
)
@options.json_option
def command(steps: options.Steps, output: Path, tokens_only: bool, as_json: bool, **stream: Any) -> None:
    """Fetch steps of a stream into a small token dataset that every command reads without a network.

    The steps keep their numbers: `pile-tools batch --data steps/ --step 3` shows step 3 of the stream. They
    answer every question, about these steps, as the stream does: `seen`, `find`, `mixture`, `trace`, …
    """
    from pile_tools.stages.fetch.fetch import fetch_steps
    from pile_tools.stream.steps import step_range

    viewer = open_viewer(**stream)
    start, stop = step_range(viewer.stream, steps)
    with options.progress_bar() as progress:
        fetched = fetch_steps(viewer, start, stop, output, progress, tokens_only=tokens_only)
    files = fetched.manifest.outputs
    if as_json:
        options.print_json(
            {
                "output": str(output),
                "steps": [start, stop],
                "batch_size": viewer.batch_size,
                "seq_length": viewer.seq_length,
                "files": [entry.to_json() for entry in files],
                "no_tokenizer": fetched.no_tokenizer,
            }
        )
        return
    click.echo(f"{output}: steps {start} to {stop - 1}, {viewer.batch_size:,} sequences each")
    for entry in files:
        click.echo(f"  {entry.name}  {entry.bytes:,} bytes")
    if fetched.no_tokenizer is not None:
        click.echo(f"no tokenizer came along: {fetched.no_tokenizer}", err=True)
