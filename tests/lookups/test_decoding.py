"""Decoding of tokens: where the characters of a text begin in its bytes."""

from hypothesis import given
from hypothesis import strategies as st

from pile_tools.lookups.decoding import byte_places


@given(st.binary(max_size=12))
def test_places_of_characters_in_bytes(content: bytes) -> None:
    text = content.decode(errors="replace")
    places = byte_places(content, text, tuple(range(len(text) + 1)))
    assert places[0] == 0
    assert places[-1] == len(content)
    for character, start, stop in zip(text, places, places[1:], strict=False):
        assert content[start:stop].decode(errors="replace") == character
