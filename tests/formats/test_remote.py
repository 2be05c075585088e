"""Ranges behind URLs: coalesced, exact, and an error for everything that a server can get wrong."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.formats import http_range, remote, retry
from pile_tools.formats.block_cache import BlockCache
from pile_tools.formats.fsspec_source import FsspecSource, list_folder
from pile_tools.formats.http_range import HttpSource
from pile_tools.formats.hub import HubLocation, HubRepository
from pile_tools.formats.remote import RemoteSource, coalesce
from pile_tools.formats.sources import MissingFileError, bytes_between
from pile_tools.formats.store import RemoteStore, is_url, open_store
from tests.hub_server import COMMIT, Hub, running_hub, use_as_hub

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which nobody waits for."""
    found: list[float] = []
    monkeypatch.setattr(retry, "sleep", found.append)
    return found


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[Hub]:
    with running_hub() as hub:
        hub.repositories["owner/name"] = {"a.bin": CONTENT, "folder/b.bin": CONTENT[:100], "empty": b""}
        use_as_hub(monkeypatch, hub)
        yield hub


def url_of(server: Hub, path: str = "a.bin") -> str:
    return f"{server.url}/datasets/owner/name/resolve/main/{path}"


def open_source(server: Hub, kind: str) -> RemoteSource:
    if kind == "http":
        return HttpSource(url_of(server))
    server.store = kind == "store"
    return HubRepository("dataset", "owner/name").open("a.bin")


KINDS = pytest.mark.parametrize("kind", ["http", "hub", "store"])


@given(
    ranges=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 60)), max_size=12),
    gap=st.integers(0, 40),
)
def test_spans_cover_the_ranges_and_little_more(ranges: list[tuple[int, int]], gap: int) -> None:
    starts, lengths = (np.array([pair[place] for pair in ranges], np.int64) for place in (0, 1))
    spans = coalesce(starts, lengths, gap)
    for start, length in ranges:
        assert length == 0 or any(one <= start and start + length <= two for one, two in spans)
    for (_, stop), (start, _) in pairwise(spans):
        assert start > stop + gap
    wanted = {byte for start, length in ranges for byte in range(start, start + length)}
    for start, stop in spans:
        assert {start, stop - 1} <= wanted


@KINDS
def test_ranges_come_as_they_are_asked_for(server: Hub, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MOST", 1000)
    source = open_source(server, kind)
    assert source.size == len(CONTENT)
    starts = np.array([90_000, 5, 20, 5, 50_000, 7], np.int64)
    lengths = np.array([3000, 10, 4, 10, 0, 1], np.int64)
    before = server.ranges("a.bin")
    expected = b"".join(CONTENT[start : start + n] for start, n in zip(starts, lengths, strict=True))
    assert source.read_many(starts, lengths).tobytes() == expected
    # One for all that is near the beginning, three for the 3000 bytes.
    assert server.ranges("a.bin") - before == 4
    for start, length in [(len(CONTENT), 1), (-1, 1), (0, -1), (len(CONTENT) - 1, 2)]:
        with pytest.raises(DataError, match="are asked for, but it has 102400"):
            source.read_many(np.array([start]), np.array([length]))
    assert bytes_between(source, len(CONTENT), 0) == b""


@KINDS
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("whole", "sends the whole file in place of a range"),
        ("416", "ends before byte 110"),
        ("long", "more than the 100 bytes"),
        ("shifted", "bytes 11 to 110 came where 10 to 109 were asked for"),
        ("no range", "which is no range of bytes"),
        ("etag", "changed while it was being read"),
        ("grown", "changed while it was being read"),
        ("404", "not found"),
        ("501", "the server says 501"),
    ],
)
def test_a_wrong_answer_is_an_error_at_once(server: Hub, kind: str, fault: str, message: str) -> None:
    source = open_source(server, kind)
    bytes_between(source, 0, 5)
    server.faults.append(fault)
    before = server.ranges("a.bin")
    with pytest.raises(PileToolsError, match=message) as error:
        bytes_between(source, 10, 100)
    assert "a.bin: " in str(error.value)
    assert server.ranges("a.bin") == before + 1


@KINDS
@pytest.mark.parametrize("fault", ["cut", "short", "lying", "429", "503", "500", "408", "late"])
def test_what_may_pass_is_tried_again(
    server: Hub, kind: str, fault: str, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_range, "_TIMEOUT", 0.2)
    source = open_source(server, kind)
    server.faults.extend([fault, fault])
    assert bytes_between(source, 10, 100) == CONTENT[10:110]
    assert waits == ([0.0, 0.0] if fault == "429" else [0.5, 1.0])


@KINDS
@pytest.mark.parametrize(
    ("fault", "kind_of_error"), [("503", PileToolsError), ("cut", PileToolsError), ("short", DataError)]
)
def test_and_given_up_after_a_while(
    server: Hub, kind: str, fault: str, kind_of_error: type[Exception], waits: list[float]
) -> None:
    source = open_source(server, kind)
    server.faults.extend([fault] * 9)
    before = server.ranges("a.bin")
    with pytest.raises(kind_of_error, match="gave up after 6 tries"):
        bytes_between(source, 10, 100)
    assert server.ranges("a.bin") == before + 6
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_long_wait_that_the_server_asks_for_is_bounded(waits: list[float]) -> None:
    answers = iter([retry.TryAgain("busy", after=299.0), None, retry.TryAgain("busy", after=9999.0)])

    def once() -> int:
        if error := next(answers):
            raise error
        return 7

    assert retry.retried(once, "x") == 7
    with pytest.raises(UnfinishedError, match="asks to wait 9,999 s"):
        retry.retried(once, "x")
    assert waits == [299.0]


def test_a_server_that_is_not_there(waits: list[float]) -> None:
    with running_hub() as hub:
        url = url_of(hub)
    with pytest.raises(PileToolsError, match="gave up after 6 tries"):
        HttpSource(url)
    with pytest.raises(PileToolsError, match="give a whole URL"):
        HttpSource("http:///a")
    waits.clear()
    with pytest.raises(PileToolsError, match="is there a network"):
        HttpSource("http://no-such-host.invalid/a")
    assert waits == []


def test_an_address_that_expires_is_asked_for_anew(server: Hub) -> None:
    source = open_source(server, "store")
    bytes_between(source, 0, 5)
    server.signature = 2
    assert bytes_between(source, 10, 100) == CONTENT[10:110]
    server.signature = 3
    server.repositories["owner/name"]["a.bin"] = CONTENT[::-1]
    with pytest.raises(DataError, match="changed while it was being read"):
        bytes_between(source, 10, 100)


def test_a_change_between_head_and_first_read_is_met(server: Hub) -> None:
    source = open_source(server, "hub")
    server.repositories["owner/name"]["a.bin"] = CONTENT[::-1]
    with pytest.raises(DataError, match="changed while it was being read"):
        bytes_between(source, 0, 5)


def test_one_commit_for_all_files(server: Hub) -> None:
    repository = HubRepository("dataset", "owner/name")
    assert repository.open("a.bin").size == len(CONTENT)
    assert repository.commit == COMMIT


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("listed", [True, False])
def test_a_push_changes_nothing_of_what_is_open(server: Hub, store: bool, listed: bool) -> None:
    server.store = store
    repository = HubRepository("dataset", "owner/name")
    if listed:
        repository.files()
    first = repository.open("a.bin")
    later = server.push("owner/name", {"a.bin": CONTENT[::-1], "new": b"1"})
    assert later != COMMIT
    second = repository.open("folder/b.bin")
    assert bytes_between(first, 10, 100) == CONTENT[10:110]
    assert bytes_between(second, 10, 20) == CONTENT[10:30]
    assert set(repository.files()) == {"a.bin", "folder/b.bin", "empty"}
    with pytest.raises(MissingFileError):
        repository.open("new")
    server.signature = 2
    assert bytes_between(first, 10, 100) == CONTENT[10:110]
    for revision, content in [(None, CONTENT[::-1]), (later, CONTENT[::-1]), (COMMIT, CONTENT)]:
        newer = HubRepository("dataset", "owner/name", revision)
        assert bytes_between(newer.open("a.bin"), 10, 100) == content[10:110]
        assert newer.commit == (revision or later)


def test_a_revision_that_is_not_there(server: Hub) -> None:
    message = "hf://datasets/owner/name.*: no such revision 'nope'"
    for use in (lambda store: store.list(), lambda store: store.open("a.bin")):
        with pytest.raises(PileToolsError, match=message) as error:
            use(open_store("hf://datasets/owner/name@nope"))
        assert "\n" not in str(error.value)


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


def test_what_the_hub_does_not_give(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        MissingFileError, match=r"hf://datasets/owner/name/none: no such file in the repository"
    ):
        HubRepository("dataset", "owner/name").open("none")
    with pytest.raises(PileToolsError, match="hf://datasets/owner/none/a: no such repository"):
        HubRepository("dataset", "owner/none").open("a")
    with pytest.raises(PileToolsError, match="no such repository"):
        HubRepository("dataset", "owner/none").files()
    with pytest.raises(PileToolsError, match="no such revision"):
        HubRepository("dataset", "owner/name", "v9").open("a.bin")
    with pytest.raises(DataError, match="102400 bytes, but 5 were expected"):
        HubRepository("dataset", "owner/name").open("a.bin", 5)
    server.gated.add("owner/name")
    with pytest.raises(PileToolsError, match="gated; ask for access"):
        HubRepository("dataset", "owner/name").open("a.bin")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PileToolsError, match=r"a\.bin: .*offline"):
        HubRepository("dataset", "owner/name").open("a.bin")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("hf://datasets/o/n", HubLocation("dataset", "o/n", None, "")),
        ("hf://datasets/o/n/", HubLocation("dataset", "o/n", None, "")),
        ("hf://datasets/o/n@v1/a/b", HubLocation("dataset", "o/n", "v1", "a/b")),
        ("hf://datasets/o/n@refs%2Fpr%2F1/a", HubLocation("dataset", "o/n", "refs/pr/1", "a")),
        ("hf://o/n/a", HubLocation("model", "o/n", None, "a")),
    ],
)
def test_places_on_the_hub(url: str, expected: HubLocation) -> None:
    assert HubLocation.parse(url) == expected
    assert is_url(url)


def test_a_place_that_is_none() -> None:
    with pytest.raises(PileToolsError, match="not a place on the Hub"):
        HubLocation.parse("hf://datasets/only")


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
