"""Fetched steps: the same tokens under the same numbers, offline, whatever interrupted the fetching."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import OutOfRangeError, PileToolsError, UnfinishedError
from pile_tools.stages.fetch.fetch import fetch_steps
from pile_tools.stages.order.order import make_order
from pile_tools.storage.manifest import Manifest
from tests.token_data import SIZES, random_documents, save_tokenizer, write_dataset


@pytest.fixture
def viewer(tmp_path: Path) -> BatchViewer:
    directory = write_dataset(tmp_path / "data", random_documents(0, SIZES)).parent
    make_order(directory, seq_length=8, batch_size=4, steps=10)
    return BatchViewer.open(directory)


def fetch(viewer: BatchViewer, start: int, stop: int, output: Path) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []

    def progress(label: str, done: int, total: int) -> None:
        if label == "fetch":
            seen.append((done, total))

    fetch_steps(viewer, start, stop, output, progress)
    return seen


def test_fetched_steps_keep_their_numbers(viewer: BatchViewer, tmp_path: Path) -> None:
    assert fetch(viewer, 3, 6, tmp_path / "out")[-1] == (3, 3)
    small = BatchViewer.open(tmp_path / "out")
    assert (small.first_step, small.steps, small.batch_size, small.dtype) == (3, 6, 4, viewer.dtype)
    for step in range(3, 6):
        np.testing.assert_array_equal(small.batch(step), viewer.batch(step))
        assert small.step_digest(step) == viewer.step_digest(step)
    for step in (2, 6):
        with pytest.raises(
            OutOfRangeError, match=f"no step {step} at batch size 4; the last is 5 and the first 3"
        ):
            small.batch(step)
    # Samples 12 to 23 of the stream: whole steps of 6 are 2 and 3, of 5 only 3.
    for batch_size, steps in [(6, (2, 4)), (5, (3, 4)), (12, (1, 2)), (13, (1, 1))]:
        other = BatchViewer.open(tmp_path / "out", batch_size=batch_size)
        assert (other.first_step, other.steps) == steps
        whole = BatchViewer.open(viewer.dataset.name, batch_size=batch_size)
        for step in range(*steps):
            np.testing.assert_array_equal(other.batch(step), whole.batch(step))
    assert small.trace(4, 0) == viewer.trace(4, 0)
    # A part of a part.
    fetch(small, 4, 5, tmp_path / "smaller")
    np.testing.assert_array_equal(BatchViewer.open(tmp_path / "smaller").batch(4), viewer.batch(4))
    manifest = Manifest.read(tmp_path / "out")
    assert manifest.parameters["steps"] == "3:6"
    data, origins = ["document.bin", "document.idx", "order.json"], ["piece_starts.npy", "pieces.npy"]
    names = [entry.name for entry in manifest.outputs]
    assert names == [*data, "origins.json", *origins, "documents-0.parquet"]


def test_a_tokenizer_comes_along(viewer: BatchViewer, tmp_path: Path) -> None:
    save_tokenizer(viewer.dataset.directory / "tokenizer.json", 60_000)
    fetch(viewer, 3, 6, tmp_path / "out")
    assert BatchViewer.open(tmp_path / "out").text(4, 1) == viewer.text(4, 1)
    (tmp_path / "bad.json").write_text("{}")
    named = BatchViewer.open(viewer.dataset.name, tokenizer=tmp_path / "bad.json")
    fetched = fetch_steps(named, 0, 1, tmp_path / "without")
    assert "not a usable tokenizer" in str(fetched.no_tokenizer)
    assert BatchViewer.open(tmp_path / "without").batch(0).shape == (4, 9)


def test_interrupted_fetching_goes_on(
    viewer: BatchViewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(viewer, 0, 8, tmp_path / "whole")
    read: list[int] = []
    batch = BatchViewer.batch

    def failing(self: BatchViewer, step: int) -> Any:
        read.append(step)
        if len(read) == 4:
            raise KeyboardInterrupt
        return batch(self, step)

    monkeypatch.setattr(BatchViewer, "batch", failing)
    with pytest.raises(KeyboardInterrupt):
        fetch(viewer, 0, 8, tmp_path / "out")
    with pytest.raises(UnfinishedError):
        BatchViewer.open(tmp_path / "out")
    with pytest.raises(PileToolsError, match="begun with other steps or another stream"):
        fetch(viewer, 0, 9, tmp_path / "out")
    done = {int(path.stem.removeprefix("step-")) for path in (tmp_path / "out" / ".unfinished").glob("*.bin")}
    assert 3 <= len(done) < 8
    read[:] = [0] * 9
    seen = fetch(viewer, 0, 8, tmp_path / "out")
    assert sorted(read[9:]) == sorted(set(range(8)) - done)
    assert seen[0] == (len(done), 8)
    contents = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("whole", "out")
    ]
    assert contents[0] == contents[1]


def test_killed_in_its_last_moment_it_is_finished(viewer: BatchViewer, tmp_path: Path) -> None:
    fetch(viewer, 0, 2, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    work = tmp_path / "out" / ".unfinished"
    work.mkdir()
    (work / "step-1.bin").touch()  # what is left where the removal was cut short
    with pytest.raises(UnfinishedError, match="run the command that makes it again"):
        BatchViewer.open(tmp_path / "out")
    assert fetch(viewer, 0, 2, tmp_path / "out") == []
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_finished_directory_is_left_and_any_other_refused(viewer: BatchViewer, tmp_path: Path) -> None:
    fetch(viewer, 0, 2, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert fetch(viewer, 0, 2, tmp_path / "out") == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    with pytest.raises(PileToolsError, match="holds something else"):
        fetch(viewer, 0, 3, tmp_path / "out")
    with pytest.raises(PileToolsError, match="holds something else"):
        fetch(viewer, 0, 3, viewer.dataset.directory)
    with pytest.raises(OutOfRangeError, match="no step 10"):
        fetch(viewer, 5, 11, tmp_path / "more")
    assert not (tmp_path / "more").exists()
    shutil.rmtree(tmp_path / "out")
