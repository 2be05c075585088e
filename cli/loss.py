"""``pile-tools loss``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options, study_options
from .tables import LARGEST, print_table

if TYPE_CHECKING:
    from pile_tools.studies.loss import LossGroup, LossReport


@options.command(example="pile-tools loss RUN/step512 --data tokens/ --steps 480:544 --plot loss.png")
@click.argument("model")
@study_options.stream_options
@study_options.steps_option
@study_options.checkpoint_steps_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Parquet file with a row for each sequence; the same command goes on with an unfinished one.",
)
@options.plot_option
@study_options.model_options
@study_options.workers_option
@options.all_sources_option
@options.json_option
def command(
    model: str,
    data: str,
    order: str | None,
    batch_size: int | None,
    steps: tuple[int, int],
    plot: Path | None,
    revision: str | None,
    model_batch_size: int | None,
    all_sources: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Measure the loss of MODEL on steps that it has read and on steps that it has not, also by source.

    MODEL is named as in `pile-tools memorize`. A checkpoint of `pile-tools train` records what it has read,
    and a step counts as seen only where its bytes are those. --plot draws the loss against the steps since
    a sequence was last read, which is refused where the checkpoint has read other streams, too.
    """
    from pile_tools.studies.loss import check_plot, loss_by_exposure, plot_exposure
    from pile_tools.studies.model_name import ModelName
    from pile_tools.studies.stream_place import StreamPlace

    place = StreamPlace(data, order, batch_size)
    if plot is not None:
        check_plot(place)  # before hours of measuring
    with options.progress_bar() as progress:
        report = loss_by_exposure(
            place,
            ModelName.parse(model, revision),
            start=steps[0],
            stop=steps[1],
            model_batch_size=model_batch_size or 8,
            progress=progress,
            **settings,
        )
    _show(report, all_sources=all_sources, as_json=as_json)
    if plot is not None:
        plot_exposure(report, place, plot)


def _show(report: "LossReport", *, all_sources: bool, as_json: bool) -> None:
    if as_json:
        options.print_json(
            {
                "checkpoint_steps": report.reading.steps,
                "totals": [asdict(group) for group in report.totals],
                "by_source": [asdict(group) for group in report.by_source],
            }
        )
        return
    click.echo(f"the checkpoint has read {report.reading.steps:,} steps\n")
    rows = [("all", group) for group in report.totals]
    groups = report.by_source
    if not all_sources:
        groups = report.by_largest_sources(LARGEST, "({} other sources)")
    rows += [(group.source or "not known", group) for group in groups]
    print_table(
        ("source", "step was", "sequences", "loss (nats/token)", "standard error"),
        [(name, *_cells(group)) for name, group in rows],
    )


def _cells(group: "LossGroup") -> tuple[str, int, float, float | None]:
    seen = {True: "seen", False: "not seen", None: "seen with other bytes"}[group.seen]
    return seen, group.sequences, group.loss, group.error
