"""``pile-tools card``."""

from pathlib import Path
from typing import Any

import click

from . import options
from .streams import data_options


@options.command(example="pile-tools card tokens/ --license Apache-2.0 --creator 'A. Author'")
@data_options()
@click.option("--name", show_default="the directory's", help="Name of the dataset or model.")
@click.option("--description", help="What it is, in a sentence or more.")
@click.option("--license", metavar="SPDX|URL", help="Its licence: an SPDX identifier, or a URL.")
@click.option("--url", help="Where it is published.")
@click.option("--creator", help="Who made it.")
@click.option("--date-published", metavar="YYYY-MM-DD", help="When it was published.")
@click.option("--version", "version", help="Its version, like 1.0.0.")
@click.option("--citation", help="How to cite it, in BibTeX.")
@click.option("--language", "languages", multiple=True, help="A language in it, like en; may be repeated.")
@click.option("--replace", is_flag=True, help="Overwrite a README.md that something else wrote.")
@options.json_option
def command(
    data: str, name: str | None, description: str | None, replace: bool, as_json: bool, **given: Any
) -> None:
    """Describe the directory DATA for others: croissant.json, and README.md with the Hub's header.

    DATA is the output of a stage. Files, hashes, counts and the chain of stages come from its
    manifest; what only the publisher knows is left out where it is not given. A run or a checkpoint of
    `pile-tools train` gets a model card, README.md, which says what each checkpoint has read.
    """
    from pile_tools.stages.card.card import write_card
    from pile_tools.stages.card.croissant import Description
    from pile_tools.train.card import is_training, write_model_card

    directory = Path(data)
    training = is_training(directory)
    said = "every document is traceable to its line of the corpus"
    if training:
        said = "each checkpoint proves which steps it has read"
    card = Description(
        name or directory.resolve().name, description or f"Made by pile-tools; {said}.", **given
    )
    if training:
        written, missing = [write_model_card(directory, card, replace=replace)], []
    else:
        written, missing = write_card(directory, card, replace=replace), card.missing
    if as_json:
        options.print_json({"written": [str(path) for path in written], "missing": missing})
        return
    for path in written:
        click.echo(str(path))
    if missing:
        click.echo(f"Croissant asks for more: {', '.join('--' + name for name in missing)}")
