"""Files of any file system that fsspec knows."""

import fsspec
import pytest

from pile_tools.errors import DataError, MissingFileError, PileToolsError
from pile_tools.storage.fsspec_source import FsspecSource, list_folder
from pile_tools.storage.sources import bytes_between
from pile_tools.storage.store import open_store
from tests.storage.conftest import CONTENT


def test_any_file_system_that_fsspec_knows(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    system = fsspec.filesystem("memory")
    system.pipe_file("/remote-test/a.bin", CONTENT)
    source = FsspecSource("memory://remote-test/a.bin")
    assert bytes_between(source, 10, 100) == CONTENT[10:110]
    assert list_folder("memory://remote-test") == {"a.bin": len(CONTENT)}
    assert open_store("memory://remote-test").list() == {"a.bin": len(CONTENT)}
    assert list_folder("memory://remote-test/none") == {}
    with pytest.raises(MissingFileError, match="no such file"):
        FsspecSource("memory://remote-test/none")
    with pytest.raises(DataError, match="were expected"):
        FsspecSource("memory://remote-test/a.bin", 5)
    with pytest.raises(PileToolsError, match="nonsense"):
        FsspecSource("nonsense://a")
    with monkeypatch.context() as patch:
        patch.setattr(type(system), "cat_file", lambda self, path, start, end: CONTENT[start : end - 1])
        with pytest.raises(DataError, match="99 of 100 bytes came; gave up"):
            bytes_between(source, 10, 100)
    system.pipe_file("/remote-test/a.bin", CONTENT[:-1])
    with pytest.raises(DataError, match="changed while it was being read"):
        bytes_between(source, 10, 100)
    system.rm("/remote-test/a.bin")
    with pytest.raises(DataError, match="removed while it was being read"):
        bytes_between(source, 10, 100)
