"""``pile-tools explain``."""

import shutil
import sys
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options
from .tables import pad, shorten, wrap

if TYPE_CHECKING:
    from pile_tools.stages.explain import Explanation

LISTED = 100
LEAST_WIDTH = 20
GUTTER = " │ "


@options.command(example="pile-tools explain kept/ --shard 00.jsonl.zst --row 17")
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--shard", required=True, help="Name of the input shard that the document was in.")
@click.option("--row", type=int, required=True, help="Row of the document in it, from 0.")
@click.option(
    "--corpus",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="IN",
    show_default="where the inputs were",
    help="Where the input shards are now. May be given more than once.",
)
@options.json_option
def command(output: Path, shard: str, row: int, corpus: tuple[Path, ...], as_json: bool) -> None:
    """Show why a document was removed: beside the one that it duplicates, with the differing words marked.

    OUT is the output of `pile-tools dedup`. On a terminal what differs is in colour; elsewhere it stands in
    [- -] on the left and in {+ +} on the right.
    """
    from pile_tools.stages.explain import explain

    found = explain(output, shard, row, corpus=corpus)
    if as_json:
        options.print_json(
            {
                "shard": found.shard,
                "row": found.row,
                "removed": found.partner is not None,
                "duplicate_of_shard": found.partner[0] if found.partner else None,
                "duplicate_of_row": found.partner[1] if found.partner else None,
                "jaccard": found.recorded,
                "similarity": found.similarity,
                "component": found.component if found.component >= 0 else None,
                "duplicates": [{"shard": name, "row": number} for name, number in found.duplicates],
                "text": found.text,
                "duplicate_of_text": found.partner_text,
            }
        )
    elif found.partner is None:
        _print_kept(found)
    else:
        _print_side_by_side(found)


def _print_kept(found: "Explanation") -> None:
    if not found.duplicates:
        click.echo(f"{found.shard}:{found.row} stays; no removed document names it.")
        return
    listed, total = found.duplicates[:LISTED], len(found.duplicates)
    naming = "these name it" if len(listed) == total else f"{len(listed)} of the {total} that name it"
    click.echo(f"{found.shard}:{found.row} stays for component {found.component}; {naming}:")
    for name, number in listed:
        click.echo(f"  {name}:{number}")
    if len(listed) < total:
        click.echo("`--json` lists them all.")


def _wrap(text: str, width: int) -> list[str]:
    # What a document says must not steer the terminal.
    text = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return wrap(text, width)


def _print_side_by_side(found: "Explanation") -> None:
    from pile_tools.algorithms.word_diff import align_words, mark_words

    name, number = found.partner or ("", 0)
    columns = shutil.get_terminal_size((100, 24)).columns
    similarity = found.recorded if found.similarity is None else found.similarity
    verified = "similarity unknown" if similarity is None else f"similarity {similarity:.4f}"
    if found.recorded is None:
        verified += " (not verified when it was removed)"
    elif found.former_rules and found.similarity not in (None, found.recorded):
        verified += f" by the words of today, {found.recorded:.4f} by those of the version that removed it"
    click.echo(
        f"{found.shard}:{found.row} was removed as a duplicate of {name}:{number}: {verified}, "
        f"component {found.component}"
    )
    if found.partner_text is None:
        click.echo(f"The text of {name}:{number} is gone. {found.gone}")
        click.echo(f"{found.shard}:{found.row} has:")
        for line in _wrap(found.text, max(LEAST_WIDTH, columns)):
            click.echo(line)
        return
    width = max(LEAST_WIDTH, (columns - len(GUTTER)) // 2)
    colour = sys.stdout.isatty()
    heading = pad(shorten(f"{found.shard}:{found.row}", width), width)
    click.echo(f"{heading}{GUTTER}{shorten(f'{name}:{number}', width)}")
    click.echo("─" * width + "─┼─" + "─" * width)
    for stretch in align_words(found.text, found.partner_text, found.normalization):
        marked = not stretch.same
        left, right = stretch.left, stretch.right
        if marked and not colour:
            left = mark_words(left, "[-", "-]", found.normalization)
            right = mark_words(right, "{+", "+}", found.normalization)
        for one, two in zip_longest(_wrap(left, width), _wrap(right, width), fillvalue=""):
            one = pad(one, width)
            if marked and colour:
                one, two = click.style(one, fg="red"), click.style(two, fg="green")
            click.echo(f"{one}{GUTTER}{two}".rstrip())
