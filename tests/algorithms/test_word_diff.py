"""Alignment of two texts: nothing is lost, and what is called the same is."""

from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.word_diff import align_words

texts = st.lists(st.sampled_from(["a", "A,", "b", "c.", "d-e", "…"]), max_size=12).map(" ".join)


@given(texts, texts)
def test_stretches_give_back_both_texts(left: str, right: str) -> None:
    stretches = align_words(left, right)
    assert " ".join(word for s in stretches for word in s.left) == left
    assert " ".join(word for s in stretches for word in s.right) == right


def test_punctuation_and_case_do_not_differ() -> None:
    (same, changed, rest) = align_words("One, two three four", "one TWO 3 four!")
    assert (same.same, changed.same, rest.same) == (True, False, True)
    assert (changed.left, changed.right) == (("three",), ("3",))
