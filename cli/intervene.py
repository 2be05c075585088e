"""``pile-tools intervene``."""

from dataclasses import asdict
from pathlib import Path

import click

from . import options


class Assignment(click.ParamType):  # type: ignore[type-arg] # generic only in new releases
    """``DOCUMENTS=SOMETHING``, as a pair."""

    name = "documents=…"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        left, equals, right = str(value).rpartition("=")
        if not equals or not left or not right:
            self.fail(f"{value!r} is not of the form DOCUMENTS=…", param, ctx)
        return left, right


@options.command(
    example="pile-tools intervene --data tokens/ --from-step 113000 --allow-length-change "
    "--swap pronouns -o overlay/; then pile-tools train --from RUN/step113000 --data overlay/ -o RUN2"
)
@options.data_option
@options.order_option
@options.batch_size_option
@click.option("--from-step", type=int, required=True, help="The first step that may change.")
@click.option(
    "--to-step", type=int, default=None, show_default="the stream's end", help="The first that may not again."
)
@click.option(
    "--swap",
    default=None,
    metavar="FILE",
    help="Swap tokens by the table in this file (two words a line, a tab between them), or by the bundled "
    "one: pronouns.",
)
@click.option(
    "--allow-length-change",
    is_flag=True,
    help="Let a table have words that are not one token: its words are swapped in the text, as whole words; "
    "that is re-tokenised, and the sequence keeps its length.",
)
@click.option(
    "--drop",
    multiple=True,
    metavar="DOCUMENTS",
    help="Leave documents out: 42,43 or source:NAME or a Parquet file with a column `document`.",
)
@click.option(
    "--replace",
    multiple=True,
    type=Assignment(),
    metavar="DOCUMENTS=OTHER",
    help="Show another document (its number) or a text (its file) in their place.",
)
@click.option(
    "--move",
    multiple=True,
    type=Assignment(),
    metavar="DOCUMENTS=STEP",
    help="Show documents in this step, and what is there now in their place.",
)
@options.tokenizer_option
@options.output_directory_option
@options.json_option
def command(
    data: str,
    order: str | None,
    batch_size: int | None,
    from_step: int,
    to_step: int | None,
    swap: str | None,
    allow_length_change: bool,
    drop: tuple[str, ...],
    replace: tuple[tuple[str, str], ...],
    move: tuple[tuple[str, str], ...],
    tokenizer: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Make a counterfactual stream: the same but for words or documents, in a range of steps.

    Writes an overlay, which holds the change and no copy of the tokens. Every command opens it like a
    dataset. Outside of the range each byte is the parent's.
    """
    from pile_tools.formats.urls import without_credentials
    from pile_tools.studies.intervene import Intervention, intervene

    for selection, step in move:
        if not step.isdecimal():
            raise click.BadParameter(f"{selection}={step}: {step!r} is no step", param_hint="--move")
    change_wanted = Intervention(
        swap=swap,
        allow_length_change=allow_length_change,
        drop=drop,
        replace=replace,
        move=[(selection, int(step)) for selection, step in move],
    )
    with options.progress_bar() as progress:
        change = intervene(
            data,
            output,
            change_wanted,
            from_step=from_step,
            to_step=to_step,
            order=order,
            batch_size=batch_size,
            tokenizer=tokenizer,
            progress=progress,
        )
    if as_json:
        options.print_json(asdict(change) | {"output": str(output)})
        return
    click.echo(
        f"{output}: {'there already' if change.existed else 'made'}, steps "
        f"{change.from_step}:{change.to_step} ({change.range_samples:,} sequences) of the stream "
        f"{change.parent[:12]}…"
    )
    if change.swaps:
        click.echo(f"{change.swaps:,} tokens are swapped wherever they stand")
    if change.words:
        click.echo(f"{change.words:,} words are swapped in the text, which is re-tokenised")
    if change.samples:
        click.echo(
            f"{change.samples:,} sequences packed anew: {change.repeated:,} tokens repeated to fill them, "
            f"{change.cut:,} cut off"
        )
    elsewhere = "" if order is None else f" --order-a {order}"
    click.echo(f"list the change with `pile-tools diff {without_credentials(data)} {output}{elsewhere}`")
