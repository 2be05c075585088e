"""What fetched steps say of documents, against the stream that they were fetched from."""

import dataclasses
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pile_tools import BatchViewer
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats import origins
from pile_tools.formats.manifest import Manifest, file_entry
from pile_tools.formats.order_record import OrderRecord, parse_record
from pile_tools.formats.origin_documents import ORIGIN_SCHEMA
from pile_tools.formats.origins import ORIGINS_NAME, PIECES_NAME, STARTS_NAME, OriginsRecord
from pile_tools.formats.provenance import ProvenanceWriter
from pile_tools.stages.blend import make_blend
from pile_tools.stages.recut import recut
from pile_tools.stages.verify import verify
from pile_tools.studies.intervene import Intervention, intervene
from pile_tools.viewer import fetch_origins
from pile_tools.viewer.fetch import fetch_steps
from tests.hub_server import running_hub, use_as_hub
from tests.lookups.conftest import MakeStream, make_stream
from tests.processes import started
from tests.viewer.test_opening import publish

__all__ = ["make_stream"]

ARRAYS = (STARTS_NAME, PIECES_NAME)
FORMS = ("neox", "megatron-core", "blend", "pread")


def fetched(viewer: BatchViewer, start: int, stop: int, output: Path) -> BatchViewer:
    fetch_steps(viewer, start, stop, output)
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
    documents = [[number % 11] * size for number, size in enumerate((9, 4, 0, 17, 3, 8, 2, 30, 5))]
    return make_stream(documents, num_samples=40, provenance=True)


def everything(viewer: BatchViewer) -> list[object]:
    """All that is said of documents."""
    steps = range(viewer.first_step, viewer.steps)
    return [
        viewer.occurrences(documents=range(9)).to_pylist(),
        viewer.repeats(every=2).to_pylist(),
        viewer.mixture(every=2).to_pylist(),
        *(viewer.trace(step, row).to_pylist() for step in steps for row in range(viewer.batch_size)),
    ]


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.slow
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


def rewrite(directory: Path, name: str, content: npt.NDArray[Any] | pa.Table) -> None:
    """Let the file hold something else, and every record name it as it is now."""
    path = directory / name
    if isinstance(content, pa.Table):
        with path.open("wb") as file, ProvenanceWriter(file, ORIGIN_SCHEMA) as writer:
            writer.write(content)
    else:
        np.save(path, content)
    record = OriginsRecord.parse((directory / ORIGINS_NAME).read_bytes(), "")
    files = tuple(file_entry(directory / entry.name) for entry in record.files)
    record = dataclasses.replace(record, files=files)
    (directory / ORIGINS_NAME).write_bytes(record.to_bytes())
    order = parse_record((directory / "order.json").read_bytes(), "")
    assert isinstance(order, OrderRecord)
    dataclasses.replace(order, origins=record.identity).write(directory / "order.json")
    manifest = Manifest.read(directory)
    outputs = [file_entry(directory / entry.name, entry.name) for entry in manifest.outputs]
    dataclasses.replace(manifest, outputs=outputs).write(directory)


def test_what_contradicts_itself_is_refused(whole: BatchViewer, tmp_path: Path) -> None:
    directory = tmp_path / "steps"
    fetched(whole, 3, 9, directory)
    findings = verify([directory])
    (finding,) = (finding for finding in findings if finding.check == "origins")
    assert finding.message.endswith("pieces of 7 documents")
    pieces, starts = np.load(directory / "pieces.npy"), np.load(directory / "piece_starts.npy")
    table = pq.read_table(directory / "documents-0.parquet").cast(ORIGIN_SCHEMA)
    last = table.num_rows - 1

    def with_value(row: int, column: int, value: int) -> npt.NDArray[np.int32]:
        changed = pieces.copy()
        changed[row, column] = value
        return changed

    for name, content, message in (
        ("pieces.npy", with_value(0, 2, pieces[0, 2] + 1), "pieces that are no sequences of 6 tokens"),
        ("pieces.npy", with_value(0, 0, -1), "pieces of no document"),
        ("pieces.npy", with_value(0, 1, -1), "pieces of no document"),
        ("pieces.npy", with_value(0, 3, -2), "pieces of no document"),
        ("pieces.npy", with_value(0, 0, 9), "document 9 of 9"),
        ("pieces.npy", pieces[:-1], "not the starts of"),
        ("piece_starts.npy", starts[:-1], "names arrays that are not of 12 sequences"),
        ("piece_starts.npy", np.concatenate([starts[:1], starts[:1], starts[2:]]), "not the starts of"),
        ("pieces.npy", pieces[:, :3].copy(), "names arrays that are not of 12 sequences"),
        ("pieces.npy", pieces.astype("<i8"), "not int32 in 2"),
        ("documents-0.parquet", table.slice(1), "is shown by none of the steps here"),
        ("documents-0.parquet", table.slice(0, last), "is shown by none of the steps here"),
    ):
        before = (directory / name).read_bytes()
        rewrite(directory, name, content)
        with pytest.raises(PileToolsError, match=message):
            everything(BatchViewer.open(directory))
        with pytest.raises(DataError):
            verify([directory])
        (directory / name).write_bytes(before)
        rewrite(directory, "pieces.npy", pieces)
    assert len(verify([directory])) == len(findings)


def test_fetched_from_behind_a_url(
    whole: BatchViewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched(whole, 3, 9, tmp_path / "here")
    with running_hub() as hub:
        use_as_hub(monkeypatch, hub)
        url = publish(hub, whole.dataset.directory)
        there = fetched(BatchViewer.open(url), 3, 9, tmp_path / "there")
        assert everything(there) == everything(BatchViewer.open(tmp_path / "here"))
        again = publish(hub, tmp_path / "here", "owner/steps")
        assert everything(BatchViewer.open(again)) == everything(there)
        hub.sent.clear()
        fetch_steps(BatchViewer.open(url), 3, 4, tmp_path / "bare", tokens_only=True)
        assert not [name for name in hub.sent if "documents" in name]
    for name in (*ARRAYS, "documents-0.parquet"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert not BatchViewer.open(tmp_path / "bare").knows_documents


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
        table = steps.occurrences(documents=range(9), dataset=number)
        expected = blend.occurrences(documents=range(9), dataset=number)
        assert table.to_pylist() == of_steps(expected, 2, 9)
    with pytest.raises(PileToolsError, match="lists a dataset twice"):
        steps.repeats()
    message = re.escape("say which dataset the document is of")
    with pytest.raises(ParameterError, match=message):
        steps.occurrences(0)


def test_addresses_that_are_not_known(make_stream: MakeStream, tmp_path: Path) -> None:
    """Without documents.parquet documents are numbers; without documents the whole is counted still."""
    bare = make_stream([[1] * 30, [2] * 9], num_samples=6)
    steps = fetched(bare, 0, 2, tmp_path / "steps")
    assert steps.occurrences(1) == bare.occurrences(1).slice(0, steps.occurrences(1).num_rows)
    assert steps.trace(0, 0) == bare.trace(0, 0)
    with pytest.raises(PileToolsError, match=r"no documents.parquet, so it is not known which source"):
        steps.mixture()
    with pytest.raises(PileToolsError, match=r"no documents.parquet, so it is not known where"):
        steps.occurrences(shard="0.jsonl", row=0)
    with pytest.raises(OutOfRangeError, match="no document 2; there are 2"):
        steps.occurrences(2)
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
        table = steps.occurrences(documents=range(9))
        assert table.to_pylist() == of_steps(
            other.occurrences(documents=range(9)), steps.first_step, steps.steps
        )
        assert sum(steps.mixture().column("tokens").to_pylist()) == len(read) * batch_size * 5
        times = {
            row["times"]: row["count"] for row in steps.repeats().to_pylist() if row["kind"] == "samples"
        }
        assert times.get(1, 0) == len(read) * batch_size


def test_a_killed_run_ends_with_the_same_bytes(
    whole: BatchViewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_origins, "_BLOCK", 4)
    fetched(whole, 3, 9, tmp_path / "whole")
    calls = 0

    def pieces(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    real = fetch_origins._pieces
    monkeypatch.setattr(fetch_origins, "_pieces", pieces)
    with pytest.raises(KeyboardInterrupt):
        fetched(whole, 3, 9, tmp_path / "steps")
    with pytest.raises(UnfinishedError):
        BatchViewer.open(tmp_path / "steps")
    fetched(whole, 3, 9, tmp_path / "steps")
    contents = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("whole", "steps")
    ]
    assert contents[0] == contents[1]
    with pytest.raises(PileToolsError, match="holds something else"):
        fetch_steps(whole, 3, 9, tmp_path / "steps", tokens_only=True)


# Fetches in a fork for each line of its input, "output left"; the fork dies at its left-th event.
KILLED = """
import os, sys
from pathlib import Path
from pile_tools import BatchViewer
from pile_tools.viewer.fetch import fetch_steps

output, left = "never", 0

def hook(event, arguments):
    global left
    if event in ("open", "os.rename", "os.remove") and str(arguments[0]).startswith(output):
        left -= 1
        if left == 0:
            os._exit(9)

viewer = BatchViewer.open(sys.argv[1])
for line in sys.stdin:
    if os.fork() == 0:
        output, left = line.split()[0], int(line.split()[1])
        sys.addaudithook(hook)
        fetch_steps(viewer, 3, 9, Path(output))
        print("events left:", left, flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(whole: BatchViewer, tmp_path: Path) -> None:
    fetched(whole, 3, 9, tmp_path / "whole")

    def contents(name: str) -> dict[str, bytes]:
        paths = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in paths}

    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", KILLED, str(whole.dataset.directory)]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def fetch(name: str, left: int) -> str:
            print(tmp_path / name, left, file=process.stdin, flush=True)
            return process.stdout.readline()

        left = fetch("counted", 10_000)
        events = 10_000 - int(left.removeprefix("events left:"))
        assert process.stdout.readline() == "0\n"
        expected = contents("whole")
        assert contents("counted") == expected
        for i, at in enumerate(np.linspace(1, events, 8).astype(int).tolist()):
            name = f"killed-{i}"
            assert fetch(name, at) == "9\n"
            fetched(whole, 3, 9, tmp_path / name)
            assert contents(name) == expected


def test_other_half_finished_work_is_left_alone(whole: BatchViewer, tmp_path: Path) -> None:
    for name in ("job.json", "shard.bin"):
        work = tmp_path / name / ".unfinished"
        work.mkdir(parents=True)
        (work / name).write_bytes(b"{}")
        (work / "x.7.partial").touch()
        with pytest.raises(PileToolsError, match="choose another directory"):
            fetch_steps(whole, 3, 9, tmp_path / name)
        assert sorted(path.name for path in work.iterdir()) == sorted([name, "x.7.partial"])


def test_an_overlay_of_fetched_steps_has_no_documents(whole: BatchViewer, tmp_path: Path) -> None:
    fetched(whole, 3, 9, tmp_path / "steps")
    (tmp_path / "table.tsv").write_text("a\tb\n")
    intervene(tmp_path / "steps", tmp_path / "o", Intervention(swap=str(tmp_path / "table.tsv")), from_step=4)
    changed = BatchViewer.open(tmp_path / "o")
    assert not changed.knows_documents
    assert np.array_equal(changed.batch(3), whole.batch(3))
    with pytest.raises(ParameterError, match="boundaries of documents are not known"):
        intervene(tmp_path / "steps", tmp_path / "p", Intervention(drop=["1"]), from_step=4)
