"""``pile-tools diff``."""

from typing import TYPE_CHECKING, Any

import click

from . import options
from .tables import print_arrow

if TYPE_CHECKING:
    from pile_tools.lookups.diff import Difference


@options.command(example="pile-tools diff tokens/ counterfactual/")
@click.argument("one", metavar="A")
@click.argument("two", metavar="B")
@options.data_option
@click.option(
    "--order-a", default=None, show_default="the only one", help="Order of A, where A is a dataset."
)
@click.option(
    "--order-b", default=None, show_default="the only one", help="Order of B, where B is a dataset."
)
@options.batch_size_option
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
    one: str,
    two: str,
    data: str,
    order_a: str | None,
    order_b: str | None,
    batch_size: int | None,
    steps: options.Steps | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show where two streams differ: steps, sequences and documents.

    A and B are token datasets, blends or counterfactual streams, or orders of the dataset of --data. They are
    compared by their digests where both have them (`pile-tools digest`), else token by token. Steps are those
    of the batch size at which a counterfactual stream was named, unless --batch-size is given.
    """
    from pile_tools.lookups.diff import diff
    from pile_tools.viewer.naming import common_batch_size, open_named

    source = click.get_current_context().get_parameter_source("data")
    place = None if source == click.core.ParameterSource.DEFAULT else data
    if batch_size is None:
        batch_size = common_batch_size((one, two))
    viewers = [
        open_named(name, place, order=order, batch_size=batch_size)
        for name, order in ((one, order_a), (two, order_b))
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
