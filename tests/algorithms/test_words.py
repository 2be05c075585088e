"""Words and their hashes against Python's regular expressions."""

import re
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.words import WORD_SEED, character_table, finish_hash, scan_words, split_words
from tests.reference import dedup as oracle

KIND_SHIFT = 30


def word_hashes(text: str, room: int = 5) -> list[int]:
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    words = np.empty(room, dtype=np.uint64)
    position, h, inside, hashes = 0, WORD_SEED, False, []
    while position < len(data):
        position, n, h, inside = scan_words(
            data, position, len(data), character_table(), np.uint64(h), inside, words
        )
        hashes += words[:n].tolist()
    if inside:
        hashes.append(h)
    return [int(finish_hash(np.uint64(h))) for h in hashes]


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
    assert (
        word_hashes(text, 3)
        == word_hashes(text, 100)
        == [oracle.word_hash(word) for word in oracle.words(text)]
    )


def test_known_words() -> None:
    assert oracle.words("Don't 日本語 ÉCOLE x_1") == ["don", "t", "日", "本", "語", "école", "x_1"]
    assert word_hashes("ab c") != word_hashes("a bc")


@given(st.binary(max_size=40))
def test_bytes_that_are_no_utf8_are_survived(data: bytes) -> None:
    array = np.frombuffer(data, dtype=np.uint8)
    words = np.empty(4, dtype=np.uint64)
    position, h, inside = 0, WORD_SEED, False
    while position < len(data):
        before = position
        position, n, h, inside = scan_words(
            array, position, len(array), character_table(), np.uint64(h), inside, words
        )
        assert before < position <= len(data)
        assert n <= len(words)


@given(st.text())
def test_split_words_and_their_places(text: str) -> None:
    found, starts, ends = split_words(text)
    assert found == oracle.words(text)
    lowered = "".join(character.lower()[0] for character in text)
    assert found == [lowered[a:b] for a, b in zip(starts, ends, strict=True)]
