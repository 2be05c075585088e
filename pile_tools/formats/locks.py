"""File locks between processes: of a directory that a run writes into, and of a file while it is written.

The lock of a directory is that of a hidden file in it. ``flock`` on the directory itself would need no file,
but NFS and Lustre hold such a lock on one node only, and a lock of a file on all of them.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.formats.free_space import raise_if_full

__all__ = ["LOCK_NAME", "DirectoryLock", "remove_stray_lock", "try_lock"]

LOCK_NAME: Final = ".pile-tools.lock"
_NO_LOCKS: Final = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


def try_lock(descriptor: int) -> bool:
    """Lock the open file ``descriptor`` until it is closed; return False where another one has it locked.

    Raises OSError where the file system has no locks, as ENOSYS where the operating system has none.
    """
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class DirectoryLock:
    """Hold ``directory`` for one run, from ``__enter__`` to ``__exit__``; make it where it does not exist.

    A directory that was made for the run and is empty at the end is removed. Raises PileToolsError where
    another run is at work in it, where it is no directory, and where its file system has no locks; a full
    disk inside the block becomes UnfinishedError.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / LOCK_NAME
        self._made: list[Path] = []
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        self._made = [path for path in (self.directory, *self.directory.parents) if not path.exists()]
        try:
            self._descriptor = self._acquire()
        except BaseException:
            self._remove_made()
            raise
        return self

    def _acquire(self) -> int:
        while True:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise ParameterError(
                    f"{self.directory}: no directory; name one to write to with -o"
                ) from None
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            except FileNotFoundError:
                continue  # another run that made the directory has removed it
            try:
                if not try_lock(descriptor):
                    raise PileToolsError(
                        f"{self.directory}: another run is at work in it; wait for it or name another "
                        "directory"
                    )
                # A run that ended between the two calls has removed the file that is locked now.
                if self._is_there(descriptor):
                    return descriptor
            except OSError as error:
                os.close(descriptor)
                if error.errno in _NO_LOCKS:
                    raise PileToolsError(
                        f"{self.directory}: its file system has no file locks ({error.strerror}), which keep "
                        "two runs apart; mount it with them (Lustre: `-o flock`), or name a directory on "
                        "another file system"
                    ) from None
                raise OSError(error.errno, error.strerror, str(self._path)) from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _is_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.lstat())
        except FileNotFoundError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is None:
            return
        # Removed while it is locked: whoever opened it before finds out that it is no longer there. Where the
        # run has removed all of the directory, it may be that of the next one.
        with suppress(OSError):
            if self._is_there(self._descriptor):
                self._path.unlink()
        os.close(self._descriptor)
        self._descriptor = None
        self._remove_made()
        raise_if_full(error, self.directory)

    def _remove_made(self) -> None:
        for path in self._made:
            try:
                path.rmdir()
            except OSError:
                return


def remove_stray_lock(directory: Path) -> None:
    """Remove the lock file that a run left in ``directory`` which was killed at its very end.

    A run that finds all done takes no lock, and so would leave it there for ever. One that is held stays.
    """
    if (directory / LOCK_NAME).exists():
        with suppress(PileToolsError, OSError), DirectoryLock(directory):
            pass
