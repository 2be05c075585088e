"""Alignment of two texts: nothing is lost, and no more is called different than must be."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.text import word_diff
from pile_tools.algorithms.text.word_diff import Stretch, align_words
from tests.reference.dedup import words

texts = st.lists(
    st.sampled_from(["a", "A,", "b ", " (c. ", "-", "…", "\n", "天", "地", "アİ", "Σς", "1", "\u0301"]),
    max_size=14,
).map("".join)


def common_length(one: list[str], two: list[str]) -> int:
    """Length of a longest common subsequence."""
    row = [0] * (len(two) + 1)
    for word in one:
        before = row.copy()
        for j, other in enumerate(two):
            row[j + 1] = before[j] + 1 if word == other else max(before[j + 1], row[j])
    return row[-1]


def check(left: str, right: str) -> list[Stretch]:
    stretches = align_words(left, right)
    assert "".join(s.left for s in stretches) == left
    assert "".join(s.right for s in stretches) == right
    for stretch in stretches:
        assert not stretch.same or words(stretch.left) == words(stretch.right)
        assert stretch.same or words(stretch.left) != words(stretch.right)
    return stretches


@given(texts, texts)
def test_as_many_words_as_can_are_the_same(left: str, right: str) -> None:
    same = [word for s in check(left, right) if s.same for word in words(s.left)]
    assert len(same) == common_length(words(left), words(right))


@given(texts, texts)
def test_long_texts_lose_nothing(left: str, right: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_diff, "_TABLE_CELLS", 4)
        check(left, right)


def test_punctuation_and_case_do_not_differ() -> None:
    stretches = check("One, two (three) four", "one TWO 3 four!")
    assert [(s.left, s.right, s.same) for s in stretches] == [
        ("One, two ", "one TWO ", True),
        ("(three)", "3", False),
        (" four", " four!", True),
    ]


def changed(stretches: list[Stretch]) -> list[tuple[str, str]]:
    return [(s.left, s.right) for s in stretches if not s.same]


def test_one_word_among_few_that_repeat() -> None:
    digits = [str(digit) for digit in np.random.default_rng(1).integers(10, size=1000)]
    assert changed(check(" ".join(digits), " ".join([*digits[:300], "x", *digits[301:]]))) == [
        (digits[300], "x")
    ]


def test_one_character_of_a_text_without_spaces() -> None:
    left = "天地玄黄宇宙洪荒日月盈昃辰宿列张" * 5
    assert changed(check(left, left[:33] + "新" + left[34:])) == [(left[33], "新")]


def test_lowering_is_that_of_the_similarity() -> None:
    assert changed(check("İstanbul ΟΔΟΣ", "istanbul οδοσ")) == []


@pytest.mark.parametrize("vocabulary", [50_000, 3])
def test_long_text_with_changes_far_apart(vocabulary: int) -> None:
    rng = random.Random(2)
    left = [str(rng.randrange(vocabulary)) for _ in range(200_000)]
    right = left.copy()
    places = range(1000, 200_000, 5000)
    for place in places:
        right[place] = f"new{place}"
    assert changed(check(" ".join(left), " ".join(right))) == [(left[p], right[p]) for p in places]


def test_long_texts_that_only_repeat_themselves_end() -> None:
    left, right = "a b " * 20_000, "b c " * 20_000
    assert sum(len(words(s.left)) for s in check(left, right) if s.same) > 19_000
