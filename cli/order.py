"""``pile-tools order``."""

from pathlib import Path

import click

from pile_tools.stages.order import RECIPES, make_order

from . import options


@options.command(
    example="pile-tools order tokens/ --seq-length 2048 --batch-size 1024 --steps 1000 --seed 1234"
)
@click.argument("data", envvar="PILE_TOOLS_DATA", default=".")
@click.option("--seq-length", type=int, default=2048, show_default=True, help="Tokens that the model reads.")
@click.option("--batch-size", type=int, default=1024, show_default=True, help="Samples in one step.")
@click.option("--steps", type=int, default=None, help="Steps of the training run.")
@click.option(
    "--num-samples",
    type=int,
    default=None,
    show_default="steps x batch size",
    help="Number of samples that the recipe is asked for.",
)
@click.option("--seed", type=int, default=1234, show_default=True, help="Seed of the shuffles.")
@click.option("--recipe", type=click.Choice(RECIPES), default="neox", show_default=True, help="Algorithm.")
@click.option("--name", default="train_0", show_default=True, help="Name of the order in its files' names.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    show_default="beside the dataset",
    help="Directory to write the order to.",
)
@options.json_option
def command(
    data: str,
    seq_length: int,
    batch_size: int,
    steps: int | None,
    num_samples: int | None,
    seed: int,
    recipe: str,
    name: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Make the order in which training reads the token dataset DATA (directory or prefix).

    Writes GPT-NeoX's three index maps under GPT-NeoX's names, and order.json. The order depends on
    the number of samples only through the number of epochs that they need.
    """
    summary = make_order(
        data,
        seq_length=seq_length,
        batch_size=batch_size,
        steps=steps,
        num_samples=num_samples,
        seed=seed,
        recipe=recipe,
        name=name,
        output=output,
    )
    record = summary.record
    if as_json:
        options.print_json(
            {
                "order": record.label,
                "path": str(summary.path),
                "recipe": record.recipe,
                "seed": record.seed,
                "seq_length": record.seq_length,
                "batch_size": record.batch_size,
                "num_samples": record.num_samples,
                "steps": record.steps,
                "epochs": record.epochs,
                "documents": summary.documents,
                "tokens": summary.tokens,
                "samples_in_order": summary.samples_in_order,
                "existed": summary.existed,
            }
        )
        return
    click.echo(f"{summary.path}: {'there already' if summary.existed else 'made'}, order {record.label}")
    click.echo(
        f"{summary.documents:,} documents, {summary.tokens:,} tokens, {record.epochs} "
        f"{'epoch' if record.epochs == 1 else 'epochs'}, {summary.samples_in_order:,} samples; "
        f"training reads {record.samples:,} in {record.steps:,} steps of {record.batch_size:,}"
    )
