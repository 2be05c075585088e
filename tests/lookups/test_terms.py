"""Counts of terms against the words of every decoded sequence."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers

from pile_tools import BatchViewer
from pile_tools.algorithms.search.term_counts import Terms
from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.lookups import terms as terms_module
from pile_tools.lookups.terms import read_terms
from tests.lookups.conftest import FORMS, MakeStream
from tests.reference.asking import term_counts
from tests.reference.asking import term_words as words
from tests.strategies import stream_shapes, token_documents

TERMS = ["a", "b", "ab", "a b", "c a", "é"]


def expected_counts(
    viewer: BatchViewer, terms: list[str], window: int, steps: range
) -> tuple[Counter[Any], Counter[Any]]:
    singles: Counter[Any] = Counter()
    pairs: Counter[Any] = Counter()
    for step in steps:
        for row in range(viewer.batch_size):
            for text in viewer.text(step, row).split("<|end|>"):
                one, two = term_counts(words(text), [words(term) for term in terms], window)
                singles += one
                pairs += two
    return singles, pairs


@settings(max_examples=40)
@given(
    documents=token_documents(12, max_tokens=20),
    shape=stream_shapes(longest=12),
    terms=st.lists(st.sampled_from(TERMS), min_size=1, max_size=6, unique=True),
    window=st.sampled_from([0, 2, 5]),
    form=st.sampled_from(FORMS),
    block=st.sampled_from([1, 30, 1 << 20]),
)
def test_terms_and_pairs(
    documents: list[list[int]],
    shape: tuple[int, int, int],
    terms: list[str],
    window: int,
    form: str,
    block: int,
    make_stream: MakeStream,
) -> None:
    seq_length, batch_size, num_samples = shape
    viewer = make_stream(
        documents, seq_length=seq_length, batch_size=batch_size, num_samples=num_samples, form=form
    )
    if viewer.steps < 2:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terms_module, "_BLOCK_TOKENS", block)
        table = viewer.terms(terms, every=3, window=window, steps=(1, None))
    rows = table.to_pylist()
    marks = sorted({row["checkpoint"] for row in rows})
    assert marks == sorted({*range(3, viewer.steps, 3), viewer.steps})
    for mark in marks:
        singles, pairs = expected_counts(viewer, terms, window, range(1, mark))
        here = [row for row in rows if row["checkpoint"] == mark]
        assert [row["term"] for row in here if row["other"] is None] == terms
        for row in here:
            place = terms.index(row["term"])
            if row["other"] is None:
                assert row["count"] == singles[place]
            else:
                assert row["count"] == pairs.pop((place, terms.index(row["other"])), 0)
        assert not pairs


def test_a_tokenizer_that_is_not_byte_level(make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 2, 3, 0, 4], [1, 0, 2, 4]], tokenizer=False, seq_length=4)
    tokenizer = Tokenizer(models.WordLevel({"one": 0, "two": 1, "##s": 2, "x-y": 3, "[E]": 4}, "x-y"))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[E]"])
    path = Path(viewer.dataset.store.name, "tokenizer.json")
    tokenizer.save(str(path))
    table = viewer.terms(["one", "ones", "x y"])
    found = [words(viewer.text(step, row)) for step in range(6) for row in range(2)]
    assert {row["term"]: row["count"] for row in table.to_pylist()} == {
        "one": sum(text.count("one") for text in found),
        "ones": sum(text.count("ones") for text in found),
        "x y": sum(text.count("x") for text in found),
    }


def test_the_form_in_which_text_is_stored(make_stream: MakeStream) -> None:
    """A letter and its accent are one character to this tokenizer; the other way to write them is not 0."""
    viewer = make_stream([[0, 10, 11, 7, 0, 10, 11, 12] * 4], seq_length=7)
    path = Path(viewer.dataset.store.name, "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    assert viewer.text(0, 0).count("aé") > 0
    for normalizer, refused in ((normalizers.NFC(), "ae\u0301"), (normalizers.NFD(), "a\u00e9")):
        tokenizer.normalizer = normalizers.Sequence([normalizer, normalizers.Lowercase()])
        tokenizer.save(str(path))
        other = BatchViewer.open(viewer.dataset.store.name)
        with pytest.raises(
            ParameterError, match="is not in the form in which the tokenizer stores text; count"
        ):
            other.terms(["b", refused])
        # Case does not count, whatever the tokenizer makes of it.
        assert other.terms(["B"]).num_rows
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.save(str(path))
    (row,) = BatchViewer.open(viewer.dataset.store.name).terms(["a\u00e9"]).to_pylist()
    texts = (viewer.text(step, place) for step in range(viewer.steps) for place in range(2))
    assert row["count"] == sum(words(text).count("aé") for text in texts) > 0


@pytest.mark.parametrize("token", [-1, 99])
def test_tokens_that_the_tokenizer_lacks(token: int, make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, token, 2] * 9], dtype="<i4")
    with pytest.raises(DataError, match=rf"{viewer.dataset.name}: token {token}[;,]"):
        viewer.terms(["a"])


def test_terms_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "terms.txt"
    path.write_text("one\nNew York\r\n中\n")
    assert read_terms(path) == ["one", "New York", "中"]
    for content, message in (("", "it is empty"), ("a\n\nb", "line 2 is empty"), ("\n", "line 1 is empty")):
        path.write_text(content)
        with pytest.raises(ParameterError, match=message):
            read_terms(path)
    several = ["one\u2028two", "a\x85b", "c\x0bd", "e\x0cf"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(several).encode())
    assert read_terms(path) == several
    path.write_bytes(b"a\xff")
    with pytest.raises(ParameterError, match="byte 1 is not UTF-8"):
        read_terms(path)
    for line, message in (
        ("don't", "write 'don t' to count"),
        ("?!", "has no word"),
        ("x" * 5000, "5000 ch"),
    ):
        path.write_text(f"a\n{line}\n")
        with pytest.raises(ParameterError, match=f"terms.txt: line 2: .*{message}"):
            read_terms(path)
    with pytest.raises(PileToolsError, match="no such file"):
        read_terms(tmp_path / "none")


def test_many_terms() -> None:
    # The words of each two of so many would take minutes to compare.
    several = [f"term {number}" for number in range(100_000)]
    assert len(Terms.of(several)) == 100_000
    with pytest.raises(ParameterError, match="term 'Term 7' has the words of 'term 7'"):
        Terms.of([*several, "Term 7"])


@pytest.mark.parametrize(
    ("terms", "window", "message"),
    [
        ([], 0, "no term"),
        (["a\nb"], 0, "has a newline"),
        (["a\rb"], 0, "has a newline"),
        (["x" * 5000], 0, "5000 characters"),
        (["a"], 1, "a window of 1 words"),
        (["a"], -5, "a window of -5 words"),
        (["a"], 1001, "a window of 1001 words"),
        (["a", "A"], 0, "has the words of"),
        (["a", "-"], 0, "has no word"),
        (["a", "don't"], 0, "write 'don t'"),
        ([f"a{number}" for number in range(1001)], 5, "pairs of 1001 terms"),
    ],
)
def test_terms_that_are_none(terms: list[str], window: int, message: str, make_stream: MakeStream) -> None:
    with pytest.raises(ParameterError, match=message):
        make_stream([[1] * 30]).terms(terms, window=window)


def test_what_the_dataset_lacks(make_stream: MakeStream) -> None:
    with pytest.raises(ParameterError, match="give one with --tokenizer"):
        make_stream([[1] * 30], tokenizer=False).terms(["a"])
    with pytest.raises(DataError, match="token 40000"):
        make_stream([[40_000] * 30]).terms(["a"])
