"""Stores of files here and behind URLs."""

import threading
from pathlib import Path

import fsspec
import pytest

from pile_tools.errors import DataError
from pile_tools.storage.block_cache import BlockCache
from pile_tools.storage.sources import bytes_between
from pile_tools.storage.store import RemoteStore, open_store
from tests.hub_server import Hub
from tests.storage.conftest import CONTENT


def test_stores_behind_urls(server: Hub) -> None:
    store = open_store("hf://datasets/owner/name")
    assert store.list() == {"a.bin": len(CONTENT), "empty": 0}
    assert [folder.name for folder in store.folders()] == ["hf://datasets/owner/name/folder"]
    assert store.folders()[0].list() == {"b.bin": 100}
    assert store.read("empty") == b""
    assert store.read("none") is None
    assert open_store("hf://datasets/owner/name/folder").read("b.bin") == CONTENT[:100]
    web = RemoteStore(f"{server.url}/datasets/owner/name/resolve/main/")
    assert web.list() is None
    assert web.read("folder/b.bin") == CONTENT[:100]
    assert web.read("none") is None
    with pytest.raises(DataError, match="100 bytes, but 7 were expected"):
        web.open("folder/b.bin", 7)


def test_threads_open_a_file_once(server: Hub) -> None:
    store = RemoteStore("hf://datasets/owner/name")
    threads = [threading.Thread(target=store.open, args=("a.bin",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requests["HEAD", "a.bin"] == 1


def web_content(server: Hub, cache: BlockCache) -> bytes:
    store = open_store(f"{server.url}/datasets/owner/name/resolve/main", cache=cache)
    return bytes_between(store.open("a.bin"), 5, 4)


def test_a_file_without_a_version_is_not_cached(server: Hub, tmp_path: Path) -> None:
    cache = BlockCache(tmp_path)
    server.validators = False
    assert web_content(server, cache) == CONTENT[5:9]
    server.repositories["owner/name"]["a.bin"] = CONTENT[::-1]
    assert web_content(server, cache) == CONTENT[::-1][5:9]
    assert list(tmp_path.iterdir()) == []
    server.validators = True
    assert web_content(server, cache) == CONTENT[::-1][5:9]
    before = server.sent["a.bin"]
    assert web_content(server, cache) == CONTENT[::-1][5:9]
    assert server.sent["a.bin"] == before + 1  # the question for size and version


def test_nor_one_whose_file_system_tells_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = fsspec.filesystem("memory")
    info = type(system).info
    monkeypatch.setattr(
        type(system),
        "info",
        lambda self, path, **options: {
            name: value for name, value in info(self, path, **options).items() if name != "created"
        },
    )
    cache = BlockCache(tmp_path)
    for content in (CONTENT, CONTENT[::-1]):
        system.pipe_file("/unmarked/a.bin", content)
        source = open_store("memory://unmarked", cache=cache).open("a.bin")
        assert bytes_between(source, 5, 4) == content[5:9]
