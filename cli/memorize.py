"""``pile-tools memorize``."""

from pathlib import Path
from typing import Any

import click

from . import options, study_options
from .streams import stream_options, take_stream


@options.command(
    example="pile-tools memorize RUN/step512 --data tokens/ --steps 0:512 --k 32 --l 32 -o mem.parquet"
)
@click.argument("model")
@stream_options()
@options.required_steps_option
@click.option("--k", type=int, default=32, show_default=True, help="Tokens of the prompt.")
@click.option("--l", type=int, default=32, show_default=True, help="Tokens to be reproduced.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Parquet file to write; the same command goes on with an unfinished one.",
)
@study_options.model_options
@study_options.workers_option
@options.json_option
def command(
    model: str,
    steps: options.Steps,
    output: Path,
    revision: str | None,
    model_batch_size: int | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Measure how much of each sequence MODEL reproduces from its beginning, by greedy decoding.

    MODEL is a directory (a checkpoint of `pile-tools train`, or any causal model that transformers opens)
    or a Hub id, with @revision or --revision. Writes a row for each sequence: step, row, share, n_matched,
    n_prefix, document, offset, n_tokens, source, continuation. `pile-tools memorize-report` reports on it.
    """
    from pile_tools.studies.memorize import memorize
    from pile_tools.studies.memorize_report import read_shares
    from pile_tools.studies.model_name import ModelName
    from pile_tools.studies.stream_place import StreamPlace

    with options.progress_bar() as progress:
        made = memorize(
            StreamPlace(**take_stream(settings)),
            ModelName.parse(model, revision),
            output,
            start=steps[0],
            stop=steps[1],
            model_batch_size=model_batch_size or 64,
            progress=progress,
            **settings,
        )
    shares = read_shares(output)
    if as_json:
        options.print_json(
            {
                "output": str(output),
                "existed": not made,
                "sequences": shares.sequences,
                "memorized": shares.memorized,
                "mean_share": shares.mean,
            }
        )
        return
    click.echo(
        f"{output}: {'made' if made else 'there already'}, {shares.sequences:,} sequences, "
        f"{shares.memorized:,} memorized whole; mean share of tokens reproduced {shares.mean:.4f}"
    )
