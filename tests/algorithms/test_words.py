"""Words and their hashes against Python's regular expressions."""

import re
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.words import (
    WORD_SEED,
    character_table,
    finish_hash,
    scan_words,
    split_term,
    split_words,
    term_character_table,
    term_word_hashes,
)
from tests.reference import dedup as oracle
from tests.reference.asking import term_words

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


def term_hashes(text: str) -> list[int]:
    data = np.frombuffer(text.encode(), np.uint8)
    words = np.empty(len(data) + 1, np.uint64)
    count = term_word_hashes(data, term_character_table(), words)
    return [int(finish_hash(word)) for word in words[:count]]


MIXED = "aZ_9 -éßİςΣσ漢ひー\u0301\u093f\u0903\u20dd\u3099\ufe0f\U000e0100ка\u094d\u200dक\x00"


@given(st.one_of(st.text(), st.text(alphabet=MIXED, max_size=12)))
def test_the_words_of_terms(text: str) -> None:
    assert term_hashes(text) == [oracle.word_hash(word) for word in term_words(text)]
    words, others = split_term(text)
    lowered = ["".join(character.lower()[0] for character in word).replace("ς", "σ") for word in words]
    assert lowered == term_words(text)
    assert not term_words(others)
    assert sorted("".join(words) + others) == sorted(c for c in text if not c.isspace())


def test_every_code_point_of_terms() -> None:
    kinds = (term_character_table() >> np.uint32(KIND_SHIFT)).tolist()
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        # Twice it is two words of those that are words alone; a mark is part of the word before it.
        assert len(term_words(character * 2)) == (0 if kinds[code] == 3 else kinds[code]), hex(code)
        assert (term_words("a" + character) == ["a" + character]) == (
            kinds[code] == 3 or (kinds[code] == 1 and character.lower()[0] == character and character != "ς")
        ), hex(code)


def test_the_words_that_shingles_have_are_what_they_were() -> None:
    """Their hashes are frozen: marks cut them, and ς is a letter of its own."""
    assert [len(word_hashes(text)) for text in ("हिन्दी", "का", "e\u0301t")] == [3, 1, 2]
    assert word_hashes("οδος") != word_hashes("ΟΔΟΣ")
    assert term_hashes("οδος") == term_hashes("ΟΔΟΣ")
    assert [len(term_hashes(text)) for text in ("हिन्दी", "का", "e\u0301t")] == [1, 1, 1]
    assert term_hashes("का") != term_hashes("क")
