"""``pile-tools find``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pile_tools.errors import ParameterError

from . import options
from .streams import open_viewer, stream_options
from .tables import print_arrow

if TYPE_CHECKING:
    import pyarrow as pa

    from pile_tools.lookups.find import Searched


@options.command(example='pile-tools find --data tokens/ "to be or not to be" --first')
@click.argument("text", nargs=-1)
@click.option(
    "--tokens", multiple=True, metavar="1,2,3", help="Token ids instead of a text; may be repeated."
)
@click.option(
    "--regex", default=None, metavar="R", help="A regular expression of Python's instead of a text."
)
@options.steps_option
@click.option("--first", is_flag=True, help="Only the first occurrence.")
@click.option("--limit", type=click.IntRange(min=1), default=None, metavar="N", help="Only the first N.")
@click.option("--count", "counting", is_flag=True, help="Count the occurrences instead of showing them.")
@options.every_option
@click.option(
    "--context",
    type=click.IntRange(min=0),
    default=60,
    show_default=True,
    help="Characters to show before and after.",
)
@options.plot_option
@options.workers_option
@stream_options
@options.json_option
def command(
    text: tuple[str, ...],
    tokens: tuple[str, ...],
    regex: str | None,
    steps: options.Steps | None,
    first: bool,
    limit: int | None,
    counting: bool,
    every: int | None,
    context: int,
    plot: Path | None,
    workers: int | None,
    as_json: bool,
    **stream: Any,
) -> None:
    """Find a text in what the model reads: every occurrence, in training order.

    TEXT is found wherever it is in the text of a sequence, after a space or not and however it is cut into
    tokens; several are sought at once. --count counts, up to the last step or with --every up to each
    checkpoint: checkpoint K has read steps 0 to K - 1.
    """
    from pile_tools.lookups.find import searched

    if counting and (first or limit is not None):
        raise ParameterError(
            "--count counts all occurrences; it goes with --steps, not with --first or --limit"
        )
    if not counting and (every is not None or plot is not None):
        raise ParameterError("--every and --plot are of counts; add --count")
    _check_text(text, several=bool(tokens) or regex is not None)
    viewer = open_viewer(**stream)
    extent = searched(viewer, steps)
    query: dict[str, Any] = {
        "text": text or None,
        "tokens": [parse_ids(ids) for ids in tokens] or None,
        "regex": regex,
        "steps": steps,
        "workers": workers,
    }
    with options.progress_bar() as progress:
        if not counting:
            table = viewer.find(**query, first=first, limit=limit, context=context, progress=progress)
        else:
            counts = viewer.count(**query, every=every, progress=progress)
    if not counting:
        _show(table, extent, text, as_json)
        return
    if plot is not None:
        from pile_tools.lookups.plots import plot_counts

        plot_counts(counts.table, plot, "pattern")
    if as_json:
        options.print_json(
            {
                "patterns": [
                    {"pattern": pattern, "count": counts.totals[pattern], "first_step": step}
                    for pattern, step in counts.first_step.items()
                ],
                "counts": counts.table.to_pylist(),
                "searched": asdict(extent),
            }
        )
        return
    for pattern, step in counts.first_step.items():
        where = (
            f"no occurrence in {extent}"
            if step is None
            else f"{counts.totals[pattern]:,}, first in step {step}"
        )
        click.echo(f"{pattern}: {where}")
    if every is not None:
        print_arrow(counts.table)


def parse_ids(text: str) -> list[int]:
    """The token ids in "1,2,3"."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise ParameterError(f"--tokens {text!r}: not token ids such as 1,2,3") from None


def _check_text(text: tuple[str, ...], *, several: bool) -> None:
    """Refuse a search for nothing, before the stream is opened."""
    if not text and not several:
        raise ParameterError(
            "nothing to look for; give one of a text, token ids and a regular expression "
            "(TEXT, --tokens 1,2,3, --regex R)"
        )
    for pattern in text:
        if not pattern:
            raise ParameterError("nothing to look for: a text of 0 bytes; give one of 1 to 16,384")
        if not pattern.strip():
            raise ParameterError(
                f"nothing to look for in {pattern!r}; give a TEXT, or look for white space with "
                "--regex, such as --regex ' {8}'"
            )


def _show(table: "pa.Table", extent: "Searched", text: tuple[str, ...], as_json: bool) -> None:
    rows = table.to_pylist()
    if as_json:
        options.print_json({"occurrences": rows, "searched": asdict(extent)})
        return
    if not rows:
        click.echo(f"no occurrence in {extent}")
        if any(pattern.lower() != pattern.upper() for pattern in text):
            click.echo("TEXT is matched letter by letter; to ignore case: --regex '(?i)…'")
    for row in rows:
        place = f"step {row['step']}, row {row['row']}, position {row['position']}"
        if row.get("dataset") is not None:
            place += f", dataset {row['dataset']}"
        if row["document"] is not None:
            place += f", document {row['document']}"
        if row["shard"] is not None:
            place += f", from {options.address(row['shard'], row['shard_row'])}"
        if row["source"] is not None:
            place += f", source {row['source']}"
        found = row["pattern"]
        if row["match"] is not None:
            found = f"{row['before']}⟦{row['match']}⟧{row['after']}".replace("\r", "\\r").replace("\n", "\\n")
        click.echo(f"{place}: {found}")
