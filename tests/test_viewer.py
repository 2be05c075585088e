"""BatchViewer: what GPT-NeoX would have shown to the model, from whatever lies on disk."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from pile_tools import BatchViewer
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.stages.order.order import make_order
from tests.token_data import (
    GOLDEN,
    SIZES,
    random_documents,
    save_tokenizer,
    write_data,
    write_dataset,
    write_ordered,
)

CASES = [
    (name, case)
    for name in ("small_u16", "small_i32")
    for case in json.loads((GOLDEN / "neox" / name / "expect.json").read_text())["orders"]
]
IDS = [f"{name}-{case['seq_length']}-{case['seed']}" for name, case in CASES]


def sequences_sha256(viewer: BatchViewer, number: int) -> str:
    rows = [row for step in range(viewer.steps) for row in viewer.batch(step)]
    return hashlib.sha256(b"".join(row.tobytes() for row in rows[:number])).hexdigest()


@pytest.mark.parametrize(("name", "case"), CASES, ids=IDS)
def test_sequences_are_those_of_gpt_neox(name: str, case: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "neox" / name, tmp_path / "data")
    for path in (tmp_path / "data").glob("*.npy"):
        path.unlink()
    make_order(
        tmp_path / "data",
        seq_length=case["seq_length"],
        batch_size=10,
        num_samples=case["num_samples"],
        seed=case["seed"],
    )
    viewer = BatchViewer.open(tmp_path / "data")
    assert viewer.steps == case["num_samples"] // 10
    assert sequences_sha256(viewer, case["sequences"]) == case["sequences_sha256"]
    # The same from shards that samples and tokens straddle.
    content = (tmp_path / "data" / "document.bin").read_bytes()
    (tmp_path / "data" / "document.bin").unlink()
    write_data(tmp_path / "data", "document", content, 9973)
    sharded = BatchViewer.open(tmp_path / "data")
    assert sequences_sha256(sharded, case["sequences"]) == case["sequences_sha256"]
    assert sharded.identity == viewer.identity


@pytest.mark.parametrize(
    ("label", "batch_size"), [("40ns_2048sl_1234s", 8), ("900ns_128sl_1234s", 30), ("900ns_128sl_1234s", 1)]
)
def test_maps_that_gpt_neox_saved(label: str, batch_size: int) -> None:
    golden = GOLDEN / "neox" / "small_u16"
    viewer = BatchViewer.open(golden, order=f"train_0_indexmap_{label}", batch_size=batch_size)
    case = next(case for name, case in CASES if name == "small_u16" and f"{case['seq_length']}sl" in label)
    assert viewer.seq_length == case["seq_length"]
    assert viewer.dtype == np.uint16
    assert sequences_sha256(viewer, case["sequences"]) == case["sequences_sha256"]
    with pytest.raises(ParameterError, match="--batch-size"):
        BatchViewer.open(golden, order=f"train_0_indexmap_{label}")
    with pytest.raises(ParameterError, match="name one with --order"):
        BatchViewer.open(golden, batch_size=batch_size)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_ordered(tmp_path / "data")


def test_every_way_of_reading_gives_the_same_tokens(data: Path) -> None:
    viewer = BatchViewer.open(data)
    batch = viewer.batch(3)
    assert batch.shape == (4, 9)
    inputs, labels = viewer.inputs_labels(3)
    np.testing.assert_array_equal(inputs, batch[:, :-1])
    np.testing.assert_array_equal(labels, batch[:, 1:])
    assert inputs.base is labels.base
    for row in range(4):
        np.testing.assert_array_equal(viewer.sequence(3, row), batch[row])
    several = list(viewer.batches(2, 5))
    assert len(several) == 3
    np.testing.assert_array_equal(several[1], batch)
    assert viewer.step_digest(3) == xxhash.xxh3_128_hexdigest(batch.tobytes())
    assert viewer.batch(np.int64(3)).tolist() == batch.tolist()
    assert list(viewer.batches(4, 4)) == []


@pytest.mark.parametrize(("step", "row"), [(10, 0), (-1, 0), (10**12, 0), (0, 4), (0, -1)])
def test_out_of_range(step: int, row: int, data: Path) -> None:
    viewer = BatchViewer.open(data)
    for read in (viewer.sequence, viewer.trace, viewer.pieces):
        with pytest.raises(OutOfRangeError, match=r"no step|no row"):
            read(step, row)
    if row == 0:
        for read_step in (viewer.batch, viewer.step_digest, viewer.inputs_labels):
            with pytest.raises(OutOfRangeError, match=f"no step {step} at batch size 4; the last is 9"):
                read_step(step)
        with pytest.raises(OutOfRangeError):
            viewer.batches(0, 11)
        with pytest.raises(OutOfRangeError):
            viewer.rank_batch(step, rank=0, world_size=1)
    with pytest.raises(TypeError):
        viewer.batch(1.0)  # type: ignore[arg-type]


def test_text_needs_the_tokenizer_of_the_dataset(data: Path, tmp_path: Path) -> None:
    viewer = BatchViewer.open(data)
    assert not viewer.has_tokenizer
    assert viewer.pieces(0, 0)[0].text is None
    with pytest.raises(ParameterError, match="--tokenizer"):
        viewer.text(0, 0)
    save_tokenizer(tmp_path / "small.json", 1000)
    with pytest.raises(DataError, match=r"the tokenizer's largest is 999"):
        BatchViewer.open(data, tokenizer=tmp_path / "small.json").text(0, 0)
    save_tokenizer(tmp_path / "large.json", 60_000)
    given_one = BatchViewer.open(data, tokenizer=tmp_path / "large.json")
    text = given_one.text(0, 0)
    assert "".join(piece.text or "" for piece in given_one.pieces(0, 0)) == text
    shutil.copy(tmp_path / "large.json", data / "tokenizer.json")
    assert BatchViewer.open(data).text(0, 0) == text
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DataError, match="not a usable tokenizer"):
        BatchViewer.open(data, tokenizer=tmp_path / "bad.json").text(0, 0)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match="no such file"):
        BatchViewer.open(tmp_path / "nowhere")
    with pytest.raises(PileToolsError, match="no token dataset"):
        BatchViewer.open(tmp_path)
    write_dataset(tmp_path, random_documents(0, SIZES))
    with pytest.raises(PileToolsError, match="make one with `pile-tools order`"):
        BatchViewer.open(tmp_path)


def test_reading_writes_nothing(data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in [data, *data.iterdir()]}
    viewer = BatchViewer.open(data)
    viewer.batch(0)
    viewer.trace(0, 0)
    assert viewer.identity
    assert {path: path.stat().st_mtime_ns for path in [data, *data.iterdir()]} == before
