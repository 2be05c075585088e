"""Repositories of the Hub: one commit for all files, and what the Hub does not give."""

import pytest

from pile_tools.errors import DataError, MissingFileError, PileToolsError
from pile_tools.storage.hub import HubLocation, HubRepository
from pile_tools.storage.sources import bytes_between
from pile_tools.storage.store import is_url, open_store
from tests.hub_server import COMMIT, Hub
from tests.storage.conftest import CONTENT, open_source


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
