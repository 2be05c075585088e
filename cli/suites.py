"""``pile-tools suites``."""

from dataclasses import asdict

import click

from . import options
from .tables import print_table, print_text


@options.command(example="pile-tools suites")
@options.json_option
def command(as_json: bool) -> None:
    """List the suites: families of models with their dataset, order, batch size and checkpoints.

    A suite of your own is a file of the same form; name it by its path wherever --suite is taken.
    """
    from pile_tools.suites import list_suites

    suites = list_suites()
    if as_json:
        options.print_json({"suites": [asdict(suite) for suite in suites]})
        return
    print_table(
        ("suite", "batch", "steps", "checkpoints", "models"),
        [
            (
                suite.name,
                suite.batch_size,
                suite.steps,
                len(suite.checkpoints()),
                len(suite.models),
            )
            for suite in suites
        ],
    )
    for suite in suites:
        click.echo()
        print_text(f"{suite.name}: {suite.title}.")
        print_text(f"dataset: {suite.dataset.location}", "  ")
        if suite.models:
            print_text(f"models: {', '.join(suite.models)}", "  ")
        for note in (*suite.notes, *(f"not known for certain: {text}" for text in suite.uncertain)):
            print_text(note, "  ")
