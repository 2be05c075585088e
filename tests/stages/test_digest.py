"""Digests: the same for the same stream however it is stored, resumable, and a proof."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xxhash

from pile_tools import BatchViewer
from pile_tools.checks.digests import has_digests, verify_digests, verify_directory
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.formats.index_maps import SEQUENTIAL
from pile_tools.lookups import digests
from pile_tools.stages.digest import digest
from pile_tools.stages.order.blend import make_blend
from pile_tools.stages.order.order import make_order
from pile_tools.stages.recut import recut
from pile_tools.storage.locks import DirectoryLock
from pile_tools.stream.stream import Stream
from tests.lookups.conftest import MakeStream, directory_of
from tests.token_data import GOLDEN, write_dataset

DOCUMENTS = [[number % 11] * (number % 7 + 1) for number in range(60)]


def test_the_digests_of_all_steps(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=40)
    summary = digest(viewer)
    stored = np.load(summary.path)
    assert (stored.dtype, stored.shape) == (np.uint8, (20, 16))
    for step in range(20):
        assert stored[step].tobytes() == xxhash.xxh3_128_digest(viewer.batch(step).tobytes())
        assert stored[step].tobytes().hex() == viewer.step_digest(step)
    assert summary.record.root == hashlib.sha256(stored.tobytes()).hexdigest()
    directory = directory_of(viewer)
    assert json.loads((directory / "order.json").read_text())["digests"] == summary.record.root
    assert {path.name for path in directory.glob("*digest*")} == {"digests.npy", "digests.json"}
    # The record has changed, and the order has not.
    again = BatchViewer.open(directory)
    assert again.identity == viewer.identity
    assert digest(again).existed
    assert make_order(directory, seq_length=5, batch_size=2, num_samples=40).existed
    assert verify_digests(again.stream).startswith("steps 0:20 as their digests have them")
    assert verify_directory(directory, (3, 5)).startswith(f"{viewer.order.label}: steps 3:5")


def test_the_same_stream_however_it_is_stored(tmp_path: Path, make_stream: MakeStream) -> None:
    roots = set()
    for form in ("neox", "shards", "pread"):
        viewer = make_stream(DOCUMENTS, num_samples=40, form=form)
        roots.add(digest(viewer).record.root)
    samples = [row for step in range(viewer.steps) for row in viewer.batch(step)]
    write_dataset(tmp_path / "shuffled", samples)
    shuffled = BatchViewer.open(tmp_path / "shuffled", order=SEQUENTIAL, batch_size=2)
    summary = digest(shuffled)
    assert summary.path.name == "sequential_digests.npy"
    roots.add(summary.record.root)
    assert verify_directory(tmp_path / "shuffled").startswith("sequential: steps 0:20")
    assert len(roots) == 1


def test_maps_that_gpt_neox_saved(tmp_path: Path) -> None:
    """GPT-NeoX's maps over its own data, and the order that we make of the same data."""
    shutil.copytree(GOLDEN / "neox" / "small_u16", tmp_path / "theirs")
    label = "document_train_0_indexmap_900ns_128sl_1234s"
    theirs = digest(BatchViewer.open(tmp_path / "theirs", order=label, batch_size=30))
    assert theirs.path.name == f"{label}_digests.npy"
    shutil.copytree(GOLDEN / "neox" / "small_u16", tmp_path / "ours")
    for path in (tmp_path / "ours").glob("*.npy"):
        path.unlink()
    make_order(tmp_path / "ours", seq_length=128, batch_size=30, num_samples=900)
    ours = digest(BatchViewer.open(tmp_path / "ours"))
    assert ours.record.root == theirs.record.root
    assert verify_directory(tmp_path / "theirs").startswith(f"{label}: steps 0:30")


def test_an_interrupted_run_goes_on(make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_CHUNK", 3)
    viewer = make_stream(DOCUMENTS, num_samples=40)
    expected = digest(make_stream(DOCUMENTS, num_samples=40)).record
    read = []
    batch = Stream.batch

    def interrupted(self: Stream, step: int) -> object:
        if step == 14 and len(read) < 20:
            raise KeyboardInterrupt
        read.append(step)
        return batch(self, step)

    monkeypatch.setattr(Stream, "batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        digest(viewer)
    partial = directory_of(viewer) / "digests.partial"
    with partial.open("ab") as file:
        file.write(b"half")  # a step whose digest was cut
    assert not has_digests(directory_of(viewer))
    before = len(read)
    read += [-1] * 20
    assert digest(viewer).record.root == expected.root
    assert 0 not in read[before:]
    assert 19 in read[before:]
    assert not partial.exists()


def test_one_run_at_a_time(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS)
    with (
        DirectoryLock(directory_of(viewer)),
        pytest.raises(PileToolsError, match="another run is at work in it"),
    ):
        digest(viewer)
    assert not digest(viewer).existed


def test_another_batch_size_or_place(tmp_path: Path, make_stream: MakeStream) -> None:
    directory = directory_of(make_stream(DOCUMENTS))
    viewer = BatchViewer.open(directory, batch_size=3)
    with pytest.raises(ParameterError, match="its steps have 2 samples; digests of steps of 3 go elsewhere"):
        digest(viewer)
    assert digest(viewer, tmp_path).path == tmp_path / "digests.npy"
    assert "digests" not in json.loads((directory / "order.json").read_text())
    assert verify_digests(viewer.stream, directory=tmp_path).startswith("steps 0:4")
    with pytest.raises(DataError, match=r"another stream \(batch_size 3, not 2, steps 4, not 6\)"):
        digest(BatchViewer.open(directory), tmp_path)
    with pytest.raises(ParameterError, match="digests of steps of 3 samples; open it at that batch size"):
        verify_digests(BatchViewer.open(directory).stream, directory=tmp_path)
    other = BatchViewer.open(directory_of(make_stream(DOCUMENTS[::-1])), batch_size=3)
    with pytest.raises(DataError, match="step 0 is the first that differs"):
        verify_digests(other.stream, directory=tmp_path)
    with pytest.raises(ParameterError, match="not one whole batch of 99"):
        digest(BatchViewer.open(directory, batch_size=99), tmp_path / "other")
    with pytest.raises(OutOfRangeError, match="no steps 0:9"):
        verify_digests(viewer.stream, (0, 9), directory=tmp_path)


def test_a_file_where_digests_should_go(tmp_path: Path, make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS)
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below", Path("/dev/null")):
        with pytest.raises(ParameterError, match=f"{place}: no directory; name one to write .* with -o"):
            digest(viewer, place)


def test_several_orders_have_digests_of_their_own(make_stream: MakeStream) -> None:
    directory = directory_of(make_stream(DOCUMENTS))
    make_order(directory, seq_length=3, batch_size=4, num_samples=9, name="other")
    for name in ("train_0", "other"):
        digest(BatchViewer.open(directory, order=name))
    assert len(list(directory.glob("*digests.npy"))) == 2
    assert verify_directory(directory).count("as their digests have them") == 2
    assert BatchViewer.open(directory, order="other").order.record is not None


def test_a_blend(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS, form="blend")
    root = digest(viewer).record.root
    directory = directory_of(viewer)
    places = [directory.parent / name for name in "01"]
    record = make_blend(places, ["0.7", "0.3"], directory, seq_length=5, batch_size=2, num_samples=12)
    assert record.digests == root
    assert verify_directory(directory)


def test_digests_under_another_name_are_found_by_their_record(
    tmp_path: Path, make_stream: MakeStream
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(directory_of(make_stream(DOCUMENTS, num_samples=40)), bare)
    (bare / "order.json").unlink()
    viewer = BatchViewer.open(bare, batch_size=2)
    digest(viewer, tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").iterdir():
        shutil.copy(path, bare)
    assert "steps 0:20 as" in verify_directory(bare)
    assert digest(viewer).existed
    recut(bare, tmp_path / "cut", shard_bytes=100)
    assert "steps 0:20 as" in verify_directory(tmp_path / "cut")
