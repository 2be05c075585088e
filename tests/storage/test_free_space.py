"""Free space of the disk: what is certain to be too much is refused, and what may be is said."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from pile_tools.errors import UnfinishedError
from pile_tools.storage.free_space import free_bytes, raise_if_full, require_space, space_warning


@pytest.fixture
def free_1000(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


def test_a_directory_that_does_not_exist_is_on_the_disk_of_those_above(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b") == pytest.approx(free_bytes(tmp_path), rel=0.01)


@pytest.mark.usefixtures("free_1000")
def test_what_cannot_fit_is_refused(tmp_path: Path) -> None:
    require_space(tmp_path, 1000)
    with pytest.raises(UnfinishedError, match=r"1,001 bytes are to be written, but 1,000 are free") as caught:
        require_space(tmp_path, 1001)
    assert caught.value.exit_code == 4


@pytest.mark.usefixtures("free_1000")
def test_an_estimate_counts_what_is_written_and_refuses_nothing(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(bytes(500))
    assert space_warning(tmp_path, 1500) is None
    warning = space_warning(tmp_path, 1501)
    assert warning is not None
    assert "an estimated 1,001 bytes" in warning


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_unfinished_work(number: int, tmp_path: Path) -> None:
    error = OSError(number, os.strerror(number), str(tmp_path / "file"))
    with pytest.raises(UnfinishedError, match=r"file: no space left on the disk"):
        raise_if_full(error, tmp_path)
    with pytest.raises(UnfinishedError, match=r"no space left on the disk"):
        raise_if_full(OSError(number, "full"), tmp_path)


@pytest.mark.parametrize("error", [None, ValueError("x"), OSError(errno.EACCES, "no access")])
def test_any_other_error_is_left_alone(error: BaseException | None, tmp_path: Path) -> None:
    raise_if_full(error, tmp_path)
