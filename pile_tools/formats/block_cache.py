"""A bounded cache of blocks of remote files on disk. Losing any of it costs a fetch, never an answer."""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import xxhash

from pile_tools.formats.atomic import PARTIAL_SUFFIX, atomic_write
from pile_tools.formats.remote import RemoteSource

__all__ = ["BLOCK", "BlockCache", "CachedSource"]

BLOCK: Final = 32 << 10
_DIGEST: Final = 16
_SUFFIX: Final = ".block"
# Seconds after which a partial block is nobody's: writing one takes milliseconds.
_ABANDONED: Final = 3600.0


class BlockCache:
    """Blocks of up to ``BLOCK`` bytes under ``directory``, ``limit`` bytes in all, the oldest given up first.

    Each block is a file that ends with the XXH3-128 of what comes before, so that a damaged one is
    fetched anew. Several processes can share a directory: each counts what all have written whenever it
    has written a twentieth of the limit itself, so that p of them exceed it by (p - 1) twentieths at most.
    """

    def __init__(self, directory: Path, limit: int = 10 << 30) -> None:
        self.directory = directory
        self.limit = limit
        # What the directory held when it was last looked at, and what has been written here since.
        self._held: int | None = None
        self._written = 0

    def path(self, key: str, block: int) -> Path:
        return self.directory / key[:2] / f"{key}-{block}{_SUFFIX}"

    def get(self, key: str, block: int, length: int) -> bytes | None:
        path = self.path(key, block)
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        body = content[:-_DIGEST]
        if len(body) != length or content[-_DIGEST:] != xxhash.xxh3_128_digest(body):
            return None
        return body

    def put(self, key: str, block: int, content: bytes) -> None:
        """Keep a block; a disk that is full or read-only is no reason to fail."""
        path = self.path(key, block)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, durable=False) as file:
                file.write(content + xxhash.xxh3_128_digest(content))
        except OSError:
            return
        self._written += len(content) + _DIGEST
        if self._held is None or self._written > self.limit // 20 or self._held + self._written > self.limit:
            self._bound()

    def _files(self) -> list[tuple[float, int, Path]]:
        """Time of last use, size and path of every file; partial ones that were abandoned are removed."""
        found = []
        for path in self.directory.glob("*/*"):
            if not path.name.endswith((_SUFFIX, PARTIAL_SUFFIX)):
                continue
            try:
                status = path.stat()
                if path.name.endswith(PARTIAL_SUFFIX) and time.time() - status.st_mtime > _ABANDONED:
                    path.unlink()
                    continue
            except OSError:
                continue
            found.append((status.st_mtime, status.st_size, path))
        return found

    def _bound(self) -> None:
        """Count anew; above the limit, remove the blocks used longest ago until a tenth of it is free."""
        files = sorted(self._files())
        held = sum(size for _, size, _ in files)
        if held > self.limit:
            for _, size, path in files:
                if held <= self.limit - self.limit // 10:
                    break
                if path.name.endswith(_SUFFIX):
                    with suppress(OSError):
                        path.unlink()
                        held -= size
        self._held, self._written = held, 0


class CachedSource:
    """A remote source whose blocks are kept in a cache under its ``version``, which it must have."""

    def __init__(self, source: RemoteSource, version: str, cache: BlockCache) -> None:
        self.name, self.size = source.name, source.size
        self._source = source
        self._cache = cache
        self._key = hashlib.sha256(version.encode()).hexdigest()

    def read_many(
        self, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.uint8]:
        if len(starts) == 0 or starts.min() < 0 or (starts + lengths).max() > self.size:
            return self._source.read_many(starts, lengths)
        first, last = starts // BLOCK, np.maximum(starts + lengths - 1, starts) // BLOCK
        wanted = sorted(
            {block for one, two in zip(first, last, strict=True) for block in range(one, two + 1)}
        )
        blocks = self._blocks([int(block) for block in wanted])
        out = np.empty(int(lengths.sum()), np.uint8)
        target = 0
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            done = 0
            while done < length:
                block, place = divmod(start + done, BLOCK)
                part = blocks[block][place : place + length - done]
                out[target : target + len(part)] = np.frombuffer(part, np.uint8)
                done += len(part)
                target += len(part)
        return out

    def _blocks(self, wanted: list[int]) -> dict[int, bytes]:
        sizes = {block: min(BLOCK, self.size - block * BLOCK) for block in wanted}
        found = {}
        for block, size in sizes.items():
            content = self._cache.get(self._key, block, size)
            if content is not None:
                found[block] = content
        missing = [block for block in wanted if block not in found]
        if missing:
            lengths = np.array([sizes[block] for block in missing], np.int64)
            content_of_all = self._source.read_many(np.array(missing, np.int64) * BLOCK, lengths)
            place = 0
            for block, length in zip(missing, lengths.tolist(), strict=True):
                found[block] = content_of_all[place : place + length].tobytes()
                self._cache.put(self._key, block, found[block])
                place += length
        return found
