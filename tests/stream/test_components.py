"""Maps and sequential orders as components of a stream: by mmap and by pread, whole and damaged."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import DataError, ParameterError
from pile_tools.stages.order.order import make_order
from pile_tools.storage.store import Io
from pile_tools.stream import components
from tests.stream.conftest import everything
from tests.token_data import GOLDEN, samples, write_dataset

MEGATRON = json.loads((GOLDEN / "megatron_core" / "expect.json").read_text())["orders"]


@pytest.mark.parametrize("case", MEGATRON, ids=lambda case: f"{case['seq_length']}-{case['num_samples']}")
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_sequences_are_those_of_megatron_core(
    case: dict[str, Any], recorded: bool, io: Io, tmp_path: Path
) -> None:
    data = shutil.copytree(GOLDEN / "megatron_core", tmp_path / "data")
    summary = make_order(
        data,
        recipe="megatron-core",
        seq_length=case["seq_length"],
        batch_size=1,
        num_samples=case["num_samples"],
        seed=case["seed"],
    )
    assert summary.samples_in_order == case["len"]
    viewer = BatchViewer.open(data, io=io)
    if not recorded:
        # As Megatron-Core saves them, in the place where it does.
        cache = data / "document" / "cache" / "GPTDataset_indices"
        cache.mkdir(parents=True)
        for entry in summary.record.files:
            array = entry.name.rpartition("_idx")[0].rpartition("_")[2].replace("doc", "document")
            (data / entry.name).rename(cache / f"0a-GPTDataset-train-{array}_index.npy")
        (data / "order.json").unlink()
        viewer = BatchViewer.open(data, batch_size=1, io=io)
        assert viewer.steps == case["len"]
    assert viewer.seq_length == case["seq_length"]
    rows = b"".join(viewer.batch(step).tobytes() for step in range(viewer.steps))
    size = 2 * (case["seq_length"] + 1)
    assert hashlib.sha256(rows[: case["sequences"] * size]).hexdigest() == case["sequences_sha256"]
    if not recorded:
        assert hashlib.sha256(rows).hexdigest() == case["all_sequences_sha256"]


def test_pread_says_the_same_as_mmap(data: Path) -> None:
    mapped, taken = BatchViewer.open(data), BatchViewer.open(data, io="pread")
    assert everything(mapped) == everything(taken)
    assert mapped.identity == taken.identity
    with pytest.raises(ParameterError, match="io 'read'"):
        BatchViewer.open(data, io="read")  # type: ignore[arg-type]


@pytest.mark.parametrize("file", ["*.bin", "document.idx", "*_shuffle_idx.npy", "*_doc_idx.npy"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_file_that_shrinks_is_an_error_with_pread(data: Path, file: str, elsewhere: bool) -> None:
    place = data
    if elsewhere:
        place = data.parent / "orders"
        place.mkdir()
        for path in [*data.glob("*.npy"), data / "order.json"]:
            shutil.move(path, place)
    viewer = BatchViewer.open(data, order=place if elsewhere else None, io="pread")
    viewer.batch(0)
    for path in [*data.glob(file), *place.glob(file)]:
        os.truncate(path, 5)
    with pytest.raises(DataError, match=r"ends before byte \d+, but had \d+ when it was opened"):
        everything(viewer)


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("shard_bytes", [None, 100])
def test_sequential_orders_read_sequence_after_sequence(
    tmp_path: Path, io: Io, shard_bytes: int | None
) -> None:
    documents = samples(24)
    directory = write_dataset(tmp_path / "data", documents, shard_bytes=shard_bytes).parent
    bare = BatchViewer.open(directory, order="sequential", batch_size=5, io=io)
    assert (bare.seq_length, bare.steps) == (8, 4)
    make_order(directory, recipe="sequential", seq_length=8, batch_size=4, steps=5)
    viewer = BatchViewer.open(directory, io=io)
    assert viewer.steps == 5
    assert not viewer.knows_documents
    for step in range(5):
        assert viewer.batch(step).tolist() == [document.tolist() for document in documents[4 * step :][:4]]
    assert viewer.rank_batch(1, rank=1, world_size=2).tolist() == viewer.batch(1)[2:].tolist()
    (piece,) = viewer.trace(2, 1).to_pylist()
    assert (piece["document"], piece["offset"], piece["n_tokens"]) == (None, None, 9)
    (view,) = viewer.pieces(2, 1)
    assert (view.document_tokens, view.last, view.is_begin, view.is_end) == (None, None, False, False)


def test_damaged_maps_are_met_by_both_ways_of_reading(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "WHOLE_CHECK", 0)
    generator = np.random.RandomState(0)
    for array in ("doc_idx", "sample_idx", "shuffle_idx"):
        (path,) = data.glob(f"*_{array}.npy")
        whole = np.load(path)
        for _ in range(25):
            wrong = whole.copy()
            flat = wrong.reshape(-1)
            flat[generator.randint(len(flat))] = generator.choice([0, 1, 23, 24, 70, 2**31 - 1])
            np.save(path, wrong)
            outcomes = []
            for io in ("mmap", "pread"):
                viewer = BatchViewer.open(data, io=io)
                found: list[Any] = []
                for step in range(10):
                    try:
                        found.append(viewer.batch(step).tolist())
                    except DataError:
                        found.append("error")
                outcomes.append(found)
            assert outcomes[0] == outcomes[1]
        np.save(path, whole)
