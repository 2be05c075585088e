"""A server of files for the tests of storage, and nobody who waits for it."""

from collections.abc import Iterator

import pytest

from pile_tools.storage import retry
from pile_tools.storage.http_range import HttpSource
from pile_tools.storage.hub import HubRepository
from pile_tools.storage.remote import RemoteSource
from tests.hub_server import Hub, running_hub, use_as_hub

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
