"""Output files that a user names: nothing that exists or that a record lists is replaced."""

import os
from pathlib import Path

import pytest

from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.storage.manifest import Manifest, file_entry
from pile_tools.storage.outputs import is_picture, refuse_listed, refuse_output


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a.bin").write_bytes(b"a")
    entry = file_entry(tmp_path / "folder/a.bin", "folder/a.bin")
    Manifest("tokenize", {}, [], [entry]).write(tmp_path)
    return tmp_path


def test_where_nothing_is_it_may_be_written(finished: Path) -> None:
    refuse_output(finished / "new.parquet")
    refuse_output(finished / "folder/new.parquet")
    os.mkfifo(finished / "pipe")
    refuse_output(finished / "pipe")


def test_directories_and_files_that_exist(finished: Path) -> None:
    with pytest.raises(ParameterError, match="a directory"):
        refuse_output(finished)
    (finished / "own.png").write_bytes(b"\x89PNG\r\n\x1a\n...")
    with pytest.raises(PileToolsError, match="exists already"):
        refuse_output(finished / "own.png")
    refuse_output(finished / "own.png", is_picture)


@pytest.mark.parametrize("gone", [False, True])
def test_listed_files_and_records_are_kept(finished: Path, gone: bool) -> None:
    listed = finished / "folder/a.bin"
    if gone:
        listed.unlink()
    for check in (refuse_listed, refuse_output):
        with pytest.raises(PileToolsError, match=r"listed in .*manifest\.json"):
            check(listed)
        with pytest.raises(PileToolsError, match="a record of pile-tools"):
            check(finished / "manifest.json")
    (finished / "link").symlink_to("folder/a.bin")
    with pytest.raises(PileToolsError, match=r"listed in .*manifest\.json"):
        refuse_listed(finished / "link")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": "another 1", "files": 3}'])
def test_records_of_others_and_damaged_ones_list_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    refuse_listed(tmp_path / "a.bin")


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", True), (b"%PDF-1.7", True), (b"<svg>", True), (b"\x89PNG\r\n\x1a\n", True), (b"PAR1", False)],
)
def test_pictures_are_told_by_their_beginning(content: bytes, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    assert is_picture(tmp_path / "x") is expected
