"""Token search against plain search in lists and in the joined text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.algorithms.search import token_search
from pile_tools.algorithms.search.token_search import (
    Matcher,
    Matches,
    TokenBytes,
    text_matcher,
    token_matcher,
)
from pile_tools.errors import DataError, ParameterError
from tests.reference.asking import text_matches, token_matches

VOCABULARY = [b"a", b"b", b"ab", b"ba", b"aa", b"aba", b"c", b" ", b" a", b"bab", b"\xc3", b"\xa9"]


def rows(matches: Matches) -> list[tuple[int, int, int, int]]:
    columns = (matches.pattern, matches.start, matches.n_tokens, matches.skip)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def in_blocks(matcher: Matcher, tokens: np.ndarray, size: int) -> list[tuple[int, int, int, int]]:
    found = []
    for begin in range(0, len(tokens), size):
        low = max(0, begin - matcher.longest)
        part = tokens[low : begin + size + matcher.longest]
        stop = min(begin + size, len(tokens)) - low
        for number, start, length, skip in rows(matcher.search(part, begin - low, stop)):
            found.append((number, start + low, length, skip))
    return sorted(found)


@settings(max_examples=150)
@given(
    tokens=st.lists(st.integers(0, 3), max_size=300),
    patterns=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=9),
    dtype=st.sampled_from(["<u2", "<i4", "u1", "<i8"]),
    frequencies=st.one_of(st.none(), st.lists(st.integers(0, 9), min_size=1, max_size=5)),
    shift=st.sampled_from([0, 65_534, 131_072]),
    size=st.integers(1, 40),
)
def test_tokens(
    tokens: list[int],
    patterns: list[list[int]],
    dtype: str,
    frequencies: list[int] | None,
    shift: int,
    size: int,
) -> None:
    if np.dtype(dtype).itemsize < 4:
        shift = 0
    # Ids that share their low bits with those sought are not taken for them.
    ids = np.array(tokens, np.int64) + shift * (np.arange(len(tokens)) % 2)
    sought = [[token + shift * (place % 2) for place, token in enumerate(pattern)] for pattern in patterns]
    expected = sorted(
        (number, start, len(pattern), 0)
        for number, pattern in enumerate(sought)
        for start in token_matches(ids.tolist(), pattern)
    )
    matcher = token_matcher(sought, None if frequencies is None else np.array(frequencies))
    array = ids.astype(dtype)
    assert rows(matcher.search(array)) == expected
    assert in_blocks(matcher, array, size) == expected


@settings(max_examples=150)
@given(
    tokens=st.lists(st.integers(0, len(VOCABULARY) - 1), max_size=200),
    patterns=st.lists(
        st.text(alphabet="abc é", min_size=1, max_size=7).map(str.encode), min_size=1, max_size=5
    ),
    dtype=st.sampled_from(["<u2", "<i4"]),
    size=st.integers(1, 40),
)
def test_texts(tokens: list[int], patterns: list[bytes], dtype: str, size: int) -> None:
    expected = sorted(
        (number, *match)
        for number, pattern in enumerate(patterns)
        for match in text_matches([VOCABULARY[token] for token in tokens], pattern)
    )
    matcher = text_matcher(patterns, TokenBytes.of(VOCABULARY))
    assert rows(matcher.search(np.array(tokens, dtype))) == expected
    assert in_blocks(matcher, np.array(tokens, dtype), size) == expected


@settings(max_examples=150)
@given(
    tokens=st.lists(st.integers(0, len(VOCABULARY) - 1), min_size=1, max_size=30),
    more=st.lists(st.integers(0, len(VOCABULARY) - 1), max_size=8),
    text=st.text(alphabet="abc é", min_size=1, max_size=6).map(str.encode),
    pattern=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    floor=st.integers(0, 30),
)
def test_no_match_leaves_a_piece_whose_end_is_not_open(
    tokens: list[int], more: list[int], text: bytes, pattern: list[int], floor: int
) -> None:
    array = np.array(tokens + more, np.uint16)
    end = len(tokens)
    for matcher in (token_matcher([pattern]), text_matcher([text], TokenBytes.of(VOCABULARY))):
        found = matcher.search(array)
        leaving = (found.start < end) & (found.start >= floor) & (found.start + found.n_tokens > end)
        is_open = bool(matcher.open_ends(array, np.array([end]), np.array([min(floor, end)]))[0])
        assert is_open or not leaving.any()
    ends_with_a_beginning = any(
        tokens[start:] == pattern[: end - start] for start in range(max(floor, 0), end)
    )
    only_tokens = token_matcher([pattern])
    is_open = bool(only_tokens.open_ends(array, np.array([end]), np.array([min(floor, end)]))[0])
    assert is_open == (
        ends_with_a_beginning
        and any(
            tokens[start:] == pattern[: end - start] and end - start < len(pattern)
            for start in range(floor, end)
        )
    )


LARGE = [7, 7 + (1 << 16), 7 + (1 << 30), 2**31 - 1, 2**31 - 1 - (1 << 16), 2**62, 2**62 + 7, 2**63 - 1]


@settings(max_examples=100)
@given(
    tokens=st.lists(st.sampled_from(LARGE), max_size=120),
    patterns=st.lists(st.lists(st.sampled_from(LARGE), min_size=1, max_size=4), min_size=1, max_size=6),
    end=st.integers(0, 120),
)
def test_large_ids_and_those_that_share_their_low_bits(
    tokens: list[int], patterns: list[list[int]], end: int
) -> None:
    matcher = token_matcher(patterns)
    # Memory is that of the patterns and of tables of one size, whatever the ids.
    arrays = [matcher.table, matcher.inner, *matcher.anchors, *matcher.begins]
    assert sum(array.nbytes for array in arrays) < 2 << 20
    ids = np.array(tokens, np.int64)
    assert rows(matcher.search(ids)) == sorted(
        (number, start, len(pattern), 0)
        for number, pattern in enumerate(patterns)
        for start in token_matches(tokens, pattern)
    )
    end = min(end, len(tokens))
    is_open = any(
        tokens[start:end] == pattern[: end - start] and end - start < len(pattern)
        for pattern in patterns
        for start in range(end)
    )
    assert matcher.open_ends(ids, np.array([end]), np.array([0])).tolist() == [is_open]


def test_negative_ids_are_not_those_with_the_same_bits() -> None:
    tokens = np.array([-1, 65_535, -1, 7 - (1 << 16), 7], np.int32)
    assert rows(token_matcher([[65_535], [7]]).search(tokens)) == [(0, 1, 1, 0), (1, 4, 1, 0)]


def test_more_matches_than_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_search, "_RESULTS", 3)
    tokens = np.zeros(1000, np.uint16)
    matcher = token_matcher([[0], [0, 0], [0, 0], [0], [0, 0, 0]])
    found = matcher.search(tokens)
    assert np.bincount(found.pattern).tolist() == [1000, 999, 999, 1000, 998]
    assert found.start.tolist() == sorted(found.start.tolist())


def test_patterns_that_are_none() -> None:
    for patterns in ([], [[]], [[1], []]):
        with pytest.raises(ParameterError, match="at least one token"):
            token_matcher(patterns)
    with pytest.raises(ParameterError, match="not negative"):
        token_matcher([[1, -1]])
    for texts in ([], [b""], [b"a", b""]):
        with pytest.raises(ParameterError, match="at least one character"):
            text_matcher(texts, TokenBytes.of(VOCABULARY))


def test_a_token_without_text_inside_a_match() -> None:
    matcher = text_matcher([b"ab"], TokenBytes.of([b"a", b"b", b""]))
    assert rows(matcher.search(np.array([0, 1, 2, 1, 0], np.uint16))) == [(0, 0, 2, 0)]
    with pytest.raises(DataError, match="has no text in this tokenizer"):
        matcher.search(np.array([1, 0, 2, 1], np.uint16))
