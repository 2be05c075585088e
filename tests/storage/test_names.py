"""Names of files in records: inside of their directory, or refused."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.errors import DataError
from pile_tools.storage.names import check_name, name_problem, path_inside


@pytest.mark.parametrize("name", ["a", "train/00.jsonl.zst", "a b", "é/ü", ".hidden", "a" * 255])
def test_names_of_files(name: str) -> None:
    assert name_problem(name) is None
    assert check_name(name, "record") == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (3, "no text"),
        (None, "no text"),
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("../a", '".."'),
        ("a/../../b", '".."'),
        ("a//b", "empty part"),
        ("./a", "empty part"),
        ("a\\b", "backslash"),
        ("a\nb", "control"),
        ("a\0b", "control"),
        ("a\u2028b", "control"),
        ("\ud800", "UTF-8"),
        ("a" * 256, "longer"),
        ("é" * 128, "longer"),
        ("a/" * 2047 + "ab", "longer"),
    ],
)
def test_what_is_no_name(name: object, problem: str) -> None:
    assert problem in str(name_problem(name))
    with pytest.raises(DataError, match="record: names"):
        check_name(name, "record")


def test_folders_are_refused_on_request() -> None:
    assert name_problem("a/b") is None
    assert name_problem("a/b", nested=False) == 'which holds a "/"'


@given(st.text(st.sampled_from("ab./\\\n é"), max_size=12))
def test_no_name_leads_out_of_its_directory(name: str) -> None:
    if name_problem(name) is None:
        path = os.path.normpath(os.path.join("/root/directory", name))
        assert path.startswith("/root/directory/")


def test_links_that_stay_inside_are_followed(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    (directory / "folder").mkdir(parents=True)
    (directory / "folder/file").write_bytes(b"x")
    (directory / "in").symlink_to("folder/file")
    assert path_inside(directory, "in").read_bytes() == b"x"
    assert path_inside(directory, "not/there/yet") == directory / "not/there/yet"
    (tmp_path / "way").symlink_to(directory)
    assert path_inside(tmp_path / "way", "in").read_bytes() == b"x"
    (tmp_path / "secret").touch()
    (directory / "out").symlink_to("../secret")
    (directory / "way").symlink_to("..")
    for name in ("out", "way/secret", "way/new"):
        with pytest.raises(DataError, match="a link out of"):
            path_inside(directory, name)
    os.mkfifo(directory / "pipe")
    with pytest.raises(DataError, match="a device, pipe or socket"):
        path_inside(directory, "pipe")


def test_the_cache_of_the_hub_holds_links_to_its_blobs(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/0a").write_bytes(b"x")
    snapshot = tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    (snapshot / "file").symlink_to("../../blobs/0a")
    assert path_inside(snapshot, "file").read_bytes() == b"x"
