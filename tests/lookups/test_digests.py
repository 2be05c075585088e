"""Digests: the same for the same stream however it is stored, resumable, and a proof."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xxhash

from pile_tools import BatchViewer
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.formats.locks import DirectoryLock
from pile_tools.formats.order_files import SEQUENTIAL
from pile_tools.lookups import digests
from pile_tools.stages.blend import make_blend
from pile_tools.stages.order import make_order
from pile_tools.stages.recut import recut
from pile_tools.viewer.digested import has_digests, verify_directory, verify_stream
from pile_tools.viewer.fetch import fetch_steps
from tests.lookups.conftest import MakeStream
from tests.token_data import GOLDEN, write_dataset

DOCUMENTS = [[number % 11] * (number % 7 + 1) for number in range(60)]


def directory_of(viewer: BatchViewer) -> Path:
    return Path(viewer.order.store.name)


def test_the_digests_of_all_steps(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=40)
    summary = viewer.make_digests()
    stored = np.load(summary.path)
    assert (stored.dtype, stored.shape) == (np.uint8, (20, 16))
    for step in range(20):
        assert stored[step].tobytes() == xxhash.xxh3_128_digest(viewer.batch(step).tobytes())
        assert stored[step].tobytes().hex() == viewer.digest(step)
    assert summary.record.root == hashlib.sha256(stored.tobytes()).hexdigest()
    directory = directory_of(viewer)
    assert json.loads((directory / "order.json").read_text())["digests"] == summary.record.root
    assert {path.name for path in directory.glob("*digest*")} == {"digests.npy", "digests.json"}
    # The record has changed, and the order has not.
    again = BatchViewer.open(directory)
    assert again.identity == viewer.identity
    assert again.make_digests().existed
    assert make_order(directory, seq_length=5, batch_size=2, num_samples=40).existed
    assert again.verify_digests().startswith("steps 0:20 as their digests have them")
    assert verify_directory(directory, (3, 5)).startswith(f"{viewer.order.label}: steps 3:5")


def test_the_same_stream_however_it_is_stored(tmp_path: Path, make_stream: MakeStream) -> None:
    roots = set()
    for form in ("neox", "shards", "pread"):
        viewer = make_stream(DOCUMENTS, num_samples=40, form=form)
        roots.add(viewer.make_digests().record.root)
    samples = [row for step in range(viewer.steps) for row in viewer.batch(step)]
    write_dataset(tmp_path / "shuffled", samples)
    shuffled = BatchViewer.open(tmp_path / "shuffled", order=SEQUENTIAL, batch_size=2)
    summary = shuffled.make_digests()
    assert summary.path.name == "sequential_digests.npy"
    roots.add(summary.record.root)
    assert verify_directory(tmp_path / "shuffled").startswith("sequential: steps 0:20")
    assert len(roots) == 1


def test_maps_that_gpt_neox_saved(tmp_path: Path) -> None:
    """GPT-NeoX's maps over its own data, and the order that we make of the same data."""
    shutil.copytree(GOLDEN / "neox" / "small_u16", tmp_path / "theirs")
    label = "document_train_0_indexmap_900ns_128sl_1234s"
    theirs = BatchViewer.open(tmp_path / "theirs", order=label, batch_size=30).make_digests()
    assert theirs.path.name == f"{label}_digests.npy"
    shutil.copytree(GOLDEN / "neox" / "small_u16", tmp_path / "ours")
    for path in (tmp_path / "ours").glob("*.npy"):
        path.unlink()
    make_order(tmp_path / "ours", seq_length=128, batch_size=30, num_samples=900)
    ours = BatchViewer.open(tmp_path / "ours").make_digests()
    assert ours.record.root == theirs.record.root
    assert verify_directory(tmp_path / "theirs").startswith(f"{label}: steps 0:30")


def test_the_first_step_that_differs_is_named(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=40)
    viewer.make_digests()
    document = viewer.trace(7, 1).to_pylist()[0]["document"]
    # It is the document's first token that is changed.
    steps = [piece["step"] for piece in viewer.occurrences(document).to_pylist() if piece["offset"] == 0]
    path = directory_of(viewer) / "document.bin"
    content = bytearray(path.read_bytes())
    content[2 * sum(map(len, DOCUMENTS[:document]))] ^= 1
    path.write_bytes(content)
    changed = BatchViewer(viewer._stream, batch_size=2)  # its identity is looked up no more
    changed._identity = viewer.identity
    first = min(steps)
    with pytest.raises(DataError, match=rf"step {first} is the first that differs from its digest \("):
        changed.verify_digests()
    later = [step for step in range(first + 1, 20) if step in steps]
    for start in range(first + 1, 20):
        expected = next((step for step in later if step >= start), None)
        if expected is None:
            assert changed.verify_digests((start, None))
            continue
        with pytest.raises(DataError, match=rf"step {expected} is the first"):
            changed.verify_digests((start, None))
    # Opened anew it is another dataset, and says so.
    with pytest.raises(DataError, match="of another token dataset"):
        BatchViewer.open(directory_of(viewer))


def test_an_interrupted_run_goes_on(make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_CHUNK", 3)
    viewer = make_stream(DOCUMENTS, num_samples=40)
    expected = make_stream(DOCUMENTS, num_samples=40).make_digests().record
    read = []
    batch = BatchViewer.batch

    def interrupted(self: BatchViewer, step: int) -> object:
        if step == 14 and len(read) < 20:
            raise KeyboardInterrupt
        read.append(step)
        return batch(self, step)

    monkeypatch.setattr(BatchViewer, "batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        viewer.make_digests()
    partial = directory_of(viewer) / "digests.partial"
    with partial.open("ab") as file:
        file.write(b"half")  # a step whose digest was cut
    assert not has_digests(directory_of(viewer))
    before = len(read)
    read += [-1] * 20
    assert viewer.make_digests().record.root == expected.root
    assert 0 not in read[before:]
    assert 19 in read[before:]
    assert not partial.exists()


def test_one_run_at_a_time(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS)
    with (
        DirectoryLock(directory_of(viewer)),
        pytest.raises(PileToolsError, match="another run is at work in it"),
    ):
        viewer.make_digests()
    assert not viewer.make_digests().existed


def test_another_batch_size_or_place(tmp_path: Path, make_stream: MakeStream) -> None:
    directory = directory_of(make_stream(DOCUMENTS))
    viewer = BatchViewer.open(directory, batch_size=3)
    with pytest.raises(ParameterError, match="its steps have 2 samples; digests of steps of 3 go elsewhere"):
        viewer.make_digests()
    assert viewer.make_digests(tmp_path).path == tmp_path / "digests.npy"
    assert "digests" not in json.loads((directory / "order.json").read_text())
    assert viewer.verify_digests(directory=tmp_path).startswith("steps 0:4")
    with pytest.raises(DataError, match=r"another stream \(batch_size 3, not 2, steps 4, not 6\)"):
        BatchViewer.open(directory).make_digests(tmp_path)
    with pytest.raises(ParameterError, match="digests of steps of 3 samples; open it at that batch size"):
        BatchViewer.open(directory).verify_digests(directory=tmp_path)
    other = BatchViewer.open(directory_of(make_stream(DOCUMENTS[::-1])), batch_size=3)
    with pytest.raises(DataError, match="step 0 is the first that differs"):
        other.verify_digests(directory=tmp_path)
    with pytest.raises(ParameterError, match="not one whole batch of 99"):
        BatchViewer.open(directory, batch_size=99).make_digests(tmp_path / "other")
    with pytest.raises(OutOfRangeError, match="no steps 0:9"):
        viewer.verify_digests((0, 9), directory=tmp_path)


def test_digests_of_another_storage_of_the_stream(tmp_path: Path, make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=40)
    place = tmp_path / "digests"
    viewer.make_digests(place)
    assert "storage" not in viewer.verify_digests(directory=place)
    shuffled = write_dataset(tmp_path / "shuffled", list(np.concatenate(list(viewer.batches(0, 20))))).parent
    fetch_steps(viewer, 3, 6, tmp_path / "fetched")
    several = {
        "0:20": BatchViewer.open(shuffled, order=SEQUENTIAL, batch_size=2),
        "3:6": BatchViewer.open(tmp_path / "fetched"),
    }
    for steps, other in several.items():
        found = other.verify_digests(directory=place)
        assert found.startswith(f"steps {steps} as their digests have them, root ")
        assert found.endswith("…, made of another storage of the stream")
        assert other.identity != viewer.identity
    assert several["3:6"].verify_digests((4, 5), directory=place).startswith("steps 4:5 as")
    with pytest.raises(OutOfRangeError, match=r"no steps 2:5"):
        several["3:6"].verify_digests((2, 5), directory=place)
    # Digests of fewer steps than the stream has.
    several["3:6"].make_digests(tmp_path / "few")
    with pytest.raises(OutOfRangeError, match=r"few: digests of steps 3:6, and not of all of 0:20;"):
        viewer.verify_digests(directory=tmp_path / "few")
    assert "another storage" in viewer.verify_digests((3, 6), directory=tmp_path / "few")
    # A row that is another, and streams whose steps have other bytes.
    samples = list(np.concatenate(list(viewer.batches(0, 20))))
    samples[9] = samples[9][::-1]
    changed = write_dataset(tmp_path / "changed", samples).parent
    with pytest.raises(DataError, match="step 4 is the first that differs"):
        BatchViewer.open(changed, order=SEQUENTIAL, batch_size=2).verify_digests(directory=place)
    for shape in ({"dtype": "<i4"}, {"seq_length": 4}):
        with pytest.raises(DataError, match=r"another stream \(seq_length 5 and dtype uint16, not"):
            make_stream(DOCUMENTS, num_samples=40, **shape).verify_digests(directory=place)
    # Those that lie with the order must be of this stream, however it may be stored elsewhere.
    digests_of_it = directory_of(several["0:20"])
    for path in place.iterdir():
        shutil.copy(path, digests_of_it / f"{SEQUENTIAL}_{path.name}")
    with pytest.raises(DataError, match=r"shuffled: digests of another stream \(label"):
        several["0:20"].verify_digests()


def test_a_file_where_digests_should_go(tmp_path: Path, make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS)
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below", Path("/dev/null")):
        with pytest.raises(ParameterError, match=f"{place}: no directory; name one to write .* with -o"):
            viewer.make_digests(place)


def test_several_orders_have_digests_of_their_own(make_stream: MakeStream) -> None:
    directory = directory_of(make_stream(DOCUMENTS))
    make_order(directory, seq_length=3, batch_size=4, num_samples=9, name="other")
    for name in ("train_0", "other"):
        BatchViewer.open(directory, order=name).make_digests()
    assert len(list(directory.glob("*digests.npy"))) == 2
    assert verify_directory(directory).count("as their digests have them") == 2
    assert BatchViewer.open(directory, order="other").order.record is not None


def test_a_blend(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS, form="blend")
    root = viewer.make_digests().record.root
    directory = directory_of(viewer)
    places = [directory.parent / name for name in "01"]
    record = make_blend(places, ["0.7", "0.3"], directory, seq_length=5, batch_size=2, num_samples=12)
    assert record.digests == root
    assert verify_directory(directory)


def test_digests_that_are_missing_or_damaged(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS)
    with pytest.raises(PileToolsError, match="no digests; make them with"):
        viewer.verify_digests()
    directory = directory_of(viewer)
    with pytest.raises(PileToolsError, match="no digests; make them with"):
        verify_directory(directory)
    path = viewer.make_digests().path
    viewer = BatchViewer.open(directory)
    stored = np.load(path)
    stored[0, 0] ^= 1
    np.save(path, stored)
    with pytest.raises(DataError, match=r"not the digests whose root is in digests.json"):
        viewer.verify_digests()
    np.save(path, stored[:-1])
    with pytest.raises(DataError, match=r"not the digests that digests.json describes"):
        viewer.verify_digests()
    path.unlink()
    with pytest.raises(DataError, match=r"digests.npy: missing"):
        viewer.verify_digests()
    record = path.with_suffix(".json")
    for content in (b"{}", b"[]", b"x", record.read_bytes().replace(b'"steps": 6', b'"steps": 0')):
        record.write_bytes(content)
        with pytest.raises(DataError, match=r"digests.json: (not a record|not digests|edited by hand)"):
            viewer.verify_digests()
    record.unlink()
    assert has_digests(directory)
    with pytest.raises(DataError, match="its digests are missing"):
        verify_directory(directory)


def test_digests_named_by_their_label(tmp_path: Path, make_stream: MakeStream) -> None:
    """Maps without a record, and of a second order, have digests under the order's label."""
    bare = tmp_path / "bare"
    shutil.copytree(directory_of(make_stream(DOCUMENTS, num_samples=40)), bare)
    (bare / "order.json").unlink()
    viewer = BatchViewer.open(bare, batch_size=2)
    # Naming their home is as naming none.
    assert viewer.make_digests(bare).path.name == f"{viewer.order.label}_digests.npy"
    assert not (bare / "digests.json").exists()
    fetch_steps(viewer, 3, 6, tmp_path / "fetched")
    for place in (bare, tmp_path / "fetched"):
        assert "as their digests have them" in verify_stream(str(place), digests=bare)
    # Digests of several orders: those of the stream's own, else the ones of the first order.
    several = directory_of(make_stream(DOCUMENTS, num_samples=40))
    BatchViewer.open(several).make_digests()
    other = make_order(several, seq_length=3, batch_size=4, num_samples=9, name="other").record.label
    BatchViewer.open(several, order=other).make_digests()
    assert "steps 0:2 as" in verify_stream(str(several), order=other, digests=several)
    assert "steps 3:6 as" in verify_stream(str(tmp_path / "fetched"), digests=several)
    # None of the stream, and none that is the first.
    (tmp_path / "two").mkdir()
    for name in ("digests.npy", "digests.json"):
        shutil.copy(several / f"{other}_{name}", tmp_path / "two" / f"a_{name}")
        shutil.copy(several / name, tmp_path / "two" / f"b_{name}")
    write_dataset(tmp_path / "third", list(np.concatenate(list(viewer.batches(0, 20)))))
    with pytest.raises(ParameterError, match=rf"digests of several orders \({other}, .*none of sequential"):
        verify_stream(str(tmp_path / "third"), order=SEQUENTIAL, digests=tmp_path / "two")


def test_digests_under_another_name_are_found_by_their_record(
    tmp_path: Path, make_stream: MakeStream
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(directory_of(make_stream(DOCUMENTS, num_samples=40)), bare)
    (bare / "order.json").unlink()
    viewer = BatchViewer.open(bare, batch_size=2)
    viewer.make_digests(tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").iterdir():
        shutil.copy(path, bare)
    assert "steps 0:20 as" in verify_directory(bare)
    assert viewer.make_digests().existed
    recut(bare, tmp_path / "cut", shard_bytes=100)
    assert "steps 0:20 as" in verify_directory(tmp_path / "cut")


def test_an_order_with_a_directory_of_its_own(tmp_path: Path, make_stream: MakeStream) -> None:
    data = tmp_path / "data"
    shutil.copytree(directory_of(make_stream(DOCUMENTS)), data)
    for path in data.glob("*order.json"):
        path.unlink()
    for path in data.glob("*.npy"):
        path.unlink()
    place = tmp_path / "order"
    make_order(data, output=place, seq_length=5, batch_size=2, num_samples=40)
    with pytest.raises(PileToolsError, match=f"{place}: no digests; make them with"):
        verify_directory(data, order=str(place))
    viewer = BatchViewer.open(data, order=place)
    root = viewer.make_digests().record.root
    label = viewer.order.label
    for steps in (None, (0, 20)):
        assert verify_directory(data, steps, str(place)).startswith(f"{label}: steps 0:20 as")
    # Where the order lies alone there are no tokens to compare with.
    said = f"{label}: digests of steps 0:20, root {root[:12]}… (its dataset is not here)"
    assert verify_directory(place) == said
    with pytest.raises(PileToolsError, match=r"dataset is not here; name that .* with --order"):
        verify_directory(place, (0, 2))
    content = bytearray((data / "document.bin").read_bytes())
    content[0] ^= 1
    (data / "document.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"step \d+ is the first that differs"):
        verify_directory(data, order=str(place))
    record = viewer.record
    assert record is not None
    replace(record, digests="0" * 64).write(place / "order.json")
    with pytest.raises(DataError, match="digests other than those in the record of the order"):
        verify_directory(place)
    (place / "digests.json").unlink()
    with pytest.raises(DataError, match="its digests are missing"):
        verify_directory(place)


def test_the_step_of_a_changed_token_is_named_with_digests_elsewhere(
    tmp_path: Path, make_stream: MakeStream
) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=40)
    viewer.make_digests(tmp_path / "digests")
    fetched = tmp_path / "fetched"
    fetch_steps(viewer, 3, 6, fetched)
    content = bytearray((fetched / "document.bin").read_bytes())
    content[2 * (3 * 6 + 1)] ^= 1  # of the second row of step 4
    (fetched / "document.bin").write_bytes(content)
    message = "step 4 is the first that differs from its digest"
    for steps in (None, (3, 6), (4, 5)):
        with pytest.raises(DataError, match=message):
            verify_stream(str(fetched), steps, digests=tmp_path / "digests")
    # The step that was not changed is right, and the dataset is another nevertheless.
    with pytest.raises(DataError, match=r"another token dataset .*; fetch the steps again"):
        verify_stream(str(fetched), (3, 4), digests=tmp_path / "digests")
    # Steps that have no digests.
    BatchViewer.open(directory_of(viewer), batch_size=10).make_digests(tmp_path / "tens")
    with pytest.raises(DataError, match="another token dataset"):
        verify_stream(str(fetched), digests=tmp_path / "tens")
