"""`make_order`: the files that GPT-NeoX would make, its record, and what it refuses to overwrite."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.mmidx import write_index
from pile_tools.formats.order_json import parse_record
from pile_tools.stages.order.order import make_order
from pile_tools.storage.manifest import sha256_file
from tests.reference import orders
from tests.token_data import GOLDEN, random_documents, samples, write_dataset

MADE_BY_GPT_NEOX = [
    (name, case)
    for name in ("small_u16", "small_i32")
    for case in json.loads((GOLDEN / "neox" / name / "expect.json").read_text())["orders"]
]


@pytest.mark.parametrize(("name", "case"), MADE_BY_GPT_NEOX)
def test_files_are_those_of_gpt_neox(name: str, case: dict[str, Any], tmp_path: Path) -> None:
    golden = GOLDEN / "neox" / name
    summary = make_order(
        golden,
        seq_length=case["seq_length"],
        batch_size=10,
        num_samples=case["num_samples"],
        seed=case["seed"],
        output=tmp_path,
    )
    assert summary.record.epochs == case["num_epochs"]
    assert summary.samples_in_order == case["shuffle_idx_len"]
    for entry in summary.record.files:
        assert sha256_file(tmp_path / entry.name) == entry.sha256
        # GPT-NeoX saved the maps of most of the cases.
        if (golden / entry.name).exists():
            assert (tmp_path / entry.name).read_bytes() == (golden / entry.name).read_bytes()
    assert parse_record((tmp_path / "order.json").read_bytes(), "") == summary.record


def test_the_record_says_what_was_made(data: Path) -> None:
    record = make_order(data, seq_length=8, batch_size=4, steps=5, num_samples=23, seed=3).record
    assert (record.recipe, record.name, record.seed) == ("neox", "train_0", 3)
    assert (record.num_samples, record.samples, record.steps, record.batch_size) == (23, 20, 5, 4)
    assert record.label == "document_train_0_indexmap_23ns_8sl_3s"
    assert make_order(data, seq_length=8, num_samples=23, batch_size=4, seed=4).record.samples == 23


def test_the_same_again_is_left_as_it_is(data: Path) -> None:
    first = make_order(data, seq_length=8, batch_size=4, steps=5)
    times = {path: path.stat().st_mtime_ns for path in data.iterdir()}
    second = make_order(data, seq_length=8, batch_size=4, steps=5)
    assert (first.existed, second.existed) == (False, True)
    assert second.record == first.record
    assert {path: path.stat().st_mtime_ns for path in data.iterdir()} == times


def test_interrupted_work_is_resumed(data: Path) -> None:
    record = make_order(data, seq_length=8, batch_size=4, steps=5).record
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    (data / "order.json").unlink()
    (data / record.files[1].name).unlink()
    make_order(data, seq_length=8, batch_size=4, steps=5)
    (data / record.files[2].name).unlink()
    assert not make_order(data, seq_length=8, batch_size=4, steps=5).existed
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before


def test_several_orders_stand_beside_one_dataset(data: Path) -> None:
    make_order(data, seq_length=8, batch_size=4, steps=5)
    second = make_order(data, seq_length=8, batch_size=4, steps=5, seed=7)
    assert second.path == data / "document_train_0_indexmap_20ns_8sl_7s_order.json"
    assert make_order(data, seq_length=8, batch_size=4, steps=5, seed=7).existed
    assert make_order(data, seq_length=8, batch_size=4, steps=5).existed


def test_nothing_else_is_overwritten(data: Path, tmp_path: Path) -> None:
    make_order(data, seq_length=8, batch_size=4, steps=5)
    with pytest.raises(PileToolsError, match=r"the same maps with batch_size 4, now 5, steps 5, now 4"):
        make_order(data, seq_length=8, batch_size=5, steps=4)
    other = write_dataset(tmp_path / "other", random_documents(1, [9, 0, 40, 3, 17, 1] * 4)).parent
    for path in data.glob("*order.json"):
        shutil.copy(path, other)
    with pytest.raises(DataError, match="an order of another token dataset"):
        make_order(other, seq_length=8, batch_size=4, steps=5)
    (other / "order.json").unlink()
    np.save(other / "document_train_0_indexmap_20ns_8sl_1234s_doc_idx.npy", np.arange(4, dtype=np.int32))
    with pytest.raises(DataError, match="holds another array"):
        make_order(other, seq_length=8, batch_size=4, steps=5)


def test_two_datasets_in_one_directory(tmp_path: Path) -> None:
    sizes = [9, 0, 40, 3, 17, 1] * 4
    prefixes = [
        write_dataset(tmp_path, random_documents(seed, sizes), prefix=prefix)
        for seed, prefix in enumerate(("train", "train_val", "other"))
    ]
    made = [make_order(prefix, seq_length=8, batch_size=4, steps=5) for prefix in prefixes]
    assert len({summary.path for summary in made}) == 3
    batches = [BatchViewer.open(prefix).batch(0).tobytes() for prefix in prefixes]
    for summary in made:  # as maps that another tool left
        summary.path.unlink()
    for prefix, batch in zip(prefixes, batches, strict=True):
        assert BatchViewer.open(prefix, batch_size=4).batch(0).tobytes() == batch


def test_the_same_tokens_in_other_shards_keep_their_order(data: Path) -> None:
    first = make_order(data, seq_length=8, batch_size=4, steps=5)
    first.path.write_bytes(replace(first.record, manifest="0" * 64).to_bytes())
    again = make_order(data, seq_length=8, batch_size=4, steps=5)
    assert (again.record, again.path, again.existed) == (first.record, first.path, False)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "number of steps"),
        ({"steps": 0}, "steps 0"),
        ({"num_samples": 0}, "num_samples 0"),
        ({"steps": 1, "batch_size": 0}, "batch_size 0"),
        ({"steps": 3, "batch_size": 4, "num_samples": 11}, "read 12 samples, more than num_samples 11"),
        ({"steps": 1, "seq_length": 0}, "document: seq_length 0"),
        ({"steps": 1, "seed": -1}, "document: seed -1"),
        ({"steps": 1, "recipe": "best"}, "recipe 'best'"),
        ({"steps": 1, "name": "a/b"}, "named 'a/b'"),
        ({"steps": 1, "name": ""}, "named ''"),
        ({"steps": 1, "part": "valid"}, "part 'valid' is one of a split"),
        ({"steps": 1, "recipe": "sequential", "seed": -1}, "document: seed -1"),
        ({"steps": 1, "recipe": "sequential", "seq_length": 0}, "document: seq_length 0"),
        ({"steps": 10**18}, "epochs, whose order takes .* ask for fewer steps"),
        ({"num_samples": 10**20}, "epochs, whose order takes"),
        ({"steps": 1, "seq_length": 10**18}, "epochs, whose order takes"),
    ],
)
def test_parameters_without_an_order(parameters: dict[str, Any], message: str, data: Path) -> None:
    before = sorted(data.iterdir())
    with pytest.raises(ParameterError, match=message):
        make_order(data, **parameters)
    assert sorted(data.iterdir()) == before


def test_a_dataset_without_tokens(tmp_path: Path) -> None:
    write_index(tmp_path / "document.idx", np.uint16, [])
    (tmp_path / "document.bin").touch()
    with pytest.raises(DataError, match="document: 0 tokens in 0 documents"):
        make_order(tmp_path, steps=1)


def test_what_is_no_sequential_order(tmp_path: Path) -> None:
    directory = write_dataset(tmp_path / "data", random_documents(0, [9, 9, 8, 10])).parent
    with pytest.raises(ParameterError, match="sequence 2 has 8 tokens, not the 9 of a sample"):
        make_order(directory, recipe="sequential", seq_length=8, batch_size=1, steps=4)
    # The sizes add up, so only reading them tells.
    viewer = BatchViewer.open(directory, order="sequential", batch_size=1)
    assert viewer.batch(1).shape == (1, 9)
    with pytest.raises(DataError, match="sequence 2 has 8 tokens"):
        viewer.batch(2)
    other = write_dataset(tmp_path / "other", random_documents(0, [9, 9, 8])).parent
    with pytest.raises(DataError, match="not of sequences of one size"):
        BatchViewer.open(other, order="sequential", batch_size=1)
    whole = write_dataset(tmp_path / "whole", samples(3)).parent
    with pytest.raises(ParameterError, match="3 sequences, but 4 samples are asked for"):
        make_order(whole, recipe="sequential", seq_length=8, batch_size=1, steps=4)
    with pytest.raises(ParameterError, match="has no --split"):
        make_order(whole, recipe="sequential", seq_length=8, batch_size=1, steps=1, split="1")


def test_a_split_orders_a_part_of_the_documents(tmp_path: Path) -> None:
    documents = random_documents(0, [20] * 10)
    directory = write_dataset(tmp_path / "data", documents).parent
    for part, first, stop in [("train", 0, 7), ("valid", 7, 9), ("test", 9, 10)]:
        summary = make_order(directory, seq_length=8, batch_size=2, steps=6, split="7,2,1", part=part)
        assert summary.record.label == f"document_{part}_indexmap_12ns_8sl_1234s"
        assert (summary.documents, summary.record.documents) == (stop - first, (first, stop))
        viewer = BatchViewer.open(directory, order=part)
        seen = {
            n for step in range(6) for row in (0, 1) for n in viewer.trace(step, row)["document"].to_pylist()
        }
        assert seen <= set(range(first, stop))
        arrays = orders.neox([20] * (stop - first), 8, 12, 1234)
        own = [document.tolist() for document in documents[first:stop]]
        assert viewer.batch(2).tolist() == [orders.sequence(own, arrays, 8, number) for number in (4, 5)]
    with pytest.raises(ParameterError, match="split 1,0,0 of its documents leaves none to valid"):
        make_order(directory, steps=1, split="1,0,0", part="valid")
    with pytest.raises(ParameterError, match="part 'dev'"):
        make_order(directory, steps=1, split="1,0,0", part="dev")
