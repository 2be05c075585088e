"""Retries of remote reads: waits that the server asks for, and when they are given up."""

import pytest

from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.storage import http_range, retry
from pile_tools.storage.sources import bytes_between
from tests.hub_server import Hub
from tests.storage.conftest import CONTENT, KINDS, open_source


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
