"""``pile-tools memorize-report``."""

from pathlib import Path

import click

from . import options, study_options
from .tables import LARGEST, fold_rows, print_table


@options.command(example="pile-tools memorize-report mem.parquet --every 100 --data tokens/ --plot mem.png")
@click.argument("table", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--every", type=int, default=1000, show_default=True, help="Steps of an interval.")
@click.option(
    "--threshold",
    type=float,
    default=1.0,
    show_default=True,
    help="A sequence is memorized when at least this share of its tokens is reproduced.",
)
@click.option(
    "--data",
    default=None,
    help="The stream that was measured; then sequences are counted by how often they had been seen, too.",
)
@options.trust_files_option
@options.order_option
@options.batch_size_option
@study_options.checkpoint_steps_option
@options.plot_option
@options.all_sources_option
@options.json_option
def command(
    table: Path,
    every: int,
    threshold: float,
    data: str | None,
    order: str | None,
    batch_size: int | None,
    checkpoint_steps: int | None,
    plot: Path | None,
    all_sources: bool,
    as_json: bool,
) -> None:
    """Report on a TABLE of `pile-tools memorize`: by interval, source and times seen, with a Poisson fit.

    If sequences were memorized wherever they stood in training, their number in intervals of one length
    would be Poisson distributed: variance / mean (the dispersion) about 1, the Q-Q plot a diagonal.
    """
    from pile_tools.studies.memorize_report import memorize_report, plot_report, report_to_json
    from pile_tools.viewer import BatchViewer

    viewer = None if data is None else BatchViewer.open(data, order=order, batch_size=batch_size)
    report = memorize_report(
        table, every=every, threshold=threshold, viewer=viewer, checkpoint_steps=checkpoint_steps
    )
    if plot is not None:
        plot_report(report, plot)
    if as_json:
        options.print_json(report_to_json(report))
        return
    click.echo(f"{report.sequences:,} sequences, {report.memorized:,} memorized (share >= {threshold:g})\n")
    print_table(
        ("steps", "sequences", "memorized"),
        [
            (
                f"{interval.start}:{interval.stop}{'' if interval.whole else ' (in part)'}",
                interval.sequences,
                interval.memorized,
            )
            for interval in report.intervals
        ],
    )
    fit = report.fit
    click.echo(f"\nPoisson fit to the whole intervals: mean {fit.rate:.4g} in {report.every} steps")
    if fit.p_value is None:
        click.echo("nothing is memorized, so there is no dispersion to test")
    else:
        click.echo(
            f"dispersion (variance / mean) {fit.dispersion:.4g}; dispersion test p = {fit.p_value:.4g}"
        )
    for name, groups in (("source", report.by_source), ("times seen", report.by_times_seen)):
        if groups is not None:
            click.echo()
            rows = [(group.name, group.sequences, group.memorized) for group in groups]
            if name == "source":
                rows.sort(key=lambda row: (-row[1], row[0]))
            print_table(
                (name, "sequences", "memorized"),
                fold_rows(rows, "sources", limit=None if all_sources or name != "source" else LARGEST),
            )
