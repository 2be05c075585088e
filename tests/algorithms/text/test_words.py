"""Words and their hashes against an oracle that goes character by character."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.text.unicode_data import character_table
from pile_tools.algorithms.text.words import (
    WORD_SEED,
    finish_hash,
    scan_words,
    split_term,
    split_words,
    word_hashes,
)
from tests.reference import dedup as oracle
from tests.reference.unicode import border_texts, texts


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
