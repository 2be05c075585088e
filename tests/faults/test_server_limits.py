"""Answers of servers that limit, compress or leave out what they may: waits, lengths, range units."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

import pytest

from pile_tools.errors import DataError, ExitCode, UnfinishedError
from pile_tools.formats import retry
from pile_tools.formats.http_range import HttpSource
from pile_tools.formats.hub import HubRepository
from pile_tools.formats.retry import asked_wait
from pile_tools.formats.sources import bytes_between
from pile_tools.formats.store import RemoteStore
from tests import hub_server
from tests.hub_server import Hub, running_hub, use_as_hub

CONTENT = bytes(range(256)) * 40
HOUR = formatdate(1_700_000_000, usegmt=True)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which nobody waits for."""
    seconds: list[float] = []
    monkeypatch.setattr(retry, "sleep", seconds.append)
    return seconds


class _Odd(hub_server._Handler):
    """Answers as a test wants them: ``refusals`` first, then with ``changed`` headers."""

    refusals: list[dict[str, str]]
    refuses: str
    unit = "bytes"
    compresses = ""
    says_length = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.refusals and self.command == self.refuses and "/api/" not in self.path:
            super().reply(429, self.refusals.pop(0))
        else:
            super().do_GET()

    def reply(
        self, status: int, headers: dict[str, str], body: bytes = b"", length: int | None = None
    ) -> None:
        if "Content-Range" in headers:
            headers = headers | {"Content-Range": headers["Content-Range"].replace("bytes", self.unit)}
        accepted = self.headers.get("Accept-Encoding", "")
        wanted = "gzip" if self.compresses == "always" else accepted
        if self.compresses and status == 200 and self.command == "HEAD" and "gzip" in wanted:
            headers, length = headers | {"Content-Encoding": "gzip"}, len(gzip.compress(CONTENT))
        if self.compresses == "ranges" and status == 206:
            headers = headers | {"Content-Encoding": "GZIP"}
        if self.command == "HEAD" and not self.says_length and status == 200:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.close_connection = True
            return
        super().reply(status, headers, body, length)


@contextmanager
def odd_hub(monkeypatch: pytest.MonkeyPatch, **behaviour: Any) -> Iterator[Hub]:
    members = {"refusals": [], "refuses": "HEAD", **behaviour}
    monkeypatch.setattr(hub_server, "_Handler", type("Odd", (_Odd,), members))
    with running_hub() as hub:
        hub.repositories["owner/name"] = {"a.bin": CONTENT}
        use_as_hub(monkeypatch, hub)
        yield hub


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "4"}, 4.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": formatdate(1_700_000_020, usegmt=True), "Date": HOUR}, 20.0),
        ({"Retry-After": formatdate(1_600_000_000, usegmt=True), "Date": HOUR}, 0.0),
        ({"RateLimit": '"api";r=0;t=20'}, 20.0),
        ({"RateLimit": '"api";r=3;t=5, "resolvers"; r=0; t=7'}, 7.0),
        ({"Retry-After": "2", "RateLimit": '"api";r=0;t=20'}, 2.0),
        ({"Retry-After": "9" * 400}, float("inf")),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_each_form_of_a_wait_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(headers) == seconds


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize(
    "headers", [{"retry-after": "40"}, {"ratelimit": '"api";r=0;t=40'}], ids=["Retry-After", "RateLimit"]
)
def test_waits_are_obeyed_up_to_five_minutes(
    method: str, headers: dict[str, str], waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More often than a failure by chance is tried again, as long as the server says when."""
    refusals = [dict(headers) for _ in range(7)]
    with odd_hub(monkeypatch, refusals=refusals, refuses=method):
        source = HubRepository("dataset", "owner/name").open("a.bin")
        assert bytes_between(source, 3, 50) == CONTENT[3:53]
    assert waits == [40.0] * 7


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_beyond_it_the_command_says_when_to_run_again(
    method: str, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [{"Retry-After": "200"}, {"Retry-After": "101"}]
    with (
        odd_hub(monkeypatch, refusals=refusals, refuses=method),
        pytest.raises(UnfinishedError, match=r"a\.bin: .*429.*run the same command again after 2") as error,
    ):
        bytes_between(HubRepository("dataset", "owner/name").open("a.bin"), 3, 50)
    assert error.value.exit_code == ExitCode.UNFINISHED
    assert waits == [200.0]


@pytest.mark.parametrize("unit", ["Bytes", "BYTES"])
def test_range_units_are_read_in_any_case(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with odd_hub(monkeypatch, unit=unit) as hub:
        source = HttpSource(f"{hub.url}/datasets/owner/name/resolve/main/a.bin")
        assert bytes_between(source, 3, 50) == CONTENT[3:53]


@pytest.mark.parametrize(
    "behaviour", [{"compresses": "asked"}, {"compresses": "always"}, {"says_length": False}]
)
def test_the_length_is_that_of_the_file_itself(
    behaviour: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may compress for all who accept it, and need not send a length with HEAD."""
    with odd_hub(monkeypatch, **behaviour) as hub:
        store = RemoteStore("hf://datasets/owner/name")
        assert store.read("a.bin") == CONTENT
        # Who asks for the bytes themselves costs a server of the first kind no second request.
        assert hub.ranges("a.bin") == (1 if behaviour == {"compresses": "asked"} else 2)


def test_a_range_of_a_compressed_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        odd_hub(monkeypatch, compresses="ranges") as hub,
        pytest.raises(DataError, match="'GZIP' in place of the bytes"),
    ):
        HttpSource(f"{hub.url}/datasets/owner/name/resolve/main/a.bin")
