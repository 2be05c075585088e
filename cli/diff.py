"""``pile-tools diff``."""

from typing import TYPE_CHECKING, Any

import click

from . import options
from .streams import open_options, stream_options
from .tables import print_arrow

if TYPE_CHECKING:
    from pile_tools.lookups.diff import Difference


@options.command(example="pile-tools diff tokens/ counterfactual/")
@click.argument("left", metavar="A")
@click.argument("right", metavar="B")
@stream_options(argument=False, order=False)
@click.option(
    "--order-a", default=None, show_default="the only one", help="Order of A, where A is a dataset."
)
@click.option(
    "--order-b", default=None, show_default="the only one", help="Order of B, where B is a dataset."
)
@options.steps_option
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="STEPS",
    help="Differing steps whose sequences and documents are told.",
)
@options.json_option
def command(
    left: str,
    right: str,
    order_a: str | None,
    order_b: str | None,
    steps: options.Steps | None,
    limit: int,
    as_json: bool,
    **stream: Any,
) -> None:
    """Show where two streams differ: steps, sequences and documents.

    A and B are token datasets, blends or counterfactual streams, or orders of the dataset of --data or of
    --suite, whose name stands for its stream. They are compared by their digests where both have them
    (`pile-tools digest`), else token by token. Steps are those of the batch size at which a counterfactual
    stream was named, unless --batch-size is given.
    """
    from pile_tools.viewer import common_batch_size, diff, open_named

    named = open_options(**stream)
    if named["batch_size"] is None:
        named["batch_size"] = common_batch_size((left, right))
    viewers = [
        open_named(name, stream["data"], suite=stream["suite"], order=order, **named)
        for name, order in ((left, order_a), (right, order_b))
    ]
    with options.progress_bar() as progress:
        found = diff(viewers[0], viewers[1], steps=steps, limit=limit, progress=progress)
    if as_json:
        options.print_json(_as_json(found) | {"batch_size": viewers[0].batch_size})
        return
    start, stop = found.steps
    for name, span in zip("AB", found.spans, strict=True):
        if span != found.steps:
            click.echo(f"{name} has steps {span[0]}:{span[1]}; {start}:{stop} are compared")
    if found.first_step is None:
        click.echo(f"steps {start}:{stop} are the same, by their {found.by}{_believed(found)}")
        return
    ranges = [f"{first}:{last}" for first, last in found.ranges]
    more = f" and {len(ranges) - 20} more ranges" if len(ranges) > 20 else ""
    click.echo(
        f"{len(found.differing):,} of {stop - start:,} steps differ, by their {found.by}{_believed(found)}; "
        f"the first is step {found.first_step}\nsteps that differ: {', '.join(ranges[:20])}{more}"
    )
    if found.detailed < len(found.differing):
        click.echo(f"of the first {found.detailed:,} of them (--limit):")
    if found.sequences.num_rows:
        print_arrow(found.sequences)
    if found.documents.num_rows:
        print_arrow(found.documents)


def _believed(found: "Difference") -> str:
    if not found.believed:
        return ""
    places = " and ".join(found.believed)
    return f" (those of {places} were believed; `pile-tools verify URL` compares the tokens with them)"


def _as_json(found: "Difference") -> dict[str, Any]:
    return {
        "steps": found.steps,
        "steps_a": found.spans[0],
        "steps_b": found.spans[1],
        "by": found.by,
        "believed": found.believed,
        "first_step": found.first_step,
        "differing_steps": found.differing,
        "detailed_steps": found.detailed,
        "sequences": found.sequences.to_pylist(),
        "documents": found.documents.to_pylist(),
    }
