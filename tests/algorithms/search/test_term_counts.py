"""Terms and pairs of terms, against lists of words."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.algorithms.search.term_counts import Terms, count_terms, split_texts
from pile_tools.algorithms.search.token_search import TokenBytes
from pile_tools.errors import DataError, ParameterError
from tests.reference.asking import term_counts
from tests.reference.asking import term_words as words

TOKENS = [
    b"1",
    b"2",
    b" ",
    b"10",
    b" a",
    b"A ",
    b"\xc3",
    b"\xa9",
    b"\xe4\xb8\xad",
    b", ",
    b"_",
    b"<sep>",
    b"",
]
SEPARATORS = np.array([token == b"<sep>" for token in TOKENS])


@given(st.lists(st.lists(st.integers(0, len(TOKENS) - 1), min_size=6, max_size=6), max_size=6))
def test_texts_are_cut_at_rows_and_separators(rows: list[list[int]]) -> None:
    tokens = np.array(rows, np.uint16).reshape(-1, 6)
    content, bounds = split_texts(tokens, TokenBytes.of(TOKENS), SEPARATORS)
    found = [content[start:stop].tobytes().decode() for start, stop in pairwise(bounds)]
    expected = [
        part.decode(errors="replace")
        for row in rows
        for part in b"".join(TOKENS[token] for token in row).split(b"<sep>")
    ]
    assert [words(text) for text in found] == [words(text) for text in expected]


@given(st.binary(max_size=40))
def test_what_is_no_utf8_is_no_part_of_a_word(content: bytes) -> None:
    tokens = np.frombuffer(content, np.uint8).reshape(1, -1)
    every_byte = TokenBytes.of([bytes([byte]) for byte in range(256)])
    text, _ = split_texts(tokens, every_byte, np.zeros(256, np.bool_))
    decoded = content.decode(errors="replace")
    assert words(text.tobytes().decode()) == words(decoded)


TERMS = ["1", "2", "10", "a", "a 1", "1 a 1", "é", "中", "中 a", "2 2", "ΟΣ", "का", "क", "が", "か"]


@settings(max_examples=200)
@given(
    texts=st.lists(st.text(alphabet="12a A0é中,οσςΣक\u093eか\u3099", max_size=40), max_size=5),
    terms=st.lists(st.sampled_from(TERMS), min_size=1, max_size=10, unique=True),
    window=st.sampled_from([0, 1, 2, 3, 5, 9]),
)
def test_counts(texts: list[str], terms: list[str], window: int) -> None:
    parts = [text.encode() for text in texts]
    bounds = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    counts, pairs = count_terms(np.frombuffer(b"".join(parts), np.uint8), bounds, Terms.of(terms), window)
    singles: Counter[int] = Counter()
    both: Counter[tuple[int, int]] = Counter()
    for text in texts:
        one, two = term_counts(words(text), [words(term) for term in terms], window)
        singles += one
        both += two
    assert counts.tolist() == [singles[term] for term in range(len(terms))]
    assert {tuple(place): pairs[tuple(place)] for place in np.argwhere(pairs).tolist()} == dict(both)


def test_terms_that_are_none() -> None:
    for term in ("", "+", " , ", "\u0301", " \u3000"):
        with pytest.raises(ParameterError, match="has no word in it; `pile-tools count`"):
            Terms.of(["a", term])
    with pytest.raises(ParameterError, match="term 'The' has the words of 'the'"):
        Terms.of(["the", "x", "The"])
    with pytest.raises(ParameterError, match="term 'οδός' has the words of 'ΟΔΌΣ'"):
        Terms.of(["ΟΔΌΣ", "οδός"])


@pytest.mark.parametrize(
    ("term", "character", "words", "count"),
    [
        ("don't", '"\'"', "'don t'", "these words in a row"),
        ("C++", "'+'", "'C'", "this word"),
        ("3.5", "'.'", "'3 5'", "these words in a row"),
        ("中国!", "'!'", "'中 国'", "these words in a row"),
        ("हिन्\u200dदी", "'\\u200d'", "'हिन् दी'", "these words in a row"),
        ("a \u0301b", "'́'", "'a b'", "these words in a row"),
        ("a\ud800", "'\\ud800'", "'a'", "this word"),
    ],
)
def test_terms_with_what_is_no_part_of_a_word(term: str, character: str, words: str, count: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Terms.of(["x", term])
    assert f"{character} is no part of a word; write {words} to count {count}, or" in str(caught.value)
    assert str(caught.value).startswith(f"term {term!r}: ")
    assert "`pile-tools count`" in str(caught.value)
    assert len(Terms.of(["x", words[1:-1]])) == 2


def test_a_token_beyond_the_tokenizer() -> None:
    with pytest.raises(DataError, match="token 13 is beyond the tokenizer"):
        split_texts(np.array([[1, 13]], np.uint16), TokenBytes.of(TOKENS), SEPARATORS)
