"""What fetched steps say of documents, against the stream that they were fetched from."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pile_tools import BatchViewer
from pile_tools.checks.checks import verify
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.formats import origins_json as origins
from pile_tools.formats.origins_json import ORIGINS_NAME
from pile_tools.stages.order.blend import make_blend
from pile_tools.stages.recut import recut
from tests.fetched import ARRAYS, everything, fetched, of_steps, whole_stream
from tests.lookups.conftest import MakeStream
from tests.strategies import stream_shapes

FORMS = ("neox", "megatron-core", "blend", "pread")


def times_read(viewer: BatchViewer, start: int, stop: int) -> dict[str, Counter[int]]:
    """How many documents and tokens steps [start, stop) read how often, piece by piece."""
    tokens: Counter[tuple[int, int, int]] = Counter()
    places = set()
    for part in viewer.stream.parts:
        table = viewer.seen(documents=range(part.n_documents or 0), dataset=part.number)
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
    shape=stream_shapes(most=40),
    form=st.sampled_from(FORMS),
    again=st.booleans(),
    data=st.data(),
)
@pytest.mark.slow
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
        assert steps.step_digest(step) == whole.step_digest(step)
        for row, other in zip(steps.rows(step), whole.rows(step), strict=True):
            assert row.pieces == other.pieces
            assert steps.trace(step, row.row) == whole.trace(step, row.row)
    for part in whole.stream.parts:
        numbers = range(part.n_documents or 0)
        table = steps.seen(documents=numbers, dataset=part.number)
        expected = whole.seen(documents=numbers, dataset=part.number)
        assert table.to_pylist() == of_steps(expected, start, stop)
        assert steps.seen(0, dataset=part.number).to_pylist() == of_steps(
            whole.seen(0, dataset=part.number), start, stop
        )
    assert steps.find(tokens=[1]).to_pylist() == of_steps(whole.find(tokens=[1]), start, stop)
    mixture = [row for row in whole.mixture(every=1).to_pylist() if start <= row["start"] < stop]
    for row in steps.mixture(every=1).to_pylist():
        same = next(x for x in mixture if (x["start"], x["source"]) == (row["start"], row["source"]))
        assert (row["tokens"], row["share"]) == (same["tokens"], same["share"])
        mixture.remove(same)
    assert mixture == []
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


@pytest.fixture
def whole(make_stream: MakeStream) -> BatchViewer:
    return whole_stream(make_stream)


@pytest.mark.parametrize("hashed", [True, False])
def test_damage_is_met_or_harmless(
    hashed: bool, whole: BatchViewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of files that are too long to be hashed a number may be another one, and the form is still checked."""
    monkeypatch.setattr(origins, "_HASHED", 16 << 20 if hashed else 0)
    expected = everything(fetched(whole, 3, 9, tmp_path / "steps"))
    generator = np.random.RandomState(0)
    for name in (*ARRAYS, ORIGINS_NAME, "documents-0.parquet"):
        path = tmp_path / "steps" / name
        content = path.read_bytes()
        for _ in range(40):
            changed = bytearray(content)
            changed[generator.randint(len(changed))] ^= 1 << generator.randint(8)
            path.write_bytes(changed)
            error, found = None, expected
            try:
                found = everything(BatchViewer.open(tmp_path / "steps"))
            except PileToolsError as caught:
                error = caught
            assert error is None or str(tmp_path) in str(error)
            assert found == expected or not hashed
            with pytest.raises(DataError):
                verify([tmp_path / "steps"])
        for changed in (content[:-1], content + b"\0"):
            path.write_bytes(changed)
            with pytest.raises(DataError):
                everything(BatchViewer.open(tmp_path / "steps"))
        path.unlink()
        with pytest.raises(DataError, match=name):
            verify([tmp_path / "steps"])
        with pytest.raises(PileToolsError, match=name):
            everything(BatchViewer.open(tmp_path / "steps"))
        path.write_bytes(content)
    assert everything(BatchViewer.open(tmp_path / "steps")) == expected


def test_cut_into_other_files_they_answer_the_same(whole: BatchViewer, tmp_path: Path) -> None:
    expected = everything(fetched(whole, 3, 9, tmp_path / "steps"))
    recut(tmp_path / "steps", tmp_path / "split", shard_bytes=20)
    recut(tmp_path / "split", tmp_path / "merged", shard_bytes=None)
    for name in ("split", "merged"):
        assert everything(BatchViewer.open(tmp_path / name)) == expected
        assert "origins" in [finding.check for finding in verify([tmp_path / name])]


def test_a_blend_that_lists_a_dataset_twice(whole: BatchViewer, tmp_path: Path) -> None:
    place = whole.dataset.directory
    make_blend([place, place], ["1", "2"], tmp_path / "blend", seq_length=5, batch_size=2, steps=9)
    blend = BatchViewer.open(tmp_path / "blend")
    steps = fetched(blend, 2, 9, tmp_path / "steps")
    for number in range(2):
        table = steps.seen(documents=range(9), dataset=number)
        expected = blend.seen(documents=range(9), dataset=number)
        assert table.to_pylist() == of_steps(expected, 2, 9)
    with pytest.raises(PileToolsError, match="lists a dataset twice"):
        steps.repeats()
    message = re.escape("say which dataset the document is of")
    with pytest.raises(ParameterError, match=message):
        steps.seen(0)


def test_addresses_that_are_not_known(make_stream: MakeStream, tmp_path: Path) -> None:
    """Without documents.parquet documents are numbers; without documents the whole is counted still."""
    bare = make_stream([[1] * 30, [2] * 9], num_samples=6)
    steps = fetched(bare, 0, 2, tmp_path / "steps")
    assert steps.seen(1) == bare.seen(1).slice(0, steps.seen(1).num_rows)
    assert steps.trace(0, 0) == bare.trace(0, 0)
    with pytest.raises(PileToolsError, match=r"no documents.parquet, so it is not known which source"):
        steps.mixture()
    with pytest.raises(PileToolsError, match=r"no documents.parquet, so it is not known where"):
        steps.seen(shard="0.jsonl", row=0)
    with pytest.raises(OutOfRangeError, match="no document 2; there are 2"):
        steps.seen(2)
    sequential = make_stream([[1] * 60], form="sequential")
    steps = fetched(sequential, 0, 2, tmp_path / "sequences")
    assert not steps.knows_documents
    assert steps.trace(1, 1) == sequential.trace(1, 1)
    marks = [row for row in sequential.repeats(every=1).to_pylist() if row["checkpoint"] <= 2]
    assert steps.repeats(every=1).to_pylist() == marks
    assert "origins" in [finding.check for finding in verify([tmp_path / "sequences"])]


def test_a_batch_that_is_larger_than_the_steps(whole: BatchViewer, tmp_path: Path) -> None:
    fetched(whole, 3, 9, tmp_path / "steps")
    for batch_size in (7, 12, 13, 100):
        steps = BatchViewer.open(tmp_path / "steps", batch_size=batch_size)
        other = BatchViewer.open(whole.dataset.directory, batch_size=batch_size)
        read = range(steps.first_step, steps.steps)
        assert (batch_size < 12) == bool(read)
        table = steps.seen(documents=range(9))
        assert table.to_pylist() == of_steps(other.seen(documents=range(9)), steps.first_step, steps.steps)
        assert sum(steps.mixture().column("tokens").to_pylist()) == len(read) * batch_size * 5
        times = {
            row["times"]: row["count"] for row in steps.repeats().to_pylist() if row["kind"] == "samples"
        }
        assert times.get(1, 0) == len(read) * batch_size
