"""``pile-tools suites``."""

from dataclasses import asdict

import click

from . import options


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
    options.print_table(
        ("suite", "batch", "steps", "checkpoints", "models", "dataset"),
        [
            (
                suite.name,
                f"{suite.batch_size:,}",
                f"{suite.steps:,}",
                str(len(suite.checkpoints())),
                str(len(suite.models)),
                suite.dataset.location,
            )
            for suite in suites
        ],
    )
    for suite in suites:
        click.echo(f"\n{suite.name}: {suite.title}.")
        if suite.models:
            click.echo(f"  models: {', '.join(suite.models)}")
        for note in suite.notes:
            click.echo(f"  {note}")
        for text in suite.uncertain:
            click.echo(f"  not known for certain: {text}")
