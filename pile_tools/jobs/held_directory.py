"""Directories held by one run of a job at a time: the lock, a full disk, files that are gone."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from pile_tools.errors import ChangedError
from pile_tools.storage.free_space import raise_if_full
from pile_tools.storage.locks import DirectoryLock, remove_stray_lock
from pile_tools.storage.manifest import FileEntry

__all__ = ["HeldDirectory"]


class HeldDirectory(ABC):
    """Hold ``directory`` for a job, from the moment that it is known not to be finished to its end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._held: ExitStack | None = None

    @abstractmethod
    def is_finished(self) -> bool:
        """Return whether this very job is finished; raise where something else is in its way.

        Called without the lock, and again with it where the answer was no: another run may have ended.
        """

    @abstractmethod
    def _begin(self) -> None:
        """Make ready to write; the lock is held."""

    def _end(self, error: BaseException | None) -> None:  # noqa: B027
        """Leave the directory as the next run expects it; ``error`` ended this one. The lock is held."""

    def __enter__(self) -> Self:
        try:
            if self.is_finished():
                remove_stray_lock(self.directory)
                return self
            with ExitStack() as stack:
                stack.enter_context(DirectoryLock(self.directory))
                if not self.is_finished():
                    self._begin()
                    self._held = stack.pop_all()
        except OSError as error:
            raise_if_full(error, self.directory)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is not None:
            with self._held:
                self._end(error)
            self._held = None
        raise_if_full(error, self.directory)

    def _check_written(self, entries: Sequence[FileEntry], remedy: str) -> None:
        """Raise ChangedError for the first of ``entries`` that the directory does not hold in its size."""
        for entry in entries:
            if not entry.is_in(self.directory):
                raise ChangedError(
                    f"{self.directory / entry.name}: changed or missing since it was written; {remedy}"
                )
