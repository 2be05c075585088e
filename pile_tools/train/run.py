"""The directory of a run: begun, resumed or forked, locked while it is trained, finished by a manifest."""

import shutil
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.manifest import MANIFEST_NAME, Manifest, file_entry
from pile_tools.stages.workspace import Workspace
from pile_tools.train.ancestors import Ancestors
from pile_tools.train.checkpoints import State, write_checkpoint
from pile_tools.train.files import STAGE, check_files, list_checkpoints
from pile_tools.train.parallel import World
from pile_tools.train.record import DataRecord, Segment, Stream

if TYPE_CHECKING:
    from pile_tools.viewer import BatchViewer

__all__ = ["Run", "check_fork_batch_size", "newest_checkpoint", "read_begin", "recorded_batch_size"]


def newest_checkpoint(run: Path) -> Path | None:
    """Return the newest checkpoint of ``run``, None where it stopped before its first."""
    if not run.is_dir():
        raise PileToolsError(f"{run}: no run to resume; leave --resume out to begin one")
    found = list_checkpoints(run)
    return found[-1] if found else None


def recorded_batch_size(run: Path) -> int | None:
    """Return the batch size of the newest checkpoint of ``run``, None where it stopped before its first."""
    begin = newest_checkpoint(run)
    return None if begin is None else DataRecord.read(begin).stream.batch_size


def check_fork_batch_size(source: Path, viewer: "BatchViewer") -> None:
    """Raise ParameterError where a fork of ``source`` would change the batch size without being told to."""
    before = DataRecord.read(source).stream.batch_size
    if viewer.batch_size != before:
        raise ParameterError(
            f"{source}: trained at batch size {before}, but that of {viewer.order.name} is "
            f"{viewer.batch_size}; say which is meant with --batch-size"
        )


def read_begin(
    stream: Stream, begin: Path | None, *, fork: bool
) -> tuple[DataRecord, dict[str, Any] | None, dict[str, Any]]:
    """Return what a run that begins with the checkpoint ``begin`` has read, the recipe recorded there, and
    how it was computed ("machine" in the manifest), which is empty for a fork.

    Without a checkpoint nothing was read and the recipe is None. A fork goes on with ``stream``, whichever it
    is; otherwise DataError says how it differs from the stream that was read.
    """
    if begin is None:
        return DataRecord((Segment(stream, 0, 0),), b""), None, {}
    manifest, record = check_files(begin), DataRecord.read(begin)
    recorded: dict[str, Any] = manifest.parameters["recipe"]
    if fork:
        return record.fork(stream, manifest.identity), recorded, {}
    difference = record.stream.difference(stream)
    if difference is not None:
        raise DataError(
            f"{begin}: was trained on another stream: {difference}; name that one (--data, --order, "
            f"--batch-size), or go on with this one in a fork (--from {begin} -o ANOTHER)"
        )
    return record, recorded, dict(manifest.parameters["machine"])


class Run:
    """The run in ``directory`` of the given ``recipe`` and lineage, held by the first process of ``world``.

    ``finished`` says that the same run was finished before; then there is nothing to do. The lock is held
    until ``stack`` is closed. Raises PileToolsError on every process where the directory holds something
    else, another run is at work in it, or there is a run to ``resume`` and that was not asked for.
    """

    def __init__(
        self,
        stack: ExitStack,
        directory: Path,
        record: DataRecord,
        recipe: dict[str, Any],
        machine: dict[str, Any],
        ancestors: Ancestors,
        world: World,
        *,
        resume: bool,
        keep_last: int | None,
    ) -> None:
        self.directory, self.world, self._keep_last = directory, world, keep_last
        self._recipe, self._machine, self._ancestors = recipe, machine, ancestors
        self._parameters = {
            "recipe": recipe,
            "stream": asdict(record.stream),
            "parent": record.lineage[-1].parent,
        }
        self._workspace = Workspace(directory, stage=STAGE, parameters=self._parameters, inputs=[])
        problem: Exception | None = None
        if world.rank == 0:
            try:
                stack.enter_context(self._workspace)
                found = list_checkpoints(directory)
                if self._workspace.finished is None and found and not resume:
                    raise PileToolsError(
                        f"{directory}: an unfinished run, at {found[-1].name}; go on with --resume"
                    )
            except (PileToolsError, OSError) as error:
                problem = error
        world.agree(problem)
        self.finished = bool(world.table([float(self._workspace.finished is not None)])[0][0])

    def save(self, state: State) -> None:
        """Write a checkpoint, then remove those that are not to be kept.

        UnfinishedError, which names the last one, where it cannot be written.
        """
        try:
            write_checkpoint(
                self.directory,
                self._workspace.work,
                state,
                self._recipe,
                self._machine,
                self._ancestors,
                self.world,
            )
        except PileToolsError as error:
            raise UnfinishedError(
                f"{self.directory}: step{state.record.steps} could not be written ({error}); "
                f"{self.last_checkpoint()}; make room and go on with --resume"
            ) from error
        if self._keep_last is not None and self.world.rank == 0:
            for path in list_checkpoints(self.directory)[: -self._keep_last]:
                # Renamed first: a kill must not leave a part of a checkpoint under its name.
                gone = self._workspace.work / f"removed-{path.name}"
                shutil.rmtree(gone, ignore_errors=True)
                path.rename(gone)
                shutil.rmtree(gone)

    def has(self, step: int) -> bool:
        """Return whether there is a checkpoint ``step``."""
        return (self.directory / f"step{step}" / MANIFEST_NAME).is_file()

    def last_checkpoint(self) -> str:
        """Say which checkpoint is the last."""
        found = list_checkpoints(self.directory)
        return f"the last checkpoint, {found[-1].name}, is intact" if found else "there is no checkpoint yet"

    def finish(self, record: DataRecord) -> None:
        """Write the run's manifest, which names every checkpoint by its own manifest."""
        if self.world.rank == 0:
            names = [f"{path.name}/{MANIFEST_NAME}" for path in list_checkpoints(self.directory)]
            names += self._ancestors.write(self.directory)
            self._workspace.finish(
                Manifest(
                    stage=STAGE,
                    parameters=self._parameters,
                    inputs=[],
                    outputs=[file_entry(self.directory / name, name) for name in names],
                    counts={"steps": record.steps, "samples": record.samples, "tokens": record.tokens},
                    parents=self._ancestors.parents,
                )
            )
        self.world.agree(None)
