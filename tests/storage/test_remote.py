"""Ranges behind URLs: coalesced, exact, and an error for everything that a server can get wrong."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.errors import DataError, PileToolsError
from pile_tools.storage import remote
from pile_tools.storage.remote import coalesce
from pile_tools.storage.sources import bytes_between
from tests.hub_server import Hub
from tests.storage.conftest import CONTENT, KINDS, open_source


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
