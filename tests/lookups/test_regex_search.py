"""Regular expressions, and tokenizers that are not byte-level, against the decoded text of every sequence."""

import re
import threading
import warnings
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from pile_tools import BatchViewer
from pile_tools.errors import ParameterError
from pile_tools.lookups import find
from pile_tools.lookups import regex_search as decoded
from tests.lookups.conftest import BYTES, FORMS, SENTENCE_PIECES, MakeStream, sentence_piece_tokenizer
from tests.strategies import stream_shapes, token_documents

EXPRESSIONS = ["a+b", "[ab]c?", r"\bab\b", "^.", ".$", "(?<=b)a", "é|c", "�", "(a)(b)|c", r"(?i)A\s"]


# Halves of a character before, inside and after matches, in documents and across them.
HALVES = [[10, 0, 0, 1, 11], [11, 10, 0, 1, 10], [11, 12, 10, 11], [10, 11, 0, 2]]


def expected(viewer: BatchViewer, regex: str, steps: range) -> list[tuple[int, int, str, str, str]]:
    found = []
    for step in steps:
        for row in range(viewer.batch_size):
            text = viewer.text(step, row)
            for match in re.finditer(regex, text):
                start, stop = match.span()
                found.append((step, row, text[max(0, start - 4) : start], match[0], text[stop : stop + 4]))
    return found


def character_starts(tokens: list[int]) -> list[int]:
    """The byte at which each character of the text begins, and the end; halves of characters are one each."""
    content = b"".join(BYTES[token] for token in tokens)
    found, place = [], 0
    while place < len(content):
        found.append(place)
        place += 2 if content[place : place + 2] == "é".encode() else 1
    return [*found, len(content)]


def spans(viewer: BatchViewer, regex: str, steps: range) -> list[tuple[int, int]]:
    """First token and number of tokens of each match."""
    found = []
    for step in steps:
        for row in range(viewer.batch_size):
            tokens = viewer.sequence(step, row).tolist()
            owner = [place for place, token in enumerate(tokens) for _ in BYTES[token]]
            starts = character_starts(tokens)
            for match in re.finditer(regex, viewer.text(step, row)):
                first, last = (starts[place] for place in match.span())
                found.append((owner[first], owner[last - 1] - owner[first] + 1))
    return found


def rows(table: Any, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


@settings(max_examples=80)
@given(
    documents=token_documents(12),
    shape=stream_shapes(fewest=2),
    regex=st.sampled_from(EXPRESSIONS),
    form=st.sampled_from(FORMS),
)
@example(documents=HALVES, shape=(4, 2, 24), regex="a+b", form="neox")
@example(documents=HALVES, shape=(4, 2, 24), regex="�", form="blend")
def test_expressions(
    documents: list[list[int]], shape: tuple[int, int, int], regex: str, form: str, make_stream: MakeStream
) -> None:
    seq_length, batch_size, num_samples = shape
    viewer = make_stream(
        documents, seq_length=seq_length, batch_size=batch_size, num_samples=num_samples, form=form
    )
    if viewer.steps < 2:
        return
    wanted = expected(viewer, regex, range(1, viewer.steps))
    table = viewer.find(regex=regex, steps=(1, None), context=4)
    assert rows(table, "step", "row", "before", "match", "after") == wanted
    assert rows(table, "position", "n_tokens") == spans(viewer, regex, range(1, viewer.steps))
    counts = viewer.count(regex=regex, steps=(1, None))
    assert counts.totals == {regex: len(wanted)}
    assert counts.first_step == {regex: wanted[0][0] if wanted else None}
    assert viewer.find(regex=regex, steps=(1, None), first=True).num_rows == min(1, len(wanted))


@settings(max_examples=40)
@given(
    documents=token_documents(12),
    shape=stream_shapes(fewest=2),
    texts=st.lists(st.text(alphabet="a� é", min_size=1, max_size=3), min_size=1, max_size=3, unique=True),
    form=st.sampled_from(FORMS),
)
@example(documents=HALVES, shape=(4, 2, 24), texts=["�"], form="neox")
@example(documents=HALVES, shape=(4, 2, 24), texts=["�a", "a", "é"], form="shards")
def test_texts_with_halves_of_characters(
    documents: list[list[int]],
    shape: tuple[int, int, int],
    texts: list[str],
    form: str,
    make_stream: MakeStream,
) -> None:
    seq_length, batch_size, num_samples = shape
    viewer = make_stream(
        documents, seq_length=seq_length, batch_size=batch_size, num_samples=num_samples, form=form
    )
    if viewer.steps < 1:
        return
    wanted = []
    for step in range(viewer.steps):
        for row in range(batch_size):
            tokens, text = viewer.sequence(step, row).tolist(), viewer.text(step, row)
            owner = [place for place, token in enumerate(tokens) for _ in BYTES[token]]
            starts = character_starts(tokens)
            for sought in texts:
                for place in range(len(text)):
                    if text.startswith(sought, place):
                        first, last = owner[starts[place]], owner[starts[place + len(sought)] - 1]
                        wanted.append((step, row, first, last - first + 1, sought))
    table = viewer.find(texts)
    names = ("step", "row", "position", "n_tokens", "pattern")
    assert sorted(rows(table, *names)) == sorted(wanted)
    assert viewer.count(texts).totals == {text: sum(row[-1] == text for row in wanted) for text in texts}


def tokenizer_of(viewer: BatchViewer) -> Path:
    return Path(viewer.stream.parts[0].component.dataset.store.name, "tokenizer.json")


@pytest.mark.slow
def test_processes_find_the_same(make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = make_stream([[0, 1, 6, 8, 10, 11]] * 30, num_samples=40)
    alone = viewer.find(regex="a+b|c")
    assert alone.num_rows > 20
    monkeypatch.setattr(decoded, "_FEW", 0)
    monkeypatch.setattr(decoded, "_BLOCK_ROWS", 3)
    assert viewer.find(regex="a+b|c", workers=2).equals(alone)
    assert viewer.find(regex="a+b|c", workers=2, limit=7).equals(alone.slice(0, 7))
    # Timers ring in the main thread only; another one leaves the work to a process.
    found = []
    thread = threading.Thread(target=lambda: found.append(viewer.find(regex="a+b|c", workers=1)))
    thread.start()
    thread.join()
    assert found[0].equals(alone)
    with pytest.raises(ParameterError, match="matches empty text in step"):
        viewer.find(regex="(?=b)", workers=2)


def test_an_expression_that_runs_away(make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = make_stream([[0] * 400], seq_length=60)
    monkeypatch.setattr(decoded, "SECONDS", 0.2)
    with pytest.raises(ParameterError, match=r"has computed for 0.2 s on step 0, row 0 alone; simplify it"):
        viewer.find(regex="(a+)+b")


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        ("", "of 0 characters"),
        ("a" * 20_000, "of 20000 characters"),
        ("(", "missing \\)"),
        ("a{99999999999}", "repetition number is too large"),
        ("a*", "matches the empty text"),
        ("(?=a)", "matches empty text in step"),
    ],
)
def test_expressions_that_are_none(regex: str, message: str, make_stream: MakeStream) -> None:
    with pytest.raises(ParameterError, match=message):
        make_stream([[0, 1] * 30]).find(regex=regex)


def test_an_expression_that_python_warns_of(make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1] * 30])
    for regex in ("[[]", "[[a]", "[a||b]"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = expected(viewer, regex, range(viewer.steps))
        table = viewer.find(regex=regex, context=4)
        assert rows(table, "step", "row", "before", "match", "after") == wanted
    assert wanted


def test_without_a_tokenizer(make_stream: MakeStream) -> None:
    with pytest.raises(ParameterError, match="give one with --tokenizer"):
        make_stream([[0, 1] * 30], tokenizer=False).find(regex="a")


def test_too_many_to_list(make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "MAX_LISTED", 10)
    viewer = make_stream([[0, 1] * 30])
    with pytest.raises(ParameterError, match=r"more than 10 occurrences; count them"):
        viewer.find(regex="a")
    assert viewer.count(regex="a").totals["a"] > 10


def test_texts_of_a_tokenizer_that_is_not_byte_level(make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 2, 3, 0, 2], [1, 0, 2, 3]], tokenizer=False, seq_length=4)
    tokenizer = Tokenizer(models.WordLevel({"one": 0, "two": 1, "##s": 2, "xs": 3}, "xs"))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(tokenizer_of(viewer)))
    viewer = BatchViewer.open(viewer.dataset.store.name)
    table = viewer.find(["s", "es"], context=4)
    wanted = []
    for step in range(viewer.steps):
        for row in range(2):
            text = viewer.text(step, row)
            for start in range(len(text)):
                for pattern in ("s", "es"):
                    if text.startswith(pattern, start):
                        before = text[max(0, start - 4) : start]
                        wanted.append((step, row, pattern, before))
    assert rows(table, "step", "row", "pattern", "before") == wanted
    for row in table.to_pylist():
        tokens = viewer.sequence(row["step"], row["row"])[row["position"] :][: row["n_tokens"]]
        text = tokenizer.decode(tokens.tolist())
        assert row["match"] in text
        assert len(tokens) == 1 + (row["match"] == "es" and text.startswith("one"))
    assert viewer.count("s").totals["s"] == sum(row["pattern"] == "s" for row in table.to_pylist())


def sentence_piece_characters(tokens: list[int]) -> list[tuple[str, int, int]]:
    """The characters of the decoded text, each with the first and the last token that make it."""
    found: list[tuple[str, int, int]] = []
    place = 0
    while place < len(tokens):
        token = SENTENCE_PIECES[tokens[place]]
        run = 0
        while place + run < len(tokens) and SENTENCE_PIECES[tokens[place + run]].startswith("<0x"):
            run += 1
        if not run:
            found += [(character, place, place) for character in token.replace("▁", " ")]
            place += 1
            continue
        content = bytes(int(SENTENCE_PIECES[number][3:5], 16) for number in tokens[place : place + run])
        try:
            for character in content.decode():
                found.append((character, place, place + len(character.encode()) - 1))
                place += len(character.encode())
        except UnicodeDecodeError:
            found += [("�", place + number, place + number) for number in range(run)]
            place += run
    return found[1:] if found and found[0][0] == " " else found


@settings(max_examples=60)
@given(
    documents=st.lists(
        st.lists(
            st.one_of(
                st.integers(0, 12).map(lambda number: [number]),
                # Whole characters of two and three bytes, so that these are met.
                st.sampled_from([[8, 9], [10, 11, 12], [8, 9, 10, 11, 12]]),
            ),
            min_size=1,
            max_size=8,
        ),
        min_size=1,
        max_size=6,
    ),
    seq_length=st.integers(2, 12),
)
@example(documents=[[[5], [8, 9], [10, 11, 12], [6], [2], [1]]], seq_length=8)
def test_texts_of_a_sentence_piece_tokenizer(
    documents: list[list[list[int]]], seq_length: int, make_stream: MakeStream
) -> None:
    viewer = make_stream(
        [*(list(chain(*document)) for document in documents), [5, 3]], tokenizer=False, seq_length=seq_length
    )
    sentence_piece_tokenizer().save(str(tokenizer_of(viewer)))
    viewer = BatchViewer.open(viewer.dataset.store.name)
    patterns = ["a", " a", "▁a", "ab", "é", "中", "b中", "�", "</s>", " ", "a b"]
    wanted = []
    for step in range(viewer.steps):
        for row in range(viewer.batch_size):
            characters = sentence_piece_characters(viewer.sequence(step, row).tolist())
            text = "".join(character for character, _, _ in characters)
            assert text == viewer.text(step, row)
            for start in range(len(text)):
                for pattern in patterns:
                    if text.startswith(pattern, start):
                        first, last = characters[start][1], characters[start + len(pattern) - 1][2]
                        wanted.append((step, row, first, last - first + 1, pattern))
    table = viewer.find(patterns)
    assert sorted(rows(table, "step", "row", "position", "n_tokens", "pattern")) == sorted(wanted)
    assert table.column("match").equals(table.column("pattern"))


@pytest.mark.parametrize("text", ["▁a", "a", " ", "Z"])
def test_no_text_is_in_a_wrong_form_for_a_sentence_piece_tokenizer(
    text: str, make_stream: MakeStream
) -> None:
    viewer = make_stream([[5, 3, 2, 5] * 9], tokenizer=False)
    sentence_piece_tokenizer().save(str(tokenizer_of(viewer)))
    viewer = BatchViewer.open(viewer.dataset.store.name)
    every = [viewer.text(step, row) for step in range(viewer.steps) for row in range(viewer.batch_size)]
    assert viewer.count(text).totals == {text: sum(one.count(text) for one in every)}
