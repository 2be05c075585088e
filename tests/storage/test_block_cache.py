"""The cache of blocks: the same bytes with fewer fetches, within its bounds, whatever happens to it."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.storage.block_cache import BLOCK, BlockCache, CachedSource
from pile_tools.storage.remote import RemoteSource

CONTENT = np.random.RandomState(0).bytes(5 * BLOCK + 777)


class Counting(RemoteSource):
    def __init__(self, content: bytes = CONTENT, version: str = "1") -> None:
        self.name, self.size, self.version = "counting", len(content), version
        self.kept = version
        self._content = content
        self.fetched = 0

    def fetch(self, start: int, length: int) -> bytes:
        self.fetched += length
        return self._content[start : start + length]


def cached(source: Counting, cache: BlockCache) -> CachedSource:
    return CachedSource(source, source.kept, cache)


def read(source: CachedSource, *ranges: tuple[int, int]) -> bytes:
    starts, lengths = (np.array([pair[place] for pair in ranges], np.int64) for place in (0, 1))
    return source.read_many(starts, lengths).tobytes()


@given(
    ranges=st.lists(
        st.tuples(st.integers(0, len(CONTENT)), st.integers(0, 3 * BLOCK)).map(
            lambda pair: (pair[0], min(pair[1], len(CONTENT) - pair[0]))
        ),
        max_size=6,
    )
)
def test_the_same_bytes(ranges: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = BlockCache(tmp_path_factory.mktemp("cache"))
    expected = b"".join(CONTENT[start : start + length] for start, length in ranges)
    source = Counting()
    assert read(cached(source, cache), *ranges) == expected
    fetched = source.fetched
    assert read(cached(source, cache), *ranges) == expected
    assert source.fetched == fetched


def test_only_the_blocks_that_are_missing_are_fetched(tmp_path: Path) -> None:
    source = Counting()
    kept = cached(source, BlockCache(tmp_path))
    read(kept, (BLOCK + 5, 10))
    assert source.fetched == BLOCK
    read(kept, (BLOCK - 5, 10))
    assert source.fetched == 2 * BLOCK
    read(kept, (5 * BLOCK, 777))
    assert source.fetched == 2 * BLOCK + 777


def test_another_version_is_another_file(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path)
    read(cached(Counting(), cache), (0, 100))
    other = Counting(CONTENT[::-1], "2")
    assert read(cached(other, cache), (0, 100)) == CONTENT[::-1][:100]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_block_is_fetched_anew(tmp_path: Path, damage: str) -> None:
    source = cached(Counting(), BlockCache(tmp_path))
    read(source, (0, 100))
    (path,) = tmp_path.glob("*/*.block")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[50] ^= 1
    path.write_bytes(content[:-1] if damage == "cut" else b"" if damage == "empty" else content)
    if damage == "gone":
        path.unlink()
    assert read(source, (0, 100)) == CONTENT[:100]


def test_it_stays_within_its_bounds(tmp_path: Path) -> None:
    source = cached(Counting(), BlockCache(tmp_path, limit=3 * BLOCK + 200))
    for block in (0, 1, 2, 3, 4):
        assert read(source, (block * BLOCK, 10)) == CONTENT[block * BLOCK :][:10]
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 3 * BLOCK + 200
    # What another run left counts too.
    read(cached(Counting(version="2"), BlockCache(tmp_path, limit=2 * BLOCK)), (0, 10))
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 2 * BLOCK


def test_several_processes_together_stay_within_the_bounds(tmp_path: Path) -> None:
    limit = 40 * BLOCK
    caches = [BlockCache(tmp_path, limit) for _ in range(3)]
    for block in range(60):
        for number, cache in enumerate(caches):
            cache.put(f"{number:02}", block, bytes(BLOCK))
            assert held(tmp_path) <= limit + 2 * (limit // 20)
    assert held(tmp_path) > limit // 2


def test_what_a_killed_process_left_half_written_counts_and_goes(tmp_path: Path) -> None:
    folder = tmp_path / "aa"
    folder.mkdir()
    young, old, other = folder / "x.1.1.partial", folder / "x.2.2.partial", folder / "notes.txt"
    for path in (young, old, other):
        path.write_bytes(bytes(2 * BLOCK))
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    cache = BlockCache(tmp_path, 5 * BLOCK)
    for block in range(4):
        cache.put("key", block, bytes(BLOCK))
    assert (young.exists(), old.exists(), other.exists()) == (True, False, True)
    assert held(tmp_path) - other.stat().st_size <= 5 * BLOCK


def held(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*/*"))


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    source = cached(Counting(), BlockCache(tmp_path / "file"))
    assert read(source, (0, 100)) == CONTENT[:100]
