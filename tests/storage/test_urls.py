"""Parts of URLs, and credentials that are neither stored nor shown."""

import posixpath
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.errors import DataError
from pile_tools.storage.urls import (
    CREDENTIALS_VARIABLE,
    child,
    is_url,
    joined,
    redacted,
    split_last,
    with_credentials,
    without_credentials,
)

names = st.text(st.sampled_from("ab c%?#é+"), min_size=1, max_size=6).filter(
    lambda name: name.strip() == name
)


@pytest.mark.parametrize("folder", ["https://host/x", "https://host/x?token=1", "hf://datasets/o/n"])
@given(name=names)
def test_a_file_of_a_folder_leads_back_to_both(folder: str, name: str) -> None:
    url = child(folder, name)
    assert split_last(url) == (folder, name)
    if folder.startswith("https"):
        parts = urlsplit(url)
        assert (parts.netloc, parts.query) == ("host", urlsplit(folder).query)


@given(st.lists(st.sampled_from(["..", "a", "b", "."]), min_size=1, max_size=5))
def test_relative_locations_are_those_of_the_standard_library(parts: list[str]) -> None:
    location = "/".join(parts)
    expected = urlsplit(urljoin("https://host/x/y/", location)).path.rstrip("/")
    assert urlsplit(joined("https://host/x/y", location)).path.rstrip("/") == expected
    assert joined("/x/y", location) == posixpath.normpath(f"/x/y/{location}")


def test_locations_of_this_machine_in_a_record_behind_a_url() -> None:
    for location in ("file:///etc/passwd", "local:///a", "zip://a::file:///b"):
        with pytest.raises(DataError, match="names the location"):
            joined("https://host/x", location)
    assert joined("/x", "https://host/y") == "https://host/y"
    with pytest.raises(DataError, match="NUL"):
        joined("/x", "a\0b")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:pass@host/a?token=1", "https://host/a"),
        ("https://host:8000/a#b", "https://host:8000/a"),
        ("hf://datasets/o/n@v1/a", "hf://datasets/o/n@v1/a"),
        ("memory://a?b", "memory://a?b"),
        ("/a/path", "/a/path"),
        ("zip://in.bin::https://u:p@host/a.zip?x=1", "zip://in.bin::https://host/a.zip"),
    ],
)
def test_what_is_stored_and_shown(url: str, expected: str) -> None:
    assert without_credentials(url) == expected
    assert redacted(f"see {url}, it failed") == f"see {expected}, it failed"
    assert is_url(url) == ("://" in url)


def test_the_environment_gives_credentials_for_all_below(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "https://user:pass@host/data?token=1 https://host/data/other?token=2"
    monkeypatch.setenv(CREDENTIALS_VARIABLE, whole)
    assert with_credentials("https://host/data/a") == "https://user:pass@host/data/a?token=1"
    assert with_credentials("https://host/data/other/a") == "https://host/data/other/a?token=2"
    for url in ("https://host/database", "https://elsewhere/data/a", "https://host/data/a?own=1"):
        assert with_credentials(url) == url
