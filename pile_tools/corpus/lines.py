"""The lines of a JSONL shard, compressed or not, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

from pile_tools.corpus.compression import COMPRESSIONS
from pile_tools.corpus.shard import Shard

__all__ = ["LinePiece", "shard_chunks", "shard_line_groups", "shard_lines"]


@dataclass(frozen=True, slots=True)
class LinePiece:
    """A line, or a part of one that is longer than ``max_bytes``: ``start`` and ``end`` say which."""

    data: bytes
    start: bool
    end: bool


def shard_chunks(shard: Shard) -> Iterator[bytes]:
    """Yield the bytes of a JSONL shard, decompressed, in pieces of bounded size."""
    return COMPRESSIONS[shard.format.compression].chunks(shard.path)


def shard_lines(shard: Shard, max_bytes: int | None = None) -> Iterator[LinePiece]:
    """Yield the lines of a JSONL shard, newlines included, the last one as it stands.

    A line of more than ``max_bytes`` may come in pieces, so that memory stays bounded.
    """
    for group in shard_line_groups(shard, max_bytes):
        if isinstance(group, list):
            for line in group:
                yield LinePiece(line, True, True)
        else:
            yield group


def shard_line_groups(shard: Shard, max_bytes: int | None = None) -> Iterator[list[bytes] | LinePiece]:
    """Yield the lines of `shard_lines` in lists of whole ones, and pieces by themselves."""
    kept: list[bytes] = []  # pieces of the line that has not ended yet
    held, start = 0, True
    for chunk in shard_chunks(shard):
        lines = chunk.splitlines(keepends=True) if b"\r" not in chunk else _split_newlines(chunk)
        if kept or not start:
            kept.append(lines[0])
            held += len(lines[0])
            ended = lines[0].endswith(b"\n")
            if not ended and (max_bytes is None or held <= max_bytes):
                continue
            joined = b"".join(kept)
            kept, held = [], 0
            if start and ended:
                lines[0] = joined
            else:
                yield LinePiece(joined, start, ended)
                del lines[0]
            start = ended
        last = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if lines:
            yield lines
        if max_bytes is not None and len(last) > max_bytes:
            yield LinePiece(last, True, False)
            start = False
        elif last:
            kept, held = [last], len(last)
    if not start:
        yield LinePiece(b"".join(kept), False, True)
    elif kept:
        yield [b"".join(kept)]


def _split_newlines(chunk: bytes) -> list[bytes]:
    """Lines that end in a newline alone: bytes.splitlines would end one at a carriage return too."""
    lines = chunk.split(b"\n")
    last = lines.pop()
    lines = [line + b"\n" for line in lines]
    return [*lines, last] if last else lines
