"""The output directory of a stage: one run at a time, resumed by the same job, finished by a manifest."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from pile_tools.errors import DataError, PileToolsError, RecordsError
from pile_tools.formats.atomic import atomic_write, fsync_directory, sweep_partials
from pile_tools.formats.corpus import UNFINISHED_NAME
from pile_tools.formats.free_space import raise_if_full
from pile_tools.formats.locks import LOCK_NAME, DirectoryLock, remove_stray_lock
from pile_tools.formats.manifest import MANIFEST_NAME, FileEntry, Manifest, canonical_json, file_entry

__all__ = ["InputFile", "Workspace"]

_REMOVED_NAME = ".finished"
_JOB_NAME = "job.json"
_RELEASED_NAME = "released"


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


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> list[str]:
    """The places in which two jobs differ, as "name: old value, now new value"."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        one, two = old.get(key), new.get(key)
        if isinstance(one, dict) and isinstance(two, dict):
            found += _differences(one, two, f"{where}{key}: ")
        elif one != two:
            found.append(f"{where}{key} {one!r}, now {two!r}")
    return found


class Workspace:
    """Hold the output directory ``directory`` for a job, from its start to its manifest.

    Use it as a context manager. ``finished`` is the manifest where the very same job has been done
    before, and then there is nothing to do. Otherwise the stage writes its work files under ``work``
    and its outputs into ``directory`` (each of them whole: `formats.atomic`), and calls ``finish``.

    ``versions`` are the releases that can change a byte of the work: what was begun with others is not
    resumed. A finished directory stays as it is, and its manifest names those that made it.

    ``like`` are parameters of other jobs whose unfinished work is work of this one as it stands.
    ``forget`` is called with the names of inputs that have changed since; it returns True where it has
    removed all that was made of them, and so is the job resumed. Work that ended with a RecordsError
    is resumed by the same job and gives way to any other, which may be the remedy.

    Raises PileToolsError where the directory holds something else, another run is at work in it, or it
    was begun or finished by a different job (named), or begun with other versions; a full disk inside the
    block becomes UnfinishedError.
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
    ) -> None:
        self.directory = directory
        self.work = directory / UNFINISHED_NAME
        self.finished: Manifest | None = None
        self.input_entries: list[FileEntry] = []
        self._stage = stage
        self._parameters = dict(parameters)
        self._inputs = list(inputs)
        self._versions = dict(versions or {})
        self._like, self._forget = list(like), forget
        self._held: ExitStack | None = None

    def __enter__(self) -> Self:
        try:
            return self._enter()
        except OSError as error:
            raise_if_full(error, self.directory)
            raise

    def _enter(self) -> Self:
        if self._is_finished():
            remove_stray_lock(self.directory)
            return self
        with ExitStack() as stack:
            stack.enter_context(DirectoryLock(self.directory))
            if self._is_finished():  # by a run that has just ended
                return self
            self.work.mkdir(exist_ok=True)
            try:
                self._begin_or_resume()
            except BaseException:
                with suppress(OSError):
                    self.work.rmdir()  # unless something is in it
                raise
            self._held = stack.pop_all()
        return self

    def _is_finished(self) -> bool:
        """Whether this very job is finished; raise where the directory holds something else."""
        self._refuse_foreign()
        if not (self.directory / MANIFEST_NAME).exists() or self.work.exists():
            return False
        self._compare_finished()
        return True

    def _refuse_foreign(self) -> None:
        if self.directory.exists() and not self.directory.is_dir():
            raise PileToolsError(f"{self.directory}: not a directory; name another with `-o`")
        if not self.directory.exists() or self.work.is_dir() or Manifest.find(self.directory) is not None:
            return
        names = sorted(path.name for path in self.directory.iterdir() if path.name != LOCK_NAME)
        if names:
            raise PileToolsError(
                f"{self.directory}: already holds something else ({names[0]}); "
                "name a new or empty directory with `-o`"
            )

    def _compare_finished(self) -> None:
        shutil.rmtree(self.directory / _REMOVED_NAME, ignore_errors=True)
        manifest = Manifest.read(self.directory)
        entries = [file.measure() for file in self._inputs]
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
        self._refuse_difference("finished", old, new)
        manifest.check_outputs(self.directory)
        self.finished, self.input_entries = manifest, entries

    def _refuse_difference(self, state: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        found = _differences(old, new)
        if found:
            more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
            raise PileToolsError(
                f"{self.directory}: {state} by a different job: {'; '.join(found[:3])}{more}; "
                "name another directory with `-o`, or remove this one"
            )

    def _begin_or_resume(self) -> None:
        path = self.work / _JOB_NAME
        sweep_partials(self.directory, own=True)
        old = orjson.loads(path.read_bytes()) if path.exists() else None
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
        new = orjson.loads(canonical_json(job))
        if old is not None:
            for known_file in (*old["files"].values(), *new["files"].values()):
                del known_file["mtime_ns"]  # says only whether to hash again
            self._accept_changes(old, new)
            released = self.work / _RELEASED_NAME
            if released.exists() and _differences(old, new):
                self._drop_work()
            else:
                self._refuse_difference("half-finished", old, new)
            released.unlink(missing_ok=True)
        with atomic_write(path) as target:
            target.write(canonical_json(job))

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

        Raises PileToolsError where an input changed meanwhile, or an output is not what the manifest lists.
        """
        stamps = orjson.loads((self.work / _JOB_NAME).read_bytes())["files"]
        for file, recorded in zip(self._inputs, self.input_entries, strict=True):
            status = file.path.stat()
            touched = status.st_mtime_ns != stamps[file.name]["mtime_ns"]
            if status.st_size != recorded.bytes or (touched and file.measure() != recorded):
                raise PileToolsError(
                    f"{file.path}: changed during the run; remove {self.directory} and run again"
                )
        for entry in manifest.outputs:
            if not entry.is_in(self.directory):
                raise PileToolsError(
                    f"{self.directory / entry.name}: changed or missing since it was written; "
                    f"remove {self.directory} and run again"
                )
        manifest.write(self.directory)
        # Renamed first: a work folder that is half removed must not look like one to resume.
        removed = self.directory / _REMOVED_NAME
        shutil.rmtree(removed, ignore_errors=True)
        self.work.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)  # another run may find it and remove it too
        fsync_directory(self.directory)

    def discard(self) -> None:
        """Remove the directory with all that is in it, where the result of the job is elsewhere."""
        shutil.rmtree(self.directory)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is not None:
            if isinstance(error, Exception) and not self._has_work():
                # A job that failed before it made anything (a bad record, say) leaves nothing behind
                # that would refuse the mended one.
                shutil.rmtree(self.work, ignore_errors=True)
            elif isinstance(error, RecordsError):
                (self.work / _RELEASED_NAME).touch()
            self._held.close()
        raise_if_full(error, self.directory)
