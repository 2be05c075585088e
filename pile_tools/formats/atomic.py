"""Files that appear whole or not at all."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from pile_tools.formats.locks import try_lock

__all__ = ["PARTIAL_SUFFIX", "atomic_write", "fsync_directory", "publish", "sweep_partials"]

PARTIAL_SUFFIX = ".partial"
_PARTIAL_NAME: Final = re.compile(r".+\.[0-9a-f]{16}\.partial", re.DOTALL)
# Bytes of a file's name that the name of its partial file repeats: no file's name has more than 255.
_NAME_BYTES: Final = 200


def fsync_directory(path: Path) -> None:
    """Make the renames inside the directory ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(partial: Path, path: Path) -> None:
    """Flush the finished file ``partial`` to disk and rename it to ``path`` (same directory)."""
    descriptor = os.open(partial, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.replace(path)
    fsync_directory(path.parent)


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a binary file that takes the name ``path`` when the block ends without an error.

    The bytes are written beside their place, flushed and renamed; without ``durable`` they are not flushed,
    which is for what may be lost with the power. On an error nothing is left and an older file of that name
    stays as it was. A link is followed, and what is no regular file (a pipe, ``/dev/null``) is written
    directly.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    descriptor, partial = _create_partial(path)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            yield file
        if durable:
            publish(partial, path)
        else:
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)  # and with it the lock, which a sweep respects up to the rename


def _create_partial(path: Path) -> tuple[int, Path]:
    """Create a file beside ``path`` under a name that nobody else has; return it open, locked, and its name.

    Never opens what is there already, a link among it. It is not locked where the file system has no locks.
    """
    stem = os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])
    while True:
        partial = path.with_name(f"{stem}.{secrets.token_hex(8)}{PARTIAL_SUFFIX}")
        try:
            descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except FileExistsError:
            continue
        try:
            locked = try_lock(descriptor)
        except OSError:
            return descriptor, partial
        # A sweep that came between the two calls takes the file for a stray.
        if locked and partial.exists():
            return descriptor, partial
        os.close(descriptor)
        partial.unlink(missing_ok=True)


def sweep_partials(directory: Path, *, own: bool) -> None:
    """Remove the partial files in ``directory`` that runs left which were killed while they wrote them.

    The caller holds the lock of the directory. One whose writer lives is locked and stays. With ``own`` the
    directory holds nothing but a run's output: its folders are swept too, and whatever ends in
    ``PARTIAL_SUFFIX``; otherwise only names that ``atomic_write`` gives.
    """
    paths = directory.rglob(f"*{PARTIAL_SUFFIX}") if own else directory.glob(f"*{PARTIAL_SUFFIX}")
    for path in list(paths):
        if own or _PARTIAL_NAME.fullmatch(path.name):
            _remove_stray(path)


def _remove_stray(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return  # gone meanwhile, or no file of ours
    try:
        with suppress(OSError):
            if try_lock(descriptor):
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
