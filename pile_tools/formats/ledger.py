"""Ledger of what was proved of local files, kept in the user's cache directory.

``$XDG_CACHE_HOME/pile-tools/ledger`` (default ``~/.cache``) has a small file for each proved file and kind
of proof. It holds the whole statement: device, inode, size, mtime and ctime of the file, and what was proved.
An entry counts only where its bytes are exactly those of the statement in question, so that a damaged,
foreign or outdated one says nothing, and the proof is made again. Entries of other users, or that others may
write, say nothing either.

A file system stamps writes with a clock that ticks (every 1 to 10 ms; where times are whole milliseconds,
every 2 s at worst). Two writes in one tick leave one time, so that a file that changed just before its proof
began could change once more unseen: such a proof is not remembered. Nor is one during which the file changed.
What a program writes through a shared memory map is stamped when the system writes it back, and is seen then.
"""

import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from pile_tools.formats.manifest import canonical_json

__all__ = ["FileState", "Ledger"]

_FORMAT: Final = "pile-tools proof 1"
_FINE_TICK_NS: Final = 100_000_000
_COARSE_TICK_NS: Final = 2_500_000_000


@dataclass(frozen=True, slots=True)
class FileState:
    """What the system tells of a file: another content has another state, but for writes in one tick."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_settled(self, now_ns: int) -> bool:
        """Whether any write from ``now_ns`` on gives the file another state."""
        is_fine = bool(self.ctime_ns % 1_000_000)
        tick = _FINE_TICK_NS if is_fine else _COARSE_TICK_NS
        return max(self.mtime_ns, self.ctime_ns) + tick <= now_ns


@dataclass(frozen=True, slots=True)
class Ledger:
    """The proofs in ``directory``; None where the user has no cache directory, so that none is remembered."""

    directory: Path | None

    @classmethod
    def of_user(cls) -> Self:
        """Return the ledger in the user's cache directory, which need not exist yet."""
        cache = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(cache):  # by the specification a relative one is ignored
            home = os.path.expanduser("~")
            if not os.path.isabs(home):
                return cls(None)
            cache = os.path.join(home, ".cache")
        return cls(Path(cache) / "pile-tools" / "ledger")

    def holds(self, state: FileState, kind: str, value: str) -> bool:
        """Whether it was proved of the file in ``state`` that its ``kind`` is ``value``."""
        if self.directory is None:
            return False
        expected = _statement(state, kind, value)
        try:
            if not _is_private(os.lstat(self.directory), stat.S_ISDIR):
                return False
            # A pipe in its place must not be waited for.
            descriptor = os.open(self._path(state, kind), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                status = os.fstat(descriptor)
                if not _is_private(status, stat.S_ISREG) or status.st_size != len(expected):
                    return False
                return os.read(descriptor, len(expected) + 1) == expected
            finally:
                os.close(descriptor)
        except OSError:
            return False

    def remember(self, state: FileState, kind: str, value: str) -> None:
        """Write that it was proved of the file in ``state`` that its ``kind`` is ``value``.

        An entry appears whole; of two processes that write it at once, the later wins. OSError where it
        cannot be written, or where others may write there.
        """
        if self.directory is None:
            raise FileNotFoundError("there is no home directory")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(os.lstat(self.directory), stat.S_ISDIR):
            raise PermissionError(f"{self.directory} can be written by others")
        descriptor, name = tempfile.mkstemp(dir=self.directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_statement(state, kind, value))
            os.replace(name, self._path(state, kind))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _path(self, state: FileState, kind: str) -> Path:
        """One entry for each file and kind, so that a file that is written again and again has one."""
        return Path(self.directory or "") / f"{state.device:x}-{state.inode:x}-{kind}"


def _is_private(status: os.stat_result, is_kind: Callable[[int], bool]) -> bool:
    """Whether a file of this kind can be written by this user alone."""
    mine = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return mine and is_kind(status.st_mode) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _statement(state: FileState, kind: str, value: str) -> bytes:
    return canonical_json({"format": _FORMAT, "file": asdict(state), "proved": {kind: value}})
