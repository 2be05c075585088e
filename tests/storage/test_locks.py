"""Locks of directories: one run at a time, and nothing left behind."""

import errno
import os
from pathlib import Path

import pytest

from pile_tools.errors import ParameterError, PileToolsError, UnfinishedError
from pile_tools.storage.locks import LOCK_NAME, DirectoryLock, remove_stray_lock, try_lock


def test_a_file_is_locked_once_and_until_it_is_closed(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT) for _ in range(2))
    try:
        assert try_lock(first)
        assert not try_lock(second)
    finally:
        os.close(first)
    assert try_lock(second)
    os.close(second)


def test_two_runs_are_kept_apart(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    with DirectoryLock(directory):
        assert (directory / LOCK_NAME).exists()
        with pytest.raises(PileToolsError, match="another run is at work in it"), DirectoryLock(directory):
            pass
        (directory / "made").touch()
    assert [path.name for path in directory.iterdir()] == ["made"]


def test_a_directory_that_was_made_for_nothing_goes(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ParameterError, match="no directory"), DirectoryLock(path):
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EIO])
def test_file_systems_without_locks(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pile_tools.storage.locks.try_lock", fail)
    expected = OSError if number == errno.EIO else PileToolsError
    with pytest.raises(expected, match=str(tmp_path)), DirectoryLock(tmp_path):
        pass


def test_a_full_disk_in_the_block_is_unfinished_work(tmp_path: Path) -> None:
    with pytest.raises(UnfinishedError, match="no space left"), DirectoryLock(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_is_stray_where_nobody_holds_it(tmp_path: Path) -> None:
    remove_stray_lock(tmp_path / "none")
    with DirectoryLock(tmp_path):
        remove_stray_lock(tmp_path)
        assert (tmp_path / LOCK_NAME).exists()
    (tmp_path / LOCK_NAME).touch()
    remove_stray_lock(tmp_path)
    assert not (tmp_path / LOCK_NAME).exists()
