"""Free space on the disk that output goes to, compared with the bytes that will be written."""

import errno
import os
import shutil
from pathlib import Path

from pile_tools.errors import UnfinishedError

__all__ = ["free_bytes", "raise_if_full", "require_space", "space_warning"]


def free_bytes(directory: Path) -> int:
    """Return the bytes that are free for this user where ``directory`` is, or will be made."""
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def require_space(directory: Path, needed: int) -> None:
    """Raise UnfinishedError where fewer than ``needed`` bytes are free for ``directory``.

    ``needed`` is what will be written at least: an estimate has no place here.
    """
    free = free_bytes(directory)
    if free < needed:
        raise UnfinishedError(
            f"{directory}: {needed:,} bytes are to be written, but {free:,} are free; make room and run the "
            "same command again, or name a directory on another disk with `-o`"
        )


def space_warning(directory: Path, estimate: int) -> str | None:
    """Return a line that says that ``estimate`` bytes may not fit into ``directory``, None where they may.

    What an interrupted run left there counts as written. Such an estimate refuses nothing: how much a run
    will write is certain only when it is written.
    """
    written = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    free = free_bytes(directory)
    if free >= estimate - written:
        return None
    return (
        f"{directory}: an estimated {estimate - written:,} bytes are to be written, but {free:,} are free; "
        "where they do not suffice the run stops, and the same command goes on when there is room"
    )


def raise_if_full(error: BaseException | None, directory: Path) -> None:
    """Raise UnfinishedError where ``error`` says that the disk of ``directory`` is full."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        name = directory if error.filename is None else os.fsdecode(error.filename)
        raise UnfinishedError(
            f"{name}: no space left on the disk; make room and run the same command again to resume"
        ) from error
