"""``pile-tools checkpoints``."""

from dataclasses import asdict

import click

from . import options
from .tables import print_table, print_text


@options.command(example="pile-tools checkpoints --suite pythia-deduped")
@click.option("--suite", required=True, metavar="NAME|FILE", help="The suite (see `pile-tools suites`).")
@options.json_option
def command(suite: str, as_json: bool) -> None:
    """Show the checkpoints of a suite, and what each has seen.

    The checkpoint after step k - 1 is the model after k steps: it has seen steps 0 to k - 1.
    """
    from pile_tools.suites import load_suite

    found = load_suite(suite)
    checkpoints = found.checkpoints()
    if as_json:
        options.print_json(
            {"suite": found.name, "checkpoints": [asdict(checkpoint) for checkpoint in checkpoints]}
        )
        return
    print_table(
        ("branch", "steps", "samples seen", "tokens seen"),
        [
            (checkpoint.branch, checkpoint.step, checkpoint.samples, checkpoint.tokens)
            for checkpoint in checkpoints
        ],
    )
    for note in (*found.notes, *(f"not known for certain: {text}" for text in found.uncertain)):
        print_text(note, err=True)
