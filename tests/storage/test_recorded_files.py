"""Files that a record lists: opened where their bytes are those, and refused otherwise."""

from pathlib import Path

import pytest

from pile_tools.errors import DataError, MissingFileError
from pile_tools.storage.manifest import file_entry
from pile_tools.storage.recorded_files import listed_entry, open_recorded, open_whole, prove_recorded
from pile_tools.storage.sources import bytes_between
from pile_tools.storage.store import LocalStore, open_store
from tests.hub_server import Hub
from tests.storage.conftest import CONTENT, url_of


def test_the_entry_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    entry = file_entry(tmp_path / "a")
    assert listed_entry([entry], "a", "record", "remedy") == entry
    with pytest.raises(DataError, match=r"record: does not list b, .*; restore it"):
        listed_entry([entry], "b", "record", "restore it")


def test_a_file_of_this_machine_is_hashed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    entry = file_entry(tmp_path / "a")
    store = LocalStore(tmp_path)
    assert bytes_between(open_recorded(store, entry, "restore it"), 10, 5) == CONTENT[10:15]
    (tmp_path / "a").write_bytes(CONTENT[:-1] + b"\0")
    with pytest.raises(DataError, match=r"a: SHA-256 .*, but .* was recorded; restore it"):
        open_recorded(LocalStore(tmp_path), entry, "restore it")
    (tmp_path / "a").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match="a: "):
        open_recorded(LocalStore(tmp_path), entry, "restore it")
    (tmp_path / "a").unlink()
    with pytest.raises((DataError, MissingFileError), match="a: "):
        open_recorded(LocalStore(tmp_path), entry, "restore it")


def test_behind_a_url_the_length_is_compared_and_what_is_read_whole_is_proved(
    server: Hub, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    entry = file_entry(tmp_path / "a.bin")
    store = open_store(url_of(server, ""))
    source = open_whole(store, entry)
    prove_recorded(store, source, entry, "restore it")
    server.repositories["owner/name"]["a.bin"] = CONTENT[::-1]
    store = open_store(url_of(server, ""))
    assert open_recorded(store, entry, "restore it").size == entry.bytes
    with pytest.raises(DataError, match="SHA-256"):
        prove_recorded(store, open_whole(store, entry), entry, "restore it")
    server.repositories["owner/name"]["a.bin"] = CONTENT[1:]
    with pytest.raises(DataError, match="were expected"):
        open_recorded(open_store(url_of(server, "")), entry, "restore it")
