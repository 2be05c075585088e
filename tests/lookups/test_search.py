"""Search by both ways, in file order and gathered, for sequences of ids."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lookups.conftest import FORMS, MakeStream, choose, rows, sequences, usable
from tests.reference.asking import token_matches
from tests.strategies import stream_shapes, token_documents


@settings(max_examples=60)
@given(
    several=token_documents(11, min_tokens=0, min_size=1, max_size=10),
    shape=stream_shapes(),
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
