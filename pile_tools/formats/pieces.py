"""Files joined and cut by ranges of bytes, without holding them and without needing room for both.

``join_pieces`` lays sources end to end and cuts the whole at given places. Sources that it may consume
are removed as soon as their bytes are safe, so that the peak of disk use is the result and the largest
source (or ``_FLUSH_BYTES``), not twice the result. It can be interrupted anywhere and called again.
"""

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pile_tools.errors import DataError
from pile_tools.formats.atomic import atomic_write, fsync_directory

__all__ = [
    "Piece",
    "copy_file",
    "copy_range",
    "join_pieces",
    "shard_name",
    "shard_sizes",
    "shares_blocks",
]

_FLUSH_BYTES: Final = 256 << 20
_COPY_BYTES: Final = 64 << 20
_FICLONE: Final = 0x40049409  # of Linux, linux/fs.h
_NO_KERNEL_COPY: Final = {
    errno.EXDEV,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.ETXTBSY,
    errno.EBADF,
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A file and how many bytes it has, or had before it was consumed."""

    path: Path
    bytes: int


def shard_name(prefix: str, index: int, last: int) -> str:
    """Name of data shard ``index`` of a dataset whose last shard is ``last``."""
    return f"{prefix}-{index:05d}-of-{last:05d}.bin"


def shard_sizes(total: int, shard_bytes: int | None) -> list[int]:
    """Lengths of the files that ``total`` bytes of data go to: ``shard_bytes`` each, but the last."""
    if shard_bytes is None or total <= shard_bytes:
        return [total]
    full, rest = divmod(total, shard_bytes)
    return [shard_bytes] * full + ([rest] if rest else [])


def copy_range(source: int, start: int, target: int, at: int, count: int) -> None:
    """Copy ``count`` bytes of the file descriptor ``source`` from ``start`` on to ``target`` at ``at``.

    Inside the kernel where it can (shared blocks on file systems that have them). Raises DataError where
    ``source`` ends too early.
    """
    kernel = hasattr(os, "copy_file_range")
    while count:
        step = min(count, _COPY_BYTES)
        if kernel:
            try:
                done = os.copy_file_range(source, target, step, start, at)
            except OSError as error:
                if error.errno not in _NO_KERNEL_COPY:
                    raise
                kernel = False
                continue
        else:
            done = os.pwrite(target, os.pread(source, min(step, 1 << 20), start), at)
        if done == 0:
            raise DataError(f"a file ended {count} bytes early while it was copied; it changed meanwhile")
        start, at, count = start + done, at + done, count - done


def shares_blocks(source: Path, directory: Path) -> bool:
    """Whether the file system copies ``source`` into ``directory`` without room for it, by sharing blocks."""
    try:
        import fcntl

        with source.open("rb") as file, tempfile.TemporaryFile(dir=directory) as copy:
            fcntl.ioctl(copy.fileno(), _FICLONE, file.fileno())
    except (ImportError, OSError):
        return False
    return True


def copy_file(source: Path, target: Path) -> None:
    """Copy a file as `copy_range` does; the copy appears whole."""
    with source.open("rb") as one, atomic_write(target) as two:
        copy_range(one.fileno(), 0, two.fileno(), 0, os.fstat(one.fileno()).st_size)


def join_pieces(
    pieces: Sequence[Piece],
    targets: Sequence[Piece],
    work: Path,
    *,
    consume: bool,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Lay ``pieces`` end to end and cut them into ``targets``; both have the same length in all.

    A target is written in the directory ``work`` (on the same file system), flushed and renamed to its
    place when it is whole. With ``consume`` a piece is removed when all its bytes are on disk, and one
    that is missing counts as consumed by a call before this one. ``progress`` is told the bytes done.
    Raises DataError where a piece is missing whose bytes are not in a target either.
    """
    safe: list[Path] = []  # pieces that the next flush makes free to go
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done)

    for target, cuts in zip(targets, _cuts(pieces, targets), strict=True):
        if not target.path.exists():
            _fill(target, cuts, work, safe, consume=consume, advance=advance)
        elif (found := target.path.stat().st_size) != target.bytes:
            raise DataError(f"{target.path}: {found} bytes, but {target.bytes} are expected; begin anew")
        else:
            advance(target.bytes)
        safe += [cut.piece.path for cut in cuts if cut.ends_piece]
        if consume:
            _remove(safe)
    if consume:
        _remove([piece.path for piece in pieces])


@dataclass(frozen=True, slots=True)
class _Cut:
    """``bytes`` bytes of a piece from ``start`` on, which go to a target at ``at``."""

    piece: Piece
    start: int
    at: int
    bytes: int

    @property
    def ends_piece(self) -> bool:
        return self.start + self.bytes == self.piece.bytes


def _cuts(pieces: Sequence[Piece], targets: Sequence[Piece]) -> Iterator[list[_Cut]]:
    """For each target the cuts that fill it, in order."""
    todo = iter(piece for piece in pieces if piece.bytes)
    piece, start = next(todo, None), 0
    for target in targets:
        cuts: list[_Cut] = []
        at = 0
        while at < target.bytes:
            if piece is None:
                raise ValueError("the targets are longer than the pieces")
            count = min(piece.bytes - start, target.bytes - at)
            cuts.append(_Cut(piece, start, at, count))
            start, at = start + count, at + count
            if start == piece.bytes:
                piece, start = next(todo, None), 0
        yield cuts


def _fill(
    target: Piece,
    cuts: list[_Cut],
    work: Path,
    safe: list[Path],
    *,
    consume: bool,
    advance: Callable[[int], None],
) -> None:
    growing = work / target.path.name
    if consume and cuts and cuts[0].start == 0 and cuts[0].ends_piece and not growing.exists():
        with contextlib.suppress(FileNotFoundError):
            cuts[0].piece.path.rename(growing)  # the first piece becomes the target without a copy
    # Its name is known beforehand, for it is gone on with: a link of that name is not followed.
    descriptor = os.open(growing, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        unflushed = 0
        for cut in cuts:
            if _copy_cut(cut, descriptor, growing, consume=consume):
                unflushed += cut.bytes
            if cut.ends_piece:
                safe.append(cut.piece.path)
            if consume and unflushed >= _FLUSH_BYTES:
                os.fsync(descriptor)
                _remove(safe)
                unflushed = 0
            advance(cut.bytes)
        os.ftruncate(descriptor, target.bytes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    growing.rename(target.path)
    fsync_directory(target.path.parent)


def _copy_cut(cut: _Cut, target: int, growing: Path, *, consume: bool) -> bool:
    """Copy a cut; False where its piece was consumed before, which its target must show."""
    try:
        source = os.open(cut.piece.path, os.O_RDONLY)
    except FileNotFoundError:
        if consume and os.fstat(target).st_size >= cut.at + cut.bytes:
            return False
        raise DataError(f"{cut.piece.path}: missing, and not in {growing} yet; begin anew") from None
    try:
        if (found := os.fstat(source).st_size) != cut.piece.bytes:
            raise DataError(
                f"{cut.piece.path}: {found} bytes, but {cut.piece.bytes} are expected; begin anew"
            )
        copy_range(source, cut.start, target, cut.at, cut.bytes)
    finally:
        os.close(source)
    return True


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    paths.clear()
