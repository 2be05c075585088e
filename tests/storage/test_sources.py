"""Reading by ``pread``: the same bytes whatever is in memory, and the disk is asked for all that is not."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from pile_tools.errors import DataError
from pile_tools.storage import sources
from pile_tools.storage.sources import PreadFile

CONTENT = np.random.RandomState(0).bytes(50_000)
STARTS, LENGTHS = [40_000, 0, 7, 100, 49_990], [3000, 0, 20, 9000, 10]
EXPECTED = b"".join(CONTENT[start : start + length] for start, length in zip(STARTS, LENGTHS, strict=True))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "a.bin"
    found.write_bytes(CONTENT)
    return found


def read(file: PreadFile) -> bytes:
    return file.read_many(np.array(STARTS, np.int64), np.array(LENGTHS, np.int64)).tobytes()


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="this system cannot say what is in memory")
@pytest.mark.parametrize("answer", ["nothing", "half", "all", "not supported", "interrupted"])
def test_what_is_not_in_memory_is_asked_for_before_it_is_waited_for(
    path: Path, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.preadv, []

    def preadv(descriptor: int, buffers: list[memoryview], start: int, flags: int = 0) -> int:
        if not flags:
            calls.append(("read", start, len(buffers[0])))
            return real(descriptor, buffers, start)
        if answer == "all":
            return real(descriptor, buffers, start)
        if answer == "half":
            return real(descriptor, [buffers[0][: len(buffers[0]) // 2]], start)
        number = {"nothing": errno.EAGAIN, "not supported": errno.EOPNOTSUPP}.get(answer, errno.EINTR)
        raise OSError(number, os.strerror(number))

    def advise(descriptor: int, start: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        calls.append(("ask", start, length))

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "posix_fadvise", advise)
    assert read(PreadFile(path)) == EXPECTED
    asked = [call[1:] for call in calls if call[0] == "ask"]
    waited = [call[1:] for call in calls if call[0] == "read"]
    assert [kind for kind, *_ in calls] == ["ask"] * len(asked) + ["read"] * len(waited)
    if answer == "all":
        assert calls == []
    elif answer == "half":
        assert asked == [(41_500, 1500), (17, 10), (4600, 4500), (49_995, 5)]
    else:
        assert asked == [(start, length) for start, length in zip(STARTS, LENGTHS, strict=True) if length]
    assert waited == asked


def test_without_such_a_question_it_reads_as_well(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_NOWAIT", 0)
    assert read(PreadFile(path)) == EXPECTED


@pytest.mark.parametrize("nowait", [True, False])
def test_a_file_that_shrinks_is_an_error(path: Path, nowait: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not nowait:
        monkeypatch.setattr(sources, "_NOWAIT", 0)
    file = PreadFile(path)
    os.truncate(path, 45_000)
    with pytest.raises(DataError, match=r"a\.bin: ends before byte 50000, but had 50000"):
        read(file)
