"""Directories held by one run: the lock, what a run in between ended, how the end is told."""

import errno
from pathlib import Path

import pytest

from pile_tools.errors import BusyError, ChangedError, UnfinishedError
from pile_tools.jobs.held_directory import HeldDirectory
from pile_tools.storage.locks import LOCK_NAME, DirectoryLock
from pile_tools.storage.manifest import FileEntry, file_entry


class Recorded(HeldDirectory):
    """A job whose last file is called "done", and that notes what is asked of it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.calls: list[str] = []

    def _is_locked(self) -> bool:
        return (self.directory / LOCK_NAME).exists()

    def is_finished(self) -> bool:
        self.calls.append("asked, locked" if self._is_locked() else "asked")
        return (self.directory / "done").exists()

    def _begin(self) -> None:
        self.calls.append("began, locked" if self._is_locked() else "began")

    def _end(self, error: BaseException | None) -> None:
        state = "ended, locked" if self._is_locked() else "ended"
        self.calls.append(f"{state}: {type(error).__name__}")

    def check(self, entries: list[FileEntry]) -> None:
        self._check_written(entries, "run again")


def test_a_job_is_asked_twice_and_holds_the_lock_to_its_end(tmp_path: Path) -> None:
    job = Recorded(tmp_path / "out")
    with job:
        with pytest.raises(BusyError, match="another run is at work"):
            Recorded(tmp_path / "out").__enter__()
        (tmp_path / "out" / "done").touch()
    assert job.calls == ["asked", "asked, locked", "began, locked", "ended, locked: NoneType"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["done"]


def test_a_finished_job_takes_no_lock_and_removes_a_stray_one(tmp_path: Path) -> None:
    (tmp_path / "done").touch()
    (tmp_path / LOCK_NAME).touch()
    job = Recorded(tmp_path)
    with job:
        assert not (tmp_path / LOCK_NAME).exists()
    assert job.calls == ["asked, locked"]


def test_a_job_that_another_run_ended_before_the_lock_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter = DirectoryLock.__enter__

    def enter_late(lock: DirectoryLock) -> DirectoryLock:
        (tmp_path / "done").touch()
        return enter(lock)

    monkeypatch.setattr(DirectoryLock, "__enter__", enter_late)
    job = Recorded(tmp_path)
    with job:
        assert not (tmp_path / LOCK_NAME).exists()
    assert job.calls == ["asked", "asked, locked"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.EACCES, "denied")])
def test_what_ended_a_run_is_passed_on(tmp_path: Path, error: BaseException) -> None:
    job = Recorded(tmp_path / "out")
    with pytest.raises(type(error)) as raised, job:
        raise error
    assert raised.value is error
    assert job.calls[-1] == f"ended, locked: {type(error).__name__}"
    assert not (tmp_path / "out").exists()  # made for the run, and nothing is in it


def test_a_full_disk_is_told_as_unfinished_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(UnfinishedError, match="no space left on the disk"), Recorded(tmp_path):
        raise full

    def begin(job: Recorded) -> None:
        raise full

    monkeypatch.setattr(Recorded, "_begin", begin)
    with pytest.raises(UnfinishedError, match="no space left on the disk"):
        Recorded(tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_as_it_was_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"22")
    entries = [file_entry(tmp_path / name) for name in ("a", "b")]
    job = Recorded(tmp_path)
    job.check(entries)
    (tmp_path / "b").write_bytes(b"2")
    with pytest.raises(ChangedError, match="b: changed or missing since it was written; run again"):
        job.check(entries)
    (tmp_path / "a").unlink()
    with pytest.raises(ChangedError, match="a: changed or missing"):
        job.check(entries)
