"""What fetched steps say of documents, against the stream that they were fetched from."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pile_tools import BatchViewer
from pile_tools.viewer.fetch import fetch_steps
from tests.lookups.conftest import MakeStream, make_stream

__all__ = ["make_stream"]

FORMS = ("neox", "megatron-core", "blend", "pread")


def fetched(viewer: BatchViewer, start: int, stop: int, output: Path) -> BatchViewer:
    fetch_steps(viewer, start, stop, output, lambda done, total: None)
    return BatchViewer.open(output)


def of_steps(table: pa.Table, start: int, stop: int) -> list[dict[str, Any]]:
    step = table.column("step")
    rows: list[dict[str, Any]] = table.filter(
        pc.and_(pc.greater_equal(step, start), pc.less(step, stop))
    ).to_pylist()
    return rows


def times_read(viewer: BatchViewer, start: int, stop: int) -> dict[str, Counter[int]]:
    """How many documents and tokens steps [start, stop) read how often, piece by piece."""
    tokens: Counter[tuple[int, int, int]] = Counter()
    places = set()
    for part in viewer.parts:
        table = viewer.occurrences(documents=range(part.n_documents or 0), dataset=part.number)
        for piece in of_steps(table, start, stop):
            inputs = min(piece["n_tokens"], viewer.seq_length - piece["position"])
            key = (part.number or 0, piece["document"])
            tokens.update((*key, piece["offset"] + token) for token in range(inputs))
            if inputs:
                places.add((*key, piece["epoch"]))
    documents = Counter(place[:2] for place in places)
    return {"tokens": Counter(tokens.values()), "documents": Counter(documents.values())}


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 20), min_size=1, max_size=9),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 40)),
    form=st.sampled_from(FORMS),
    again=st.booleans(),
    data=st.data(),
)
def test_they_answer_what_the_whole_stream_does(
    sizes: list[int],
    shape: tuple[int, int, int],
    form: str,
    again: bool,
    data: st.DataObject,
    make_stream: MakeStream,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    seq_length, batch_size, num_samples = shape
    whole = make_stream(
        [[number % 11] * size for number, size in enumerate([2, 3, *sizes])],
        seq_length=seq_length,
        batch_size=batch_size,
        num_samples=num_samples,
        provenance=True,
        form=form,
    )
    assume(whole.steps > 0)
    start = data.draw(st.integers(0, whole.steps - 1))
    stop = data.draw(st.integers(start + 1, whole.steps))
    directory = tmp_path_factory.mktemp("fetched")
    steps = fetched(whole, start, stop, directory / "steps")
    if again:  # a part of a part
        start = data.draw(st.integers(start, stop - 1))
        steps = fetched(steps, start, stop, directory / "fewer")
    assert steps.knows_documents
    for step in range(start, stop):
        assert steps.digest(step) == whole.digest(step)
        for row, other in zip(steps.rows(step), whole.rows(step), strict=True):
            assert row.pieces == other.pieces
            assert steps.trace(step, row.row) == whole.trace(step, row.row)
    for part in whole.parts:
        numbers = range(part.n_documents or 0)
        table = steps.occurrences(documents=numbers, dataset=part.number)
        expected = whole.occurrences(documents=numbers, dataset=part.number)
        assert table.to_pylist() == of_steps(expected, start, stop)
        assert steps.occurrences(0, dataset=part.number).to_pylist() == of_steps(
            whole.occurrences(0, dataset=part.number), start, stop
        )
    assert steps.find(tokens=[1]).to_pylist() == of_steps(whole.find(tokens=[1]), start, stop)
    mixture = [row for row in whole.mixture(every=1).to_pylist() if start <= row["start"] < stop]
    for row in steps.mixture(every=1).to_pylist():
        same = next(x for x in mixture if (x["start"], x["source"]) == (row["start"], row["source"]))
        assert (row["tokens"], row["share"]) == (same["tokens"], same["share"])
        mixture.remove(same)
    assert not any(row["tokens"] for row in mixture)
    found: dict[str, Counter[int]] = {"tokens": Counter(), "documents": Counter(), "samples": Counter()}
    totals: Counter[str] = Counter()
    for row in whole.repeats().to_pylist():
        totals[row["kind"]] += row["count"]
    for row in steps.repeats().to_pylist():
        found[row["kind"]][row["times"]] = row["count"]
    expected_times = times_read(whole, start, stop)
    expected_times["samples"] = Counter({1: (stop - start) * batch_size})
    for kind, times in expected_times.items():
        times[0] = totals[kind] - sum(times.values())
        assert +found[kind] == +times
    if start == 0:
        marks = [row for row in whole.repeats(every=1).to_pylist() if row["checkpoint"] <= stop]
        assert steps.repeats(every=1).to_pylist() == marks
