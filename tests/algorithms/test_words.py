"""Words and their hashes against Python's regular expressions."""

import re
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.words import character_table, next_word
from tests.reference import dedup as oracle

KIND_SHIFT = 30


def word_hashes(text: str) -> list[int]:
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    position, found, hashes = 0, True, []
    while True:
        position, word, found = next_word(data, position, len(data), character_table())
        if not found:
            return hashes
        hashes.append(int(word))


def test_every_code_point_has_the_kind_that_the_oracle_gives() -> None:
    kinds = character_table() >> np.uint32(KIND_SHIFT)
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if not re.match(r"\w", character):
            assert kinds[code] == 0, hex(code)
        else:
            # A character that is a word alone splits a run of itself.
            assert kinds[code] == len(oracle.words(character * 2)), hex(code)


def test_lowering_keeps_the_kind() -> None:
    table = character_table()
    lowered = table & np.uint32(0x1FFFFF)
    assert (table[lowered] >> KIND_SHIFT == table >> KIND_SHIFT).all()


@given(st.text())
def test_hashes_are_those_of_the_words(text: str) -> None:
    assert word_hashes(text) == [oracle.word_hash(word) for word in oracle.words(text)]


@given(
    st.lists(
        st.sampled_from(["a", "Z", "_", "9", " ", "-", "é", "İ", "ß", "漢", "ひ", "カ", "ー", "𠀀", "\x00"])
    )
)
def test_hashes_at_the_borders_of_the_kinds(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert word_hashes(text) == [oracle.word_hash(word) for word in oracle.words(text)]


def test_known_words() -> None:
    assert oracle.words("Don't 日本語 ÉCOLE x_1") == ["don", "t", "日", "本", "語", "école", "x_1"]
    assert word_hashes("ab c") != word_hashes("a bc")


@given(st.binary(max_size=40))
def test_bytes_that_are_no_utf8_are_survived(data: bytes) -> None:
    array = np.frombuffer(data, dtype=np.uint8)
    position, found = 0, True
    while found:
        before = position
        position, _, found = next_word(array, position, len(array), character_table())
        assert before <= position <= len(data)
