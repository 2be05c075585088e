"""Verification of directories and streams: which checks apply to each, and what they report."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pile_tools.checks.checks import CHECKS, Check, verify
from pile_tools.checks.digests import has_digests, is_stream, verify_directory, verify_stream
from pile_tools.checks.training import (
    CheckpointReport,
    is_checkpoint,
    is_run,
    open_viewers,
    verify_checkpoint,
    verify_run,
)
from pile_tools.errors import ParameterError
from pile_tools.jobs.progress import Progress, no_progress
from pile_tools.storage.urls import is_url, without_credentials

__all__ = ["Report", "verify_locations"]

Steps = tuple[int | None, int | None]


class Report(NamedTuple):
    """What the check ``check`` says of the directory or URL ``path``."""

    path: str
    check: str
    message: str


def verify_locations(
    locations: Sequence[str],
    *,
    streams: Sequence[str] = (),
    steps: Steps | None = None,
    order: str | None = None,
    digests: Path | None = None,
    progress: Progress = no_progress,
) -> tuple[list[Report], list[str]]:
    """Check ``locations``, directories or URLs of streams; return a report for each check that was made.

    ``streams`` are those that checkpoints are compared with. With ``steps`` or ``digests`` only steps are
    compared with their digests. Also returns what of the checkpoints no stream proves, a line each. Raises
    what ``checks.verify`` raises, and DataError for the first file or step that is not right.
    """
    if digests is not None:
        if len(locations) != 1:
            raise ParameterError(f"--digests are of one stream, but {len(locations)} are named")
        message = verify_stream(locations[0], steps, order, progress, digests=digests)
        return [Report(without_credentials(locations[0]), "digests", message)], []
    # With streams, the order is that of what the checkpoints have read.
    checks = [_digest_check(steps, None if steps is None and streams else order)]
    unproved: list[str] = []
    if steps is None:
        checks = [*CHECKS, *checks, *_training_checks(streams, order, unproved)]
    directories = [Path(name) for name in locations if not is_url(name)]
    findings = verify(directories, checks=checks, progress=progress) if directories else []
    reports = [Report(str(finding.directory), finding.check, finding.message) for finding in findings]
    for name in filter(is_url, locations):
        message = verify_stream(name, steps, order, progress)
        reports.append(Report(without_credentials(name), "digests", message))
    return reports, unproved


def _digest_check(steps: Steps | None, order: str | None) -> Check:
    """The check of steps against their digests; with ``steps`` or an ``order`` there must be digests."""
    return Check(
        "digests",
        lambda directory: (
            steps is not None or has_digests(directory) or (order is not None and is_stream(directory))
        ),
        lambda directory, progress: verify_directory(directory, steps, order, progress),
    )


def _training_checks(streams: Sequence[str], order: str | None, unproved: list[str]) -> list[Check]:
    """The checks of what `pile-tools train` wrote; steps that no stream has are added to ``unproved``."""

    def describe(report: CheckpointReport) -> str:
        if streams and report.unproved:
            unproved.append(f"{report.directory}: steps {_steps(report)} differ from every stream given")
        return _describe(report, compared=bool(streams))

    def check_checkpoint(directory: Path, progress: Progress) -> str:
        return describe(verify_checkpoint(directory, open_viewers(directory, streams, order=order)))

    def check_run(directory: Path, progress: Progress) -> str:
        report = verify_run(directory, open_viewers(directory, streams, order=order))
        same = [f"{' and '.join(names)} have the same weights" for names in report.identical]
        state = [] if report.finished else ["unfinished"]
        read = [f"{checkpoint.directory.name}: {describe(checkpoint)}" for checkpoint in report.checkpoints]
        return "; ".join([*state, *read, *same])

    return [
        Check("checkpoint", is_checkpoint, check_checkpoint),
        Check("run", is_run, check_run, for_unfinished=True),
    ]


def _describe(report: CheckpointReport, *, compared: bool) -> str:
    if not compared:
        proof = "not compared with a stream; give it with --data"
    elif report.unproved:
        proof = f"of which {_steps(report)} differ from what is given with --data"
    else:
        proof = "each as the stream has it"
    return f"has read {report.steps:,} steps, {proof}"


def _steps(report: CheckpointReport) -> str:
    return " and ".join(segment.steps for segment in report.unproved)
