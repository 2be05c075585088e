"""Groups of files in a directory that may be another job's: written by one run at a time, the record last.

`jobs.workspace` shows a group beside a job that owns its directory.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import orjson

from pile_tools.errors import OccupiedError
from pile_tools.jobs.held_directory import HeldDirectory
from pile_tools.jobs.job_difference import refuse_difference
from pile_tools.storage.atomic import atomic_write, sweep_partials
from pile_tools.storage.free_space import named_if_full
from pile_tools.storage.manifest import FileEntry, canonical_json
from pile_tools.storage.names import path_inside

__all__ = ["FileGroup", "UnfinishedRows"]

_HEADER_END: Final = b"\n}\n"  # of canonical JSON, which indents every other brace


class FileGroup(HeldDirectory):
    """Hold ``directory``, which may be another job's, for a job that adds a group of files to it.

    Use it as a context manager, and say in ``is_finished`` when the group is whole. ``finished`` says that it
    was before, and then there is nothing to do. Otherwise the job writes its files (each of them whole:
    `storage.atomic`) and calls ``finish``. Raises PileToolsError where another run is at work in the
    directory; a full disk inside the block becomes UnfinishedError.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.finished = True

    def _begin(self) -> None:
        self.finished = False
        sweep_partials(self.directory, own=False)

    def finish(self, name: str, record: bytes, files: Sequence[FileEntry] = ()) -> None:
        """Write the file ``name`` with the bytes of the record, the last of the group.

        Raises PileToolsError where one of ``files``, which it lists, is not there as it was written.
        """
        self._check_written(files, "run again")
        with atomic_write(path_inside(self.directory, name)) as file:
            file.write(record)


class UnfinishedRows:
    """Rows of ``row_bytes`` each, appended to the file ``path``, that the same job goes on with.

    The file begins with ``job`` as JSON. ``rows`` is how many are there. A row that was cut is made again.
    The caller holds the lock of the directory. Raises PileToolsError where the file is of a different job
    (named), and where it is something else. A link of that name is not followed, for the name is known
    beforehand.
    """

    def __init__(self, path: Path, job: dict[str, Any], row_bytes: int) -> None:
        self.path, self.rows = path, 0
        self._job, self._header, self._row_bytes = job, canonical_json(job), row_bytes
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
        self._file = os.fdopen(descriptor, "a+b")
        try:
            self._resume()
        except BaseException:
            self._close()
            raise

    def _resume(self) -> None:
        """Count the rows that are there; begin the file where it has none of any job."""
        self._file.seek(0)
        content = self._file.read()
        if content.startswith(self._header):
            self.rows = (len(content) - len(self._header)) // self._row_bytes
            self._file.truncate(len(self._header) + self.rows * self._row_bytes)
        elif self._has_no_rows(content):
            self._file.truncate(0)
            self._write(self._header)
        else:
            self._refuse(content)

    def _has_no_rows(self, content: bytes) -> bool:
        """Return whether ``content`` was begun for a job of this kind and has not one whole row."""
        header, rows = _split(content)
        if header is None:
            start = self._header.partition(b":")[0]
            return content[: len(start)] == start[: len(content)]
        return header.keys() == self._job.keys() and len(rows) < self._row_bytes

    def _write(self, content: bytes) -> None:
        with named_if_full(self.path):
            self._file.write(content)
            self._file.flush()

    def _close(self) -> None:
        with suppress(OSError):  # the bytes that a full disk did not take, of which ``_write`` has told
            self._file.close()

    def _refuse(self, content: bytes) -> NoReturn:
        old, _ = _split(content)
        if old is not None and old.keys() == self._job.keys():
            remedy = "remove it, or choose another directory with `-o`"
            refuse_difference(self.path, "half-finished", old, self._job, remedy)
        raise OccupiedError(
            f"{self.path}: no unfinished work of pile-tools; remove it, or choose another directory with `-o`"
        )

    def append(self, rows: bytes) -> None:
        """Add ``rows``, whole ones, so that a run that is killed afterwards has kept them."""
        self._write(rows)
        self.rows += len(rows) // self._row_bytes

    def read(self) -> bytes:
        """Return all rows, end to end."""
        self._file.seek(len(self._header))
        return self._file.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if isinstance(error, Exception) and not self.rows:
            self.path.unlink(missing_ok=True)  # nothing to go on with, and it would refuse the mended job


def _split(content: bytes) -> tuple[dict[str, Any] | None, bytes]:
    """Return the job in the header of unfinished rows and the rows; None for a header that is not whole."""
    header, end, rows = content.partition(_HEADER_END)
    try:
        job = orjson.loads(header + end)
    except orjson.JSONDecodeError:
        job = None
    return (job, rows) if isinstance(job, dict) else (None, content)
