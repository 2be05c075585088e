"""Joining and cutting files against plain slices of bytes, interrupted at every step."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.errors import DataError
from pile_tools.jobs import join_files as pieces
from pile_tools.jobs.join_files import Piece, copy_range, join_pieces, shard_name, shard_sizes


def lay_out(directory: Path, lengths: list[int], shard_bytes: int | None) -> tuple[list[Piece], list[Piece]]:
    """Source files of these lengths, each byte another, and the targets for them."""
    (directory / "work").mkdir(parents=True)
    (directory / "out").mkdir()
    whole = bytes(range(256)) * (sum(lengths) // 256 + 1)
    sources, start = [], 0
    for number, length in enumerate(lengths):
        path = directory / "work" / f"part-{number}"
        path.write_bytes(whole[start : start + length])
        sources.append(Piece(path, length))
        start += length
    sizes = shard_sizes(sum(lengths), shard_bytes)
    targets = [Piece(directory / "out" / shard_name("d", i, len(sizes) - 1), n) for i, n in enumerate(sizes)]
    return sources, targets


def result(targets: list[Piece]) -> bytes:
    assert [target.path.stat().st_size for target in targets] == [target.bytes for target in targets]
    return b"".join(target.path.read_bytes() for target in targets)


def test_names_count_to_the_last_index() -> None:
    assert shard_name("document", 0, 20) == "document-00000-of-00020.bin"
    assert shard_sizes(4392960000 * 2 * 50, 30 * 10**9)[-1] == 4392960000 * 100 % (30 * 10**9)


@pytest.mark.parametrize(
    ("total", "shard_bytes", "sizes"),
    [
        (10, None, [10]),
        (10, 4, [4, 4, 2]),
        (8, 4, [4, 4]),
        (3, 4, [3]),
        (4, 4, [4]),
        (0, 4, [0]),
        (0, None, [0]),
    ],
)
def test_shard_sizes(total: int, shard_bytes: int | None, sizes: list[int]) -> None:
    assert shard_sizes(total, shard_bytes) == sizes


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 40), max_size=8),
    shard_bytes=st.none() | st.integers(1, 50),
    consume=st.booleans(),
    flush=st.integers(1, 60),
)
def test_joined_is_the_bytes_end_to_end(
    lengths: list[int],
    shard_bytes: int | None,
    consume: bool,
    flush: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("join")
    sources, targets = lay_out(root, lengths, shard_bytes)
    whole = b"".join(source.path.read_bytes() for source in sources)
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_FLUSH_BYTES", flush)
        patch.setattr(os, "fsync", lambda descriptor: None)
        join_pieces(sources, targets, root / "work", consume=consume, progress=seen.append)
    assert result(targets) == whole
    assert seen == sorted(seen)
    assert not whole or seen[-1] == len(whole)
    assert [source.path.exists() for source in sources] == [not consume] * len(sources)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("shard_bytes", [None, 7, 16])
def test_killed_at_any_call_and_begun_again(shard_bytes: int | None, tmp_path: Path) -> None:
    lengths = [5, 0, 20, 3, 9]
    calls = 0
    for fatal in range(1, 200):
        sources, targets = lay_out(tmp_path / str(fatal), lengths, shard_bytes)
        whole = b"".join(source.path.read_bytes() for source in sources)
        calls = 0

        def strike(function: Any, fatal: int = fatal) -> Any:
            def call(*arguments: Any, **settings: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == fatal:
                    raise Killed
                return function(*arguments, **settings)

            return call

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pieces, "_FLUSH_BYTES", 4)
            patch.setattr(os, "fsync", strike(lambda descriptor: None))
            for name in ("open", "ftruncate", "copy_file_range"):
                patch.setattr(os, name, strike(getattr(os, name)))
            for name in ("rename", "unlink"):
                patch.setattr(Path, name, strike(getattr(Path, name)))
            try:
                join_pieces(sources, targets, tmp_path / str(fatal) / "work", consume=True)
            except Killed:
                pass
            else:
                break
        join_pieces(sources, targets, tmp_path / str(fatal) / "work", consume=True)
        assert result(targets) == whole
        assert not any(source.path.exists() for source in sources)
    assert 20 < calls < 199


def test_no_second_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies on disk is never more than the whole, the largest piece and what one flush covers."""
    monkeypatch.setattr(pieces, "_FLUSH_BYTES", 100)
    sources, targets = lay_out(tmp_path, [100] * 20, None)
    peak = 0

    def measure(done: int) -> None:
        nonlocal peak
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        peak = max(peak, sum(path.stat().st_size for path in files))

    join_pieces(sources, targets, tmp_path / "work", consume=True, progress=measure)
    assert peak <= 2000 + 100


def test_without_the_kernel_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: int) -> int:
        raise OSError(errno.EXDEV, "not on this file system")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    sources, targets = lay_out(tmp_path, [30, 40], 50)
    whole = b"".join(source.path.read_bytes() for source in sources)
    join_pieces(sources, targets, tmp_path / "work", consume=False)
    assert result(targets) == whole


def test_a_full_disk_is_not_taken_for_a_missing_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    sources, targets = lay_out(tmp_path, [30, 40], None)
    with pytest.raises(OSError, match="No space"):
        join_pieces(sources, targets, tmp_path / "work", consume=False)
    assert not targets[0].path.exists()


def test_changed_files_are_refused(tmp_path: Path) -> None:
    sources, targets = lay_out(tmp_path, [30, 40], None)
    sources[1].path.unlink()
    with pytest.raises(DataError, match="part-1: missing"):
        join_pieces(sources, targets, tmp_path / "work", consume=True)
    sources[1].path.write_bytes(b"short")
    with pytest.raises(DataError, match="part-1: 5 bytes, but 40"):
        join_pieces(sources, targets, tmp_path / "work", consume=True)
    targets[0].path.write_bytes(b"other")
    with pytest.raises(DataError, match="5 bytes, but 70"):
        join_pieces(sources, targets, tmp_path / "work", consume=True)


def test_a_source_that_ends_early(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with (
        (tmp_path / "a").open("rb") as source,
        (tmp_path / "b").open("wb") as target,
        pytest.raises(DataError, match="2 bytes early"),
    ):
        copy_range(source.fileno(), 0, target.fileno(), 0, 5)


def test_more_bytes_than_32_bits_hold(tmp_path: Path) -> None:
    """A cut beyond 2³² of a sparse file: only what is copied is read."""
    (tmp_path / "work").mkdir()
    size = 2**33
    source = Piece(tmp_path / "source", size + 10)
    with source.path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(b"0123456789")
    cuts = list(pieces._cuts([source], [Piece(tmp_path / "a", size + 3), Piece(tmp_path / "b", 7)]))
    assert [(cut.start, cut.at, cut.bytes) for cut in cuts[1]] == [(size + 3, 0, 7)]
    with source.path.open("rb") as one, (tmp_path / "b").open("wb") as two:
        copy_range(one.fileno(), size + 3, two.fileno(), 0, 7)
    assert (tmp_path / "b").read_bytes() == b"3456789"
    with source.path.open("rb") as one, (tmp_path / "c").open("wb") as two:
        copy_range(one.fileno(), size, two.fileno(), size, 10)
    assert (tmp_path / "c").stat().st_size == size + 10
