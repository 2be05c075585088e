"""``pile-tools order``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pile_tools.errors import ParameterError
from pile_tools.formats.order_files import PACKINGS
from pile_tools.formats.overlay import overlay_at
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.blend import make_blend
from pile_tools.stages.order import RECIPES, make_order
from pile_tools.stages.order_like import make_order_like
from pile_tools.stages.overlay_order import make_overlay_order

from . import options
from .streams import cache_bytes_option, cache_option, open_cache, suite_option
from .tables import print_table

if TYPE_CHECKING:
    from pile_tools.formats.order_record import BlendRecord
    from pile_tools.stages.order import OrderSummary
    from pile_tools.stages.order_like import KeptSummary


@options.command(
    example="pile-tools order tokens/ --seq-length 2048 --batch-size 1024 --steps 1000 --seed 1234"
)
@click.argument("data", envvar="PILE_TOOLS_DATA", required=False)
@click.option("--data", "datasets", multiple=True, metavar="DATA", help="A dataset of a blend; repeat it.")
@options.trust_files_option
@click.option("--weight", "weights", multiple=True, metavar="NUMBER", help="Its weight in the blend.")
@click.option(
    "--like",
    default=None,
    metavar="OTHER",
    help="Keep the documents' order of another dataset of the same corpus.",
)
@click.option(
    "--like-order", default=None, metavar="NAME", help="Which order of OTHER, where it has several."
)
@suite_option
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
@click.option("--split", default=None, metavar="969,30,1", help="Order a part of the documents only.")
@click.option(
    "--part",
    type=click.Choice(["train", "valid", "test"]),
    default="train",
    show_default=True,
    help="The part of the split.",
)
@click.option(
    "--name",
    default=None,
    show_default="train_0, or the part of a split",
    help="Name of the order in its files' names.",
)
@click.option(
    "--names",
    type=click.Choice(list(PACKINGS)),
    default="neox",
    show_default=True,
    help="Write the maps under the names of GPT-NeoX up to 2023, or (neox-2024) of GPT-NeoX since.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    show_default="beside the dataset",
    help="Directory to write the order to.",
)
@cache_option
@cache_bytes_option
@options.json_option
def command(
    data: str | None,
    datasets: tuple[str, ...],
    weights: tuple[str, ...],
    like: str | None,
    like_order: str | None,
    suite: str | None,
    output: Path | None,
    cache: Path | None,
    cache_bytes: int,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Make the order in which training reads the token dataset DATA (directory or prefix).

    Writes GPT-NeoX's three index maps under GPT-NeoX's names, and order.json. GPT-NeoX since 2024 looks for
    other names than before: write those with --names neox-2024. The order depends on
    the number of samples only through the number of epochs that they need. With --data and --weight
    for each of several datasets, a blend of them is written into the directory of -o.

    DATA and --data may be a counterfactual stream. Its order is the one that it changes: DATA gets an
    order.json of other --steps or --batch-size of it, and a blend reads its samples in that order.

    With --like, DATA is tokenised differently from the same corpus as OTHER, and its documents come in
    OTHER's order. What is not given is as in that order, and the steps are those of the same share of it.
    """
    if len(datasets) == 1 and not weights:
        _refuse("the dataset is named twice", "data")
    place = next((place for place in (*datasets, data) if place is not None), ".")
    if like is not None:
        _refuse(
            "--like is of one dataset, with a place of its own", "suite", "weights", "cache", "cache_bytes"
        )
        _refuse("--like keeps that of the other order", "seed", "recipe", "split", "part")
        if len(datasets) > 1:
            raise ParameterError("--like is of one dataset, and --data is given several times")
        _report_kept(
            make_order_like(place, like, like_order=like_order, output=output, **_given(parameters)), as_json
        )
        return
    if like_order is not None:
        raise ParameterError("--like-order names an order of the dataset that --like names; give both")
    if len(datasets) > 1 or weights:
        _refuse("a blend is of the datasets of --data", "data", "suite")
        _refuse("a blend has none", "name", "split", "part", "cache", "cache_bytes")
        if output is None:
            raise ParameterError("a blend needs a directory of its own; name it with -o")
        given = {name: value for name, value in parameters.items() if name not in ("name", "split", "part")}
        _report_blend(make_blend(datasets, weights, output, say=_warn, **given), output, as_json)
        return
    blocks = open_cache(cache, cache_bytes)
    if suite is not None:
        _refuse("the suite says what it is", "data", "datasets", "recipe", "split", "part", "name")
        _refuse("the suite says what it is", "seq_length", "batch_size", "steps", "num_samples")
        from pile_tools.suites import load_suite
        from pile_tools.viewer.suite_stream import open_suite_dataset

        if output is None:
            raise ParameterError("the order of a suite's dataset needs a directory; name it with -o")
        found = load_suite(suite)
        parameters = {**found.order_parameters(parameters), "names": parameters["names"]}
        dataset = open_suite_dataset(found, cache=blocks)
    elif overlay_at(place, "mmap", blocks) is not None:
        _refuse("an overlay keeps that of the order that it changes", "recipe", "seed", "split", "part")
        _report(make_overlay_order(place, output=output, **_given(parameters)), as_json)
        return
    else:
        dataset = TokenDataset.open(place, cache=blocks)
    _report(make_order(dataset, output=output, **parameters), as_json)


def _refuse(why: str, *names: str) -> None:
    """Refuse the options ``names``, which would have no effect, where they are given."""
    called = {"data": "DATA", "datasets": "--data", "weights": "--weight"}
    for name in names:
        if _is_given(name):
            option = called.get(name, f"--{name.replace('_', '-')}")
            raise ParameterError(f"{option} has no effect here: {why}; leave it out")


def _is_given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what was given of the parameters that an order may have of its own."""
    return {
        name: parameters[name]
        for name in ("seq_length", "batch_size", "steps", "num_samples", "name", "names")
        if _is_given(name)
    }


def _order_json(summary: "OrderSummary") -> dict[str, Any]:
    record = summary.record
    return {
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
        "steps_in_epoch": summary.steps_in_epoch,
        "existed": summary.existed,
    }


def _report_kept(kept: "KeptSummary", as_json: bool) -> None:
    before, after = asdict(kept.before), asdict(kept.after)
    if as_json:
        like = kept.summary.record.like
        changes = {name: {"before": before[name], "after": after[name]} for name in before}
        value = {"like": None if like is None else asdict(like), "changes": changes}
        _warn(kept.summary.warning)
        options.print_json(_order_json(kept.summary) | value)
        return
    _report(kept.summary, as_json=False)
    rows = [(name.replace("_", " "), before[name], after[name]) for name in before]
    print_table(("", "before", "after"), rows)


def _warn(message: str | None) -> None:
    if message is not None:
        click.echo(f"warning: {message}", err=True)


def _report(summary: "OrderSummary", as_json: bool) -> None:
    record = summary.record
    _warn(summary.warning)
    if as_json:
        options.print_json(_order_json(summary))
        return
    click.echo(f"{summary.path}: {'there already' if summary.existed else 'made'}, order {record.label}")
    click.echo(
        f"{summary.documents:,} documents, {summary.tokens:,} tokens, {record.epochs} "
        f"{'epoch' if record.epochs == 1 else 'epochs'}, {summary.samples_in_order:,} samples; "
        f"training reads {record.samples:,} in {record.steps:,} steps of {record.batch_size:,}"
    )


def _report_blend(record: "BlendRecord", output: Path, as_json: bool) -> None:
    if as_json:
        options.print_json(
            {
                "order": record.label,
                "path": str(output / "order.json"),
                "recipe": record.recipe,
                "seed": record.seed,
                "seq_length": record.seq_length,
                "batch_size": record.batch_size,
                "num_samples": record.num_samples,
                "steps": record.steps,
                "parts": [
                    {"data": part.data, "weight": part.weight, "order": part.order} for part in record.parts
                ],
            }
        )
        return
    click.echo(f"{output / 'order.json'}: made, blend {record.label}")
    for part in record.parts:
        click.echo(f"weight {part.weight} of {part.data}, order {part.order}")
    click.echo(
        f"training reads {record.samples:,} samples in {record.steps:,} steps of {record.batch_size:,}"
    )
