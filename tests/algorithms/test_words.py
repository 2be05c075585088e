"""Words and their hashes against an oracle that goes character by character."""

import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.unicode_data import CODE_MASK, KIND_SHIFT, character_table
from pile_tools.algorithms.words import (
    WORD_SEED,
    finish_hash,
    scan_words,
    split_term,
    split_words,
    word_hashes,
)
from tests.reference import dedup as oracle
from tests.reference.unicode import KNOWN, border_texts, texts


def scanned(text: str, room: int = 5) -> list[int]:
    """The hashes that the scanner gives when it is stopped at each ``room`` words."""
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


def hashed(text: str) -> list[int]:
    data = np.frombuffer(text.encode(), np.uint8)
    words = np.empty(len(data) + 3, np.uint64)
    return [int(finish_hash(word)) for word in words[: word_hashes(data, character_table(), words)]]


def test_every_code_point_is_what_the_oracle_says() -> None:
    table = character_table()
    kinds, lowered = (table >> KIND_SHIFT).tolist(), (table & CODE_MASK).tolist()
    for code in KNOWN:
        character = chr(code)
        if unicodedata.category(character).startswith("M"):
            assert kinds[code] == 3, hex(code)
            continue
        # A character that is a word alone makes two words of itself twice.
        words = oracle.words(character * 2, "none")
        assert len(words) == kinds[code], hex(code)
        assert not words or words[0][0] == chr(lowered[code]), hex(code)


def test_lowering_keeps_the_kind() -> None:
    table = character_table()
    assert (table[table & CODE_MASK] >> KIND_SHIFT == table >> KIND_SHIFT).all()


@given(st.one_of(texts, border_texts))
def test_hashes_are_those_of_the_words(text: str) -> None:
    expected = [oracle.word_hash(word) for word in oracle.words(text, "none")]
    assert scanned(text, 3) == scanned(text, 100) == hashed(text) == expected


def test_known_words() -> None:
    assert oracle.words("Don't 日本語 ÉCOLE x_1") == ["don", "t", "日", "本", "語", "école", "x_1"]
    assert scanned("ab c") != scanned("a bc")
    assert [len(scanned(text)) for text in ("हिन्दी", "का", "e\u0301t", "か\u3099か")] == [1, 1, 1, 2]
    assert scanned("का") != scanned("क")
    assert scanned("οδος") == scanned("ΟΔΟΣ")


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


@given(st.one_of(texts, border_texts))
def test_split_words_and_their_positions(text: str) -> None:
    words, starts, ends = split_words(text)
    assert words == oracle.words(text, "none")
    written = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    assert ["".join(c.lower()[0] for c in word).replace("ς", "σ") for word in written] == words
    term, others = split_term(text)
    assert term == written
    assert not oracle.words(others, "none")
    assert sorted("".join(term) + others) == sorted(c for c in text if not c.isspace())
