"""``pile-tools count``."""

from pathlib import Path
from typing import Any

import click

from . import options
from .streams import open_viewer, stream_options
from .tables import print_arrow


@options.command(example="pile-tools count --data tokens/ --terms terms.txt --every 1000 -o counts.parquet")
@click.option(
    "--terms",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File with a term, a word or several, on each line.",
)
@click.option(
    "--window",
    type=int,
    default=0,
    show_default="no pairs",
    metavar="WORDS",
    help="Count pairs of terms within so many words too.",
)
@options.steps_option
@options.every_option
@options.table_option
@options.plot_option
@stream_options
@options.json_option
def command(
    file: Path,
    window: int,
    steps: options.Steps | None,
    every: int | None,
    output: Path | None,
    plot: Path | None,
    as_json: bool,
    **stream: Any,
) -> None:
    """Count how often the model had read each term by each checkpoint.

    A term is a word or several in a row, written with spaces: "1" is not in "2013". A word is a longest run
    of letters, digits and "_", whatever their case, with the marks on them, such as the vowel signs of Hindi;
    a Han, Hiragana or Katakana character is a word alone. Anything else in a term ("don't", "C++") is
    refused: `pile-tools find --count` counts texts. With --window, two terms that lie within so many words of
    one text are counted as a pair.
    """
    from pile_tools.formats.tables import write_table
    from pile_tools.lookups.terms import read_terms

    terms = read_terms(file)
    viewer = open_viewer(**stream)
    with options.progress_bar() as progress:
        table = viewer.term_counts(terms, every=every, window=window, steps=steps, progress=progress)
    if output is not None:
        write_table(output, table)
    if plot is not None:
        from pile_tools.lookups.plots import plot_counts

        plot_counts(table, plot, "term")
    if as_json:
        options.print_json({"counts": table.to_pylist()})
    elif output is None:
        print_arrow(table)
    else:
        click.echo(f"{output}: {table.num_rows:,} rows of {len(terms):,} terms")
