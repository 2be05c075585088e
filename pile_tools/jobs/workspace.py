"""Output directories and files of jobs: one run at a time, resumed by the same job, finished by a record.

A job that owns a directory is a `Workspace`: its work files are in a folder of that directory, and the
manifest is the last of its files::

    with Workspace(output, stage="fetch", parameters=parameters, inputs=[]) as space:
        if space.finished is None:
            with atomic_write(space.directory / "document.bin") as file:
                ...
            space.finish(Manifest("fetch", parameters, [], [file_entry(space.directory / "document.bin")]))

A job that adds some files to a directory, which may be finished and another job's, is a `FileGroup` (in
`jobs.file_group`): its record is the last of its files, and nothing else in the directory changes::

    class OrderFiles(FileGroup):
        def is_finished(self) -> bool:
            return (self.directory / "order.json").exists()

    with OrderFiles(directory) as group:
        if not group.finished:
            entry = write_array(group.directory / "doc_idx.npy", array)
            group.finish("order.json", record, [entry])

Both hold the lock of the directory (`storage.locks`), remove what killed runs left half written, and turn a
full disk into UnfinishedError. Where the job is finished they take no lock, which a directory that is
read-only could not give.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson

from pile_tools.errors import ChangedError, DataError, OccupiedError, RecordsError
from pile_tools.jobs.held_directory import HeldDirectory
from pile_tools.jobs.job_difference import differences, refuse_difference
from pile_tools.storage.atomic import PARTIAL_SUFFIX, atomic_write, fsync_directory, sweep_partials
from pile_tools.storage.locks import LOCK_NAME
from pile_tools.storage.manifest import (
    MANIFEST_NAME,
    UNFINISHED_NAME,
    FileEntry,
    Manifest,
    canonical_json,
    file_entry,
)
from pile_tools.storage.records import fields, integer, mapping, read_json_file, section, text

__all__ = ["InputFile", "Workspace"]

_REMOVED_NAME = ".finished"
_JOB_NAME = "job.json"
_JOB_KEYS: Final = {"stage", "parameters", "files", "versions"}
_RELEASED_NAME = "released"
_REMEDY: Final = "choose another directory with `-o`"
_INPUT = fields({"bytes": integer(), "mtime_ns": integer(-(1 << 63)), "sha256": text()})
_JOB = fields(
    {
        "stage": text(),
        "parameters": section({}),
        "files": mapping(text(), _INPUT),
        "versions": mapping(text(), text()),
    }
)


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that a job reads, under the name that manifests give it.

    ``sha256`` is what the manifest of the stage that made the file says of it, where there is one.
    """

    path: Path
    name: str
    sha256: str | None = None

    def measure(self) -> FileEntry:
        """Size and hash of the file as it is. Raises DataError where its own manifest says otherwise."""
        entry = file_entry(self.path, self.name)
        if self.sha256 not in (None, entry.sha256):
            raise DataError(
                f"{self.path}: changed since the {MANIFEST_NAME} that lists it was written; "
                "make its directory again"
            )
        return entry


class Workspace(HeldDirectory):
    """Hold the output directory ``directory`` for a job, from its start to its manifest.

    Use it as a context manager. ``finished`` is the manifest where the very same job has been done
    before, and then there is nothing to do. Otherwise the stage writes its work files under ``work``
    and its outputs into ``directory`` (each of them whole: `storage.atomic`), and calls ``finish``.

    ``versions`` are the releases that can change a byte of the work: what was begun with others is not
    resumed. A finished directory stays as it is, and its manifest names those that made it.

    ``like`` are parameters of other jobs whose unfinished work is work of this one as it stands.
    ``forget`` is called with the names of inputs that have changed since; it returns True where it has
    removed all that was made of them, and so is the job resumed. Work that ended with a RecordsError
    is resumed by the same job and gives way to any other, which may be the remedy. ``begun`` is said of
    unfinished work of a different job, before the remedy.

    Raises OccupiedError where the directory holds something else, or was begun or finished by a different job
    (named), or begun with other versions, and BusyError where another run is at work in it; a full disk
    inside the block becomes UnfinishedError.
    """

    def __init__(
        self,
        directory: Path,
        *,
        stage: str,
        parameters: Mapping[str, Any],
        inputs: Sequence[InputFile],
        versions: Mapping[str, str] | None = None,
        like: Sequence[Mapping[str, Any]] = (),
        forget: Callable[[list[str]], bool] | None = None,
        begun: str | None = None,
    ) -> None:
        super().__init__(directory)
        self.work = directory / UNFINISHED_NAME
        self.finished: Manifest | None = None
        self.input_entries: list[FileEntry] = []
        self._stage = stage
        self._parameters = dict(parameters)
        self._inputs = list(inputs)
        self._versions = dict(versions or {})
        self._like, self._forget, self._begun = list(like), forget, begun

    def is_finished(self) -> bool:
        self._refuse_foreign()
        if not (self.directory / MANIFEST_NAME).exists() or self.work.exists():
            return False
        shutil.rmtree(self.directory / _REMOVED_NAME, ignore_errors=True)
        manifest, entries = Manifest.read(self.directory), self._measured()
        state = "holds something else, finished"
        refuse_difference(
            self.directory, state, *self._compared(manifest, entries), f"{_REMEDY}, or remove this one"
        )
        manifest.check_outputs(self.directory)
        self.finished, self.input_entries = manifest, entries
        return True

    def _refuse_foreign(self) -> None:
        if self.directory.exists() and not self.directory.is_dir():
            raise OccupiedError(f"{self.directory}: not a directory; {_REMEDY}")
        if not self.directory.exists() or self.work.is_dir() or Manifest.find(self.directory) is not None:
            return
        names = sorted(path.name for path in self.directory.iterdir() if path.name != LOCK_NAME)
        if names:
            self._refuse_content(names[0])

    def _refuse_content(self, name: str) -> NoReturn:
        raise OccupiedError(
            f"{self.directory}: already holds something else ({name}); {_REMEDY}, a new or empty one"
        )

    def _measured(self) -> list[FileEntry]:
        return [file.measure() for file in self._inputs]

    def _compared(
        self, manifest: Manifest, entries: Sequence[FileEntry]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the job that ``manifest`` says was done, and this one of the inputs ``entries``."""
        old = {
            "stage": manifest.stage,
            **manifest.parameters,
            "inputs": {entry.name: entry.sha256 for entry in manifest.inputs},
        }
        new = {
            "stage": self._stage,
            **orjson.loads(canonical_json(self._parameters)),
            "inputs": {entry.name: entry.sha256 for entry in entries},
        }
        return old, new

    def _begin(self) -> None:
        if self._was_killed_at_its_end():
            self._remove_work()
            return
        self.work.mkdir(exist_ok=True)
        try:
            self._begin_or_resume()
        except BaseException:
            with suppress(OSError):
                self.work.rmdir()  # unless something is in it
            raise

    def _was_killed_at_its_end(self) -> bool:
        """Return whether this very job wrote its manifest, and was killed before its work files were gone."""
        manifest = Manifest.find(self.directory)
        if manifest is None:
            return False
        entries = self._measured()
        if differences(*self._compared(manifest, entries)):
            return False
        manifest.check_outputs(self.directory)
        sweep_partials(self.directory, own=True)
        self.finished, self.input_entries = manifest, entries
        return True

    def _begin_or_resume(self) -> None:
        old = self._read_job()
        known = {} if old is None else old["files"]
        files: dict[str, dict[str, Any]] = {}
        for file in self._inputs:
            status = file.path.stat()
            stamp = {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
            before = known.get(file.name, {})
            # An input that was not touched since is not hashed again: a resumed run starts at once.
            same = all(before.get(key) == value for key, value in stamp.items())
            same = same and file.sha256 in (None, before["sha256"])
            entry = FileEntry(file.name, status.st_size, before["sha256"]) if same else file.measure()
            files[file.name] = {**stamp, "sha256": entry.sha256}
            self.input_entries.append(entry)
        job = {
            "stage": self._stage,
            "parameters": self._parameters,
            "files": files,
            "versions": self._versions,
        }
        if old is not None:
            self._resume(old, orjson.loads(canonical_json(job)))
        sweep_partials(self.directory, own=True)
        with atomic_write(self.work / _JOB_NAME) as target:
            target.write(canonical_json(job))

    def _read_job(self) -> dict[str, Any] | None:
        """Return the job that the work folder was begun with, None for a new one; raise for foreign files."""
        path = self.work / _JOB_NAME
        if not path.exists():
            # A run that was killed as it began leaves no more than a partial file.
            names = sorted(entry.name for entry in self.work.iterdir() if entry.suffix != PARTIAL_SUFFIX)
            if names:
                self._refuse_content(f"{self.work.name}/{names[0]}")
            return None
        return self._read_record()

    def _read_record(self) -> dict[str, Any]:
        remedy = f"{_REMEDY}, or remove {self.directory} and run again"
        job: dict[str, Any] = read_json_file(self.work / _JOB_NAME, _JOB, "the record of a job", remedy)
        return job

    def _resume(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Accept the work of the job ``old`` for ``new``, this one; raise where it is of another."""
        for known_file in (*old["files"].values(), *new["files"].values()):
            del known_file["mtime_ns"]  # says only whether to hash again
        self._accept_changes(old, new)
        released = self.work / _RELEASED_NAME
        if released.exists() and differences(old, new):
            self._drop_work()
        else:
            remedy = f"{_REMEDY}, or remove this one"
            remedy = f"{self._begun}; {remedy}" if self._begun else remedy
            refuse_difference(self.directory, "half-finished", old, new, remedy)
        released.unlink(missing_ok=True)

    def _accept_changes(self, old: dict[str, Any], new: Mapping[str, Any]) -> None:
        """Make ``old`` equal to ``new`` in what does not keep this job from going on with the work."""
        if old["parameters"] in self._like:
            old["parameters"] = new["parameters"]
        before, now = old["files"], new["files"]
        changed = [name for name in now if before.get(name) != now[name]]
        same_otherwise = {**old, "files": None} == {**new, "files": None} and before.keys() == now.keys()
        if same_otherwise and changed and self._forget is not None and self._forget(changed):
            old["files"] = now

    def _drop_work(self) -> None:
        # The record of the job stays until the next one is written over it: a run that is killed here
        # must not leave work that looks like that of another job.
        for path in self.work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (_JOB_NAME, _RELEASED_NAME):
                path.unlink()

    def _has_work(self) -> bool:
        """Whether anything has been made that another job could mistake for its own."""
        own = {self.directory / LOCK_NAME, self.work / _JOB_NAME}
        return any(path.is_file() and path not in own for path in self.directory.rglob("*"))

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, the last of all files, and remove the work files.

        Raises ChangedError where an input changed meanwhile, or an output is not what the manifest lists.
        """
        stamps = self._read_record()["files"]
        for file, recorded in zip(self._inputs, self.input_entries, strict=True):
            status = file.path.stat()
            touched = status.st_mtime_ns != stamps[file.name]["mtime_ns"]
            if status.st_size != recorded.bytes or (touched and file.measure() != recorded):
                raise ChangedError(
                    f"{file.path}: changed during the run; remove {self.directory} and run again"
                )
        self._check_written(manifest.outputs, f"remove {self.directory} and run again")
        manifest.write(self.directory)
        self._remove_work()

    def _remove_work(self) -> None:
        # Renamed first: a work folder that is half removed must not look like one to resume.
        removed = self.directory / _REMOVED_NAME
        shutil.rmtree(removed, ignore_errors=True)
        self.work.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)  # another run may find it and remove it too
        fsync_directory(self.directory)

    def discard(self) -> None:
        """Remove the directory with all that is in it, where the result of the job is elsewhere."""
        shutil.rmtree(self.directory)

    def _end(self, error: BaseException | None) -> None:
        if isinstance(error, Exception) and not self._has_work():
            # A job that failed before it made anything (a bad record, say) leaves nothing behind
            # that would refuse the mended one.
            shutil.rmtree(self.work, ignore_errors=True)
        elif isinstance(error, RecordsError):
            (self.work / _RELEASED_NAME).touch()
