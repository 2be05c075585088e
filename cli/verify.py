"""``pile-tools verify``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pile_tools.errors import ParameterError, UnfinishedError
from pile_tools.formats.urls import is_url, without_credentials

from . import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pile_tools.stages.executor import Progress
    from pile_tools.stages.verify import Check
    from pile_tools.train.verify import CheckpointReport

    from .options import Steps


@options.command(example="pile-tools verify kept/ tokens/")
@click.argument(
    "directories",
    nargs=-1,
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
@options.trust_files_option
@options.steps_option
@options.order_option
@click.option(
    "--digests",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=None,
    metavar="DIR",
    help="Compare the stream with these digests, which `pile-tools digest -o DIR` wrote, and nothing else.",
)
@options.json_option
def command(
    directories: tuple[str, ...],
    streams: tuple[str, ...],
    steps: "Steps | None",
    order: str | None,
    digests: Path | None,
    as_json: bool,
) -> None:
    """Check that DIR still holds what was made: every byte, every format rule, every number.

    DIR is the output of a stage, a token dataset, an order, a training run (also one that is not finished)
    or one of its checkpoints.
    Everything that a manifest lists is hashed again; then each kind of content is checked whole.
    Steps that `pile-tools digest` has digested are digested again; with --steps, some of them are, and
    nothing else is checked. --order names the one order, in DIR or elsewhere, whose steps are compared; with
    --data, that of what checkpoints have read. Of a stream behind a URL, the steps are compared with the
    digests that are stored there, or with --digests, and nothing else is checked. Digests of the same stream
    in another storage serve as well. Ends with 3 at the first file or step that is not right, and names it;
    with 4 where --data is not all that a checkpoint has read, so that a part of it is not proved.
    """
    from pile_tools.stages.verify import CHECKS, verify
    from pile_tools.viewer.digested import verify_stream

    if digests is not None:
        _compare_with(digests, directories, steps, order, as_json)
        return
    # With --data it is the order of what the checkpoints have read.
    checks = [_digest_check(steps, None if steps is None and streams else order)]
    unproved: list[str] = []
    if steps is None:
        checks = [*CHECKS, *checks, *_training_checks(streams, order, unproved)]
    places = [Path(name) for name in directories if not is_url(name)]
    with options.progress_bar() as progress:
        findings = verify(places, checks=checks, progress=progress) if places else []
        found = [(str(finding.directory), finding.check, finding.message) for finding in findings]
        for name in filter(is_url, directories):
            found.append((without_credentials(name), "digests", verify_stream(name, steps, order, progress)))
    _report(found, as_json)
    if streams and unproved:
        raise UnfinishedError(
            f"{unproved[0]}, so they are not proved; give the stream that they are of with --data, too"
        )


def _report(findings: list[tuple[str, str, str]], as_json: bool) -> None:
    if as_json:
        names = ("path", "check", "found")
        options.print_json({"verified": [dict(zip(names, finding, strict=True)) for finding in findings]})
        return
    for path, check, message in findings:
        click.echo(f"{path}: {check}: {message}")


def _compare_with(
    digests: Path, directories: tuple[str, ...], steps: "Steps | None", order: str | None, as_json: bool
) -> None:
    """Compare one stream, here or behind a URL, with the digests in a directory."""
    from pile_tools.viewer.digested import verify_stream

    if len(directories) != 1:
        raise ParameterError(f"--digests are of one stream, but {len(directories)} are named")
    with options.progress_bar() as progress:
        message = verify_stream(directories[0], steps, order, progress, digests=digests)
    _report([(without_credentials(directories[0]), "digests", message)], as_json)


def _digest_check(steps: "Steps | None", order: str | None) -> "Check":
    """The check of steps against their digests; with ``steps`` or an ``order`` there must be digests."""
    from pile_tools.stages.verify import Check
    from pile_tools.viewer.digested import has_digests, is_stream, verify_directory

    return Check(
        "digests",
        lambda directory: (
            steps is not None or has_digests(directory) or (order is not None and is_stream(directory))
        ),
        lambda directory, progress: verify_directory(directory, steps, order, progress),
    )


def _training_checks(streams: "Sequence[str]", order: str | None, unproved: list[str]) -> "list[Check]":
    """The checks of what `pile-tools train` wrote; steps that no stream has are added to ``unproved``."""
    from pile_tools.stages.verify import Check
    from pile_tools.train.verify import is_checkpoint, is_run, open_viewers, verify_checkpoint, verify_run

    def describe(report: "CheckpointReport") -> str:
        if streams and report.unproved:
            unproved.append(f"{report.directory}: steps {_steps(report)} differ from every stream given")
        return _describe(report, compared=bool(streams))

    def checkpoint(directory: Path, progress: "Progress") -> str:
        return describe(verify_checkpoint(directory, open_viewers(directory, streams, order=order)))

    def run(directory: Path, progress: "Progress") -> str:
        report = verify_run(directory, open_viewers(directory, streams, order=order))
        same = [f"{' and '.join(names)} have the same weights" for names in report.identical]
        state = [] if report.finished else ["unfinished"]
        return "; ".join(
            [*state, *(f"{one.directory.name}: {describe(one)}" for one in report.checkpoints), *same]
        )

    return [Check("checkpoint", is_checkpoint, checkpoint), Check("run", is_run, run, for_unfinished=True)]


def _describe(report: "CheckpointReport", *, compared: bool) -> str:
    if not compared:
        proof = "not compared with a stream; give it with --data"
    elif report.unproved:
        proof = f"of which {_steps(report)} differ from what is given with --data"
    else:
        proof = "each as the stream has it"
    return f"has read {report.steps:,} steps, {proof}"


def _steps(report: "CheckpointReport") -> str:
    return " and ".join(segment.steps for segment in report.unproved)
