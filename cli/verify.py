"""``pile-tools verify``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pile_tools.stages.executor import Progress
    from pile_tools.stages.verify import Check
    from pile_tools.train.verify import CheckpointReport
    from pile_tools.viewer import BatchViewer


@options.command(example="pile-tools verify kept/ tokens/")
@click.argument(
    "directories",
    nargs=-1,
    type=click.Path(path_type=Path),
    envvar="PILE_TOOLS_DATA",
    metavar="DIR...",
    required=True,
)
@click.option(
    "--data",
    "streams",
    multiple=True,
    metavar="DIR",
    help="A token dataset with its order, to prove with what checkpoints have read; may be repeated.",
)
@options.order_option
@options.json_option
def command(
    directories: tuple[Path, ...], streams: tuple[str, ...], order: str | None, as_json: bool
) -> None:
    """Check that DIR still holds what was made: every byte, every format rule, every number.

    DIR is the output of a stage, a token dataset, an order, a training run or one of its checkpoints.
    Everything that a manifest lists is hashed again; then each kind of content is checked whole.
    Ends with 3 at the first file that is not right, and names it.
    """
    from pile_tools.stages.verify import CHECKS, verify
    from pile_tools.viewer import BatchViewer

    viewers = [BatchViewer.open(stream, order=order) for stream in streams]
    checks = [*CHECKS, *_training_checks(viewers)]
    with options.progress_bar() as progress:
        findings = verify(directories, checks=checks, progress=progress)
    if as_json:
        options.print_json(
            {
                "verified": [
                    {"path": str(finding.directory), "check": finding.check, "found": finding.message}
                    for finding in findings
                ]
            }
        )
        return
    for finding in findings:
        click.echo(f"{finding.directory}: {finding.check}: {finding.message}")


def _training_checks(viewers: "Sequence[BatchViewer]") -> "list[Check]":
    """The checks of what `pile-tools train` wrote."""
    from pile_tools.stages.verify import Check
    from pile_tools.train.verify import is_checkpoint, is_run, verify_checkpoint, verify_run

    def checkpoint(directory: Path, progress: "Progress") -> str:
        return _describe(verify_checkpoint(directory, viewers))

    def run(directory: Path, progress: "Progress") -> str:
        report = verify_run(directory, viewers)
        same = [f"{' and '.join(names)} have the same weights" for names in report.identical]
        return "; ".join([*(f"{one.directory.name}: {_describe(one)}" for one in report.checkpoints), *same])

    return [Check("checkpoint", is_checkpoint, checkpoint), Check("run", is_run, run)]


def _describe(report: "CheckpointReport") -> str:
    proof = "not compared with a stream" if report.unproved else "as the stream has them"
    return f"has read {report.steps:,} steps, {proof}"
