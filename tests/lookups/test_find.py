"""Finding texts and tokens, against a search in every decoded sequence."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers

from pile_tools import BatchViewer
from pile_tools.errors import DataError, OutOfRangeError, ParameterError
from pile_tools.lookups import find, search
from tests.lookups.conftest import FORMS, VOCABULARY, MakeStream
from tests.reference.asking import text_matches, token_matches

BYTES = [
    {"Ġ": b" ", "Ġa": b" a", "Ã": b"\xc3", "©": b"\xa9"}.get(token, token.encode()) for token in VOCABULARY
]
END = len(VOCABULARY) - 1

documents = st.lists(st.lists(st.integers(0, 11), max_size=14), min_size=1, max_size=10).filter(
    lambda several: sum(map(len, several)) >= 2
)
# Longer ones come of the pieces of documents themselves, so that they are met.
texts = st.text(alphabet="abc é", min_size=1, max_size=5)


def usable(several: list[list[int]], form: str) -> list[list[int]]:
    """The documents, with enough in each half for both datasets of a blend."""
    return [[1, 2, 3], [4, 5, 6], *several] if form.endswith("blend") else several


def choose(way: str, patch: pytest.MonkeyPatch) -> None:
    """Have matches found in the order of the stream, or in the order of the file."""
    patch.setattr(search, "_GATHER_FACTOR", 0 if way == "gather" else 10**9)
    if way == "scan in small blocks":
        patch.setattr(search, "_BLOCK_TOKENS", 5)
        patch.setattr(search, "_GATHER_TOKENS", 7)
        patch.setattr(search, "_FLUSH", 2)


def rows(table: Any) -> list[tuple[Any, ...]]:
    names = ("step", "row", "position", "n_tokens", "pattern")
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


def sequences(viewer: BatchViewer) -> list[tuple[int, int, list[int]]]:
    steps = range(viewer.steps)
    return [
        (step, row, viewer.sequence(step, row).tolist()) for step in steps for row in range(viewer.batch_size)
    ]


@settings(max_examples=60)
@given(
    several=documents,
    ended=st.booleans(),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 30)),
    patterns=st.lists(texts, min_size=1, max_size=3, unique=True),
    form=st.sampled_from(FORMS),
    data=st.data(),
)
@pytest.mark.parametrize("way", ["gather", "scan", "scan in small blocks"])
def test_texts(
    several: list[list[int]],
    ended: bool,
    shape: tuple[int, int, int],
    patterns: list[str],
    form: str,
    data: st.DataObject,
    way: str,
    make_stream: MakeStream,
) -> None:
    several = [[*document, END] if ended else document for document in several]
    seq_length, batch_size, num_samples = shape
    viewer = make_stream(
        usable(several, form),
        seq_length=seq_length,
        batch_size=batch_size,
        num_samples=num_samples,
        dtype=data.draw(st.sampled_from(["<u2", "<i4"])),
        form=form,
    )
    if viewer.steps == 0:
        return
    start = data.draw(st.integers(0, viewer.steps - 1))
    stop = data.draw(st.integers(start + 1, viewer.steps))
    expected = [
        (step, row, first, length, pattern)
        for step, row, tokens in sequences(viewer)
        if start <= step < stop
        for first, length, _, pattern in sorted(
            (*match, pattern)
            for pattern in patterns
            for match in text_matches([BYTES[token] for token in tokens], pattern.encode())
        )
    ]
    with pytest.MonkeyPatch.context() as patch:
        choose(way, patch)
        found = viewer.find(patterns, steps=(start, stop), context=3)
        counts = viewer.count(patterns, steps=(start, stop), every=2)
        firsts = viewer.find(patterns, steps=(start, stop), limit=3)
    assert sorted(rows(found)) == sorted(expected)
    assert rows(firsts) == rows(found)[:3]
    assert [row[:2] for row in rows(found)] == sorted(row[:2] for row in expected)
    assert all(row["match"] == row["pattern"] for row in found.to_pylist())
    for row in counts.table.to_pylist():
        assert row["count"] == sum(
            step < row["checkpoint"] and pattern == row["pattern"] for step, *_, pattern in expected
        )
    for pattern, step in counts.first_step.items():
        assert step == min((row[0] for row in expected if row[-1] == pattern), default=None)
        assert counts.totals[pattern] == sum(row[-1] == pattern for row in expected)


@settings(max_examples=60)
@given(
    several=documents,
    shape=st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 30)),
    patterns=st.lists(
        st.lists(st.integers(0, 11), min_size=1, max_size=3).map(tuple), min_size=1, max_size=4, unique=True
    ),
    alphabet=st.integers(1, 12),
    form=st.sampled_from(FORMS),
)
@pytest.mark.parametrize("way", ["gather", "scan in small blocks"])
def test_tokens(
    several: list[list[int]],
    shape: tuple[int, int, int],
    patterns: list[tuple[int, ...]],
    alphabet: int,
    form: str,
    way: str,
    make_stream: MakeStream,
) -> None:
    several = [[token % alphabet for token in document] for document in several]
    seq_length, batch_size, num_samples = shape
    viewer = make_stream(
        usable(several, form),
        seq_length=seq_length,
        batch_size=batch_size,
        num_samples=num_samples,
        form=form,
    )
    patterns = [pattern for pattern in patterns if len(pattern) <= seq_length + 1]
    if viewer.steps == 0 or not patterns:
        return
    expected = [
        (step, row, first, len(pattern), ",".join(map(str, pattern)))
        for step, row, tokens in sequences(viewer)
        for pattern in patterns
        for first in token_matches(tokens, list(pattern))
    ]
    with pytest.MonkeyPatch.context() as patch:
        choose(way, patch)
        assert sorted(rows(viewer.find(tokens=patterns))) == sorted(expected)
        assert viewer.find(tokens=patterns, first=True).num_rows == min(1, len(expected))


def test_what_is_said_of_a_match(make_stream: MakeStream) -> None:
    viewer = make_stream(
        [[0, 1, 6], [6, 10, 11, 0], [3, 7, 6, END]], provenance=True, seq_length=4, num_samples=8
    )
    table = viewer.find("c", context=2)
    assert table.num_rows > 4
    for row in table.to_pylist():
        tokens = viewer.sequence(row["step"], row["row"]).tolist()
        text = [b"".join(BYTES[token] for token in part).decode(errors="replace") for part in (
            tokens[: row["position"]], tokens[row["position"] + 1 :])]  # fmt: skip
        assert (row["before"], row["match"], row["after"]) == (text[0][-2:], "c", text[1][:2])
        piece = next(
            piece
            for piece in viewer.trace(row["step"], row["row"]).to_pylist()
            if 0 <= row["position"] - piece["position"] < piece["n_tokens"]
        )
        assert row["document"] == piece["document"]
        assert row["offset"] == piece["offset"] + row["position"] - piece["position"]
        assert (row["shard"], row["shard_row"], row["source"]) == (
            piece["shard"], piece["shard_row"], piece["source"])  # fmt: skip


def test_without_a_tokenizer_tokens_are_found(make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 6], [6, 10, 11, 0]], tokenizer=False)
    row = viewer.find(tokens=[6], first=True).to_pylist()[0]
    assert (row["before"], row["match"], row["after"], row["shard"]) == (None, None, None, None)
    assert row["document"] is not None
    with pytest.raises(ParameterError, match="give one with --tokenizer"):
        viewer.find("a")


def test_common_patterns_have_to_be_counted(make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = make_stream([[0] * 50])
    monkeypatch.setattr(find, "MAX_LISTED", 10)
    with pytest.raises(ParameterError, match=r"more than 10 occurrences; count them \(--count\)"):
        viewer.find("a")
    assert viewer.count("a").totals == {"a": 72}
    assert viewer.find("a", limit=11).num_rows == 11


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "give one of a text, token ids and a regular expression"),
        ({"text": "a", "tokens": [1]}, "give one of"),
        ({"text": []}, "no pattern"),
        ({"text": ["a", "a"]}, "given twice"),
        ({"text": ""}, "0 bytes"),
        ({"text": "a" * 20_000}, "20000 bytes; give one of 1 to 16384"),
        ({"text": "\ud800"}, "lone surrogate"),
        ({"tokens": []}, "at least one token"),
        ({"tokens": [-1]}, "not negative"),
        ({"tokens": [70_000]}, "does not fit uint16"),
        ({"tokens": [1] * 7}, "longer than a sequence of 6"),
        ({"tokens": ["x"]}, "not whole numbers"),
        ({"tokens": [6.9]}, "token ids [6.9] are not whole numbers"),
        ({"tokens": [[6], [6.0, 1]]}, "not whole numbers"),
        ({"tokens": np.array([6.0])}, "not whole numbers"),
        ({"tokens": 5}, "token ids 5 are not whole numbers"),
        ({"tokens": [[6], 1]}, "not whole numbers"),
        ({"tokens": "1,2"}, "not whole numbers"),
        ({"text": b"abc"}, "text b'abc' is no text (str)"),
        ({"text": b""}, "no pattern is given"),
        ({"text": 5}, "text 5 is no text (str)"),
        ({"text": ["a", 5]}, "text ['a', 5] is no text (str)"),
        ({"regex": 5}, "regular expression 5 is no text (str)"),
        ({"regex": b"a"}, "regular expression b'a' is no text (str)"),
        ({"text": "a", "steps": (1.5, 3)}, "steps (1.5, 3) are not two whole numbers"),
        ({"text": "a", "steps": 5}, "steps 5 are not two whole numbers"),
        ({"text": "a", "steps": (1, 2, 3)}, "steps (1, 2, 3) are not two whole numbers"),
        ({"text": "a", "steps": ()}, "steps () are not two whole numbers"),
        ({"text": "Z"}, "tokenises to nothing"),
        ({"text": "a", "limit": 0}, "limit 0"),
        ({"text": "a", "context": -1}, "context -1"),
        ({"text": "a", "steps": (3, 3)}, "hold no step"),
    ],
)
def test_queries_that_are_none(query: dict[str, Any], message: str, make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 6], [6, 10, 11, 0]])
    with pytest.raises(ParameterError, match=re.escape(message)):
        viewer.find(**query)


def test_numbers_of_other_kinds_are_whole_numbers_too(make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 6], [6, 10, 11, 0]])
    wanted = viewer.find(tokens=[6], steps=(1, 3))
    assert wanted.num_rows
    several = np.array([[6]], np.uint16)
    steps = (np.int64(1), np.uint8(3))
    assert viewer.find(tokens=several, steps=steps).equals(wanted)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"every 1.5 steps: must be a whole number"):
        viewer.count("a", every=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["gather", "scan in small blocks"])
def test_ids_of_any_size(way: str, make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(way, monkeypatch)
    several = {"<i4": [2**31 - 1, 65_535, 7], "<i8": [2**63 - 1, 2**62, 2**62 + 65_536, 65_535, 0]}
    for dtype, ids in several.items():
        viewer = make_stream([[*ids, 1], ids[::-1], ids], dtype=dtype, tokenizer=False)
        sequences = [row.tolist() for step in range(viewer.steps) for row in viewer.batch(step)]
        for pattern in [[number] for number in ids] + [ids[:2], ids[1:3]]:
            expected = sum(len(token_matches(row, pattern)) for row in sequences)
            assert expected > 0
            assert viewer.find(tokens=pattern).num_rows == expected
        assert viewer.count(tokens=[2**31 - 2]).totals == {str(2**31 - 2): 0}


def test_the_form_in_which_text_is_stored(make_stream: MakeStream) -> None:
    made = make_stream([[0, 10, 11, 1] * 9])
    path = Path(made.parts[0].component.dataset.store.name, "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.save(str(path))
    viewer = BatchViewer.open(made.dataset.store.name)
    with pytest.raises(ParameterError, match=r"look for 'é'$"):
        viewer.find("e\u0301")
    assert viewer.find("é").num_rows > 12
    # Of a normalizer that changes what it has made no text is stored as it is given.
    tokenizer.normalizer = normalizers.Prepend("a")
    tokenizer.save(str(path))
    viewer = BatchViewer.open(made.dataset.store.name)
    assert viewer.count("b").totals == made.count("b").totals


@pytest.mark.parametrize("steps", [(0, 7), (-1, 2), (6, None), (None, 99)])
def test_steps_that_the_stream_does_not_have(steps: Sequence[int | None], make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 6], [6, 10, 11, 0]])
    with pytest.raises((OutOfRangeError, ParameterError), match=r"no steps|hold no step"):
        viewer.find("a", steps=(steps[0], steps[1]))


def test_a_batch_size_larger_than_the_stream(make_stream: MakeStream) -> None:
    stream = make_stream([[0, 1, 6], [6, 10, 11, 0]])
    viewer = BatchViewer.open(stream.dataset.store.name, batch_size=99)
    ask: list[Callable[..., Any]] = [
        lambda **steps: viewer.find("a", **steps),
        lambda **steps: viewer.count("a", **steps),
        lambda **steps: viewer.terms(["a"], **steps),
    ]
    for question in ask:
        for steps in ({}, {"steps": (0, 1)}):
            with pytest.raises(ParameterError, match="not one whole batch of 99, so no step"):
                question(**steps)


def test_ids_beyond_the_tokenizer(make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 6], [6, 40_000, 11, 0]])
    with pytest.raises(DataError, match="token 40000, but the tokenizer's largest is 12"):
        viewer.find("a")
    with pytest.raises(DataError, match="token 40000, but the tokenizer's largest is 12"):
        viewer.find(tokens=[6])
    assert np.isscalar(viewer.count(tokens=[6]).totals["6"])
