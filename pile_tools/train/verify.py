"""Proof of what checkpoints have read, and a look for checkpoints that hold the same weights.

Bytes are compared; no torch is needed.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.corpus import UNFINISHED_NAME
from pile_tools.formats.manifest import Manifest
from pile_tools.train.files import DATA_NAME, WEIGHTS_NAME, check_files, list_checkpoints, read_layout
from pile_tools.train.record import DataRecord, Segment, Stream, step_digest

if TYPE_CHECKING:
    from pile_tools.viewer import BatchViewer

__all__ = [
    "CheckpointReport",
    "RunReport",
    "is_checkpoint",
    "is_run",
    "open_viewers",
    "verify_checkpoint",
    "verify_run",
]


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """A checkpoint whose files are those that its manifest lists.

    ``digest`` is the running digest over its ``steps``, ``weights`` the SHA-256 of the file of its weights.
    The segments of its ``lineage`` that are not in ``unproved`` were compared with a stream, every step, and
    are the same; those in it differ from each stream that was given.
    """

    directory: Path
    steps: int
    samples: int
    tokens: int
    digest: str
    weights: str
    lineage: tuple[Segment, ...]
    unproved: tuple[Segment, ...]

    @property
    def proved_steps(self) -> int:
        """Number of steps that were compared with a stream and are the same."""
        return self.steps - sum(segment.last_step - segment.first_step for segment in self.unproved)


@dataclass(frozen=True, slots=True)
class RunReport:
    """The checkpoints of a run, by step, and the names of those that hold the same weights, in groups.

    ``finished`` says whether all steps of its schedule have been made.
    """

    directory: Path
    checkpoints: tuple[CheckpointReport, ...]
    identical: tuple[tuple[str, ...], ...]
    finished: bool


class _Steps:
    """A stream whose steps are read and hashed once."""

    def __init__(self, viewer: "BatchViewer", advance: Callable[[int], None]) -> None:
        self.stream, self.name = Stream.of(viewer), viewer.order.name
        self.steps = range(viewer.first_step, viewer.steps)
        self._viewer, self._advance = viewer, advance
        self._digests: dict[int, bytes] = {}

    def compare(self, record: DataRecord, segment: Segment) -> str | None:
        """Say where the stream differs from what ``segment`` records, None where every step is the same."""
        difference = segment.stream.difference(self.stream)
        hint = f" ({difference})" if difference else ""
        for step in range(segment.first_step, segment.last_step):
            if step not in self.steps:
                return f"{self.name} has no step {step}{hint}"
            if step not in self._digests:
                self._digests[step] = step_digest(self._viewer.batch(step))
                self._advance(1)
            if self._digests[step] != record.step_digest(step):
                return f"step {step} of {self.name} has other bytes than were read{hint}"
        return None


def is_checkpoint(directory: str | os.PathLike[str]) -> bool:
    """Return whether ``directory`` is a checkpoint of `pile-tools train`."""
    return (Path(directory) / DATA_NAME).is_file()


def is_run(directory: str | os.PathLike[str]) -> bool:
    """Return whether ``directory`` holds checkpoints of `pile-tools train`."""
    return any(is_checkpoint(path) for path in list_checkpoints(Path(directory)))


def open_viewers(
    directory: str | os.PathLike[str], locations: Sequence[str], *, order: str | None = None
) -> "list[BatchViewer]":
    """Open the streams at ``locations``, in ``order``, at the batch sizes that ``directory`` was trained at.

    ``directory`` is a checkpoint or a run.
    """
    from pile_tools.viewer import BatchViewer

    path = Path(directory)
    records = [DataRecord.read(one) for one in ([path] if is_checkpoint(path) else list_checkpoints(path))]
    sizes = sorted({segment.stream.batch_size for record in records for segment in record.lineage})
    return [
        BatchViewer.open(location, order=order, batch_size=size) for location in locations for size in sizes
    ]


def verify_checkpoint(
    directory: str | os.PathLike[str],
    viewers: Sequence["BatchViewer"] = (),
    *,
    advance: Callable[[int], None] = lambda steps: None,
) -> CheckpointReport:
    """Check a checkpoint's files, and prove with ``viewers`` that it has read exactly the steps it records.

    The bytes of every step are read and hashed again. A segment of the lineage is compared with its own
    stream; where that is not given, with any other, since the bytes decide (an overlay, or another form of
    the same stream, has them as well). What a fork has read of a stream that is not given stays unproved,
    which the report says. ``advance`` is called for each step that was read.

    Raises DataError, naming the first step that differs, where a segment is not what its own stream has, or
    where no step at all is of one of ``viewers``; DataError for damaged files and PileToolsError where there
    is no checkpoint.
    """
    streams = [_Steps(viewer, advance) for viewer in viewers]
    report, failure = _verify(Path(directory), streams)
    _refuse_unread([(report, failure)])
    return report


def verify_run(
    directory: str | os.PathLike[str],
    viewers: Sequence["BatchViewer"] = (),
    *,
    advance: Callable[[int], None] = lambda steps: None,
) -> RunReport:
    """Verify every checkpoint of a run, as ``verify_checkpoint`` does, and find those with the same weights.

    A fork's first checkpoint may have read nothing of ``viewers`` where a later one has. DataError, too,
    where two checkpoints disagree on a step that both have read.
    """
    run = Path(directory)
    paths = list_checkpoints(run)
    if not paths:
        raise PileToolsError(f"{run}: no checkpoint (stepN) in it; name the directory of a run")
    streams = [_Steps(viewer, advance) for viewer in viewers]
    newest, verified = DataRecord.read(paths[-1]).digests, []
    groups: dict[str, list[str]] = {}
    for path in paths:
        own = DataRecord.read(path).digests
        if not newest.startswith(own):
            raise DataError(f"{path}: has read other bytes than {paths[-1].name} in steps of both")
        verified.append(_verify(path, streams))
        groups.setdefault(verified[-1][0].weights, []).append(path.name)
    _refuse_unread(verified)
    finished = Manifest.find(run) is not None and not (run / UNFINISHED_NAME).exists()
    identical = tuple(tuple(names) for names in groups.values() if len(names) > 1)
    return RunReport(run, tuple(report for report, _ in verified), identical, finished)


def _refuse_unread(verified: Sequence[tuple[CheckpointReport, str | None]]) -> None:
    """Raise DataError where something was compared and no step of any checkpoint was proved."""
    failures = [failure for report, failure in verified if failure is not None and not report.proved_steps]
    if failures and not any(report.proved_steps for report, _ in verified):
        raise DataError(failures[0])


def _verify(path: Path, streams: Sequence[_Steps]) -> tuple[CheckpointReport, str | None]:
    """Return the report on a checkpoint, and where the steps read last differ from what they may be of."""
    manifest, record = check_files(path), DataRecord.read(path)
    read_layout(path)
    if path.name.startswith("step") and path.name != f"step{record.steps}":
        raise DataError(f"{path}: has read {record.steps} steps, so it is step{record.steps}: it was renamed")
    unproved, said = [], None
    for segment in record.lineage:
        own = [stream for stream in streams if segment.stream.difference(stream.stream) is None]
        failures = []
        for stream in own or streams:
            failure = stream.compare(record, segment)
            if failure is None:
                break
            failures.append(failure)
        else:
            if failures:
                said = f"{path}: its steps {segment.steps} are not of this stream: {failures[0]}"
                if own:
                    raise DataError(said)
            unproved.append(segment)
    report = CheckpointReport(
        directory=path,
        steps=record.steps,
        samples=record.samples,
        tokens=record.tokens,
        digest=record.digest,
        weights=next(entry.sha256 for entry in manifest.outputs if entry.name == WEIGHTS_NAME),
        lineage=record.lineage,
        unproved=tuple(unproved),
    )
    return report, said
