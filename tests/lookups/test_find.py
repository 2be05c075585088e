"""Finding texts and tokens, against a search in every decoded sequence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.errors import ParameterError
from pile_tools.lookups import find
from tests.lookups.conftest import BYTES, END, FORMS, MakeStream, choose, rows, sequences, usable
from tests.reference.asking import text_matches
from tests.strategies import stream_shapes, token_documents

# Longer ones come of the pieces of documents themselves, so that they are met.
texts = st.text(alphabet="abc é", min_size=1, max_size=5)


@settings(max_examples=60)
@given(
    several=token_documents(11, min_tokens=0, min_size=1, max_size=10),
    ended=st.booleans(),
    shape=stream_shapes(),
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


def test_common_patterns_have_to_be_counted(make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = make_stream([[0] * 50])
    monkeypatch.setattr(find, "MAX_LISTED", 10)
    with pytest.raises(ParameterError, match=r"more than 10 occurrences; count them \(--count\)"):
        viewer.find("a")
    assert viewer.count("a").totals == {"a": 72}
    assert viewer.find("a", limit=11).num_rows == 11
