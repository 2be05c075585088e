"""Numbers of bytes as people write them."""

import pytest

from pile_tools.errors import ParameterError
from pile_tools.formats.sizes import parse_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("512", 512),
        ("64M", 64 << 20),
        ("8G", 8 << 30),
        ("8 GiB", 8 << 30),
        ("1.5k", 1536),
        ("2tb", 2 << 40),
        ("30e9", 30_000_000_000),
        ("0.5e1", 5),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0.1", "-1", "8X", "G", "1e", "1e999", "e9", "2.5", "8 G B"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ParameterError, match="number of bytes"):
        parse_bytes(text)
