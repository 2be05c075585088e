"""Ranges of files over HTTP: servers that are not there, and addresses that expire."""

import pytest

from pile_tools.errors import DataError, PileToolsError
from pile_tools.storage.http_range import HttpSource
from pile_tools.storage.sources import bytes_between
from tests.hub_server import Hub, running_hub
from tests.storage.conftest import CONTENT, open_source, url_of


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
