"""Index maps of an order: the sizes that they are made of, memory, and the files against plain Python."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.algorithms.orders.recipes import Order
from pile_tools.errors import DataError, MismatchError, ParameterError, PileToolsError
from pile_tools.formats.order_json import OrderRecord
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.order import arrays
from pile_tools.stages.order.arrays import checked_sizes, make_arrays, remake
from pile_tools.stages.order.order import plan_order
from tests.reference import orders
from tests.strategies import document_sizes, stream_shapes
from tests.token_data import random_documents, write_dataset

SIZES = [9, 0, 40, 3, 17, 1] * 4


def plan(data: Path, **parameters: Any) -> tuple[TokenDataset, OrderRecord]:
    defaults = {
        "seq_length": 8,
        "batch_size": 4,
        "num_samples": 20,
        "seed": 7,
        "recipe": "neox",
        "name": None,
    }
    return plan_order(data, names="neox", output=None, **{**defaults, **parameters})


def accept(order: Order) -> None:
    """Accept any arrays."""


def test_sizes_are_those_of_the_documents(data: Path) -> None:
    assert checked_sizes(TokenDataset.open(data)).tolist() == SIZES


def test_a_damaged_index_is_refused(data: Path) -> None:
    path = data / "document.idx"
    content = bytearray(path.read_bytes())
    start = 9 + 8 + 1 + 8 + 8  # magic, version, dtype code, two counts
    assert np.frombuffer(content, "<i4", len(SIZES), start).tolist() == SIZES
    sizes = np.frombuffer(content, "<i4", len(SIZES), start).copy()
    sizes[[2, 3]] = sizes[[3, 2]]  # the same sum
    content[start : start + sizes.nbytes] = sizes.tobytes()
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"document\.idx"):
        checked_sizes(TokenDataset.open(data))


@settings(deadline=None, max_examples=25)
@given(sizes=document_sizes(), shape=stream_shapes(), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("recipe", ["neox", "megatron-core"])
def test_arrays_are_those_of_the_recipe_in_plain_python(
    recipe: str,
    sizes: list[int],
    shape: tuple[int, int, int],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    seq_length, batch_size, num_samples = shape
    data = write_dataset(tmp_path_factory.mktemp("data"), random_documents(0, sizes)).parent
    dataset, record = plan(
        data,
        seq_length=seq_length,
        batch_size=batch_size,
        num_samples=num_samples,
        seed=seed,
        recipe=recipe,
    )
    plain = {"neox": orders.neox, "megatron-core": orders.megatron_core}[recipe]
    expected = plain(sizes, seq_length, num_samples, seed)
    order = remake(dataset, record, checked_sizes(dataset))
    for array, values in zip((order.doc_idx, order.sample_idx, order.shuffle_idx), expected, strict=True):
        assert array.tolist() == values.tolist()


def test_files_are_listed_and_have_the_names_of_gpt_neox(data: Path, tmp_path: Path) -> None:
    dataset, record = plan(data)
    made = make_arrays(dataset, checked_sizes(dataset), record, tmp_path, accept)
    names = [f"document_train_0_indexmap_20ns_8sl_7s_{name}_idx.npy" for name in ("doc", "sample", "shuffle")]
    assert [entry.name for entry in made.files] == names
    plain = orders.neox(SIZES, 8, 20, 7)
    for entry, values in zip(made.files, plain, strict=True):
        content = (tmp_path / entry.name).read_bytes()
        assert (entry.bytes, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert np.load(tmp_path / entry.name).tolist() == values.tolist()
    assert made == replace(record, epochs=made.epochs, files=made.files)
    assert len(plain[0]) == made.epochs * len(SIZES)


def test_arrays_that_the_caller_refuses_are_not_written(data: Path, tmp_path: Path) -> None:
    def refuse(order: Order) -> None:
        raise MismatchError("not these")

    dataset, record = plan(data)
    with pytest.raises(MismatchError, match="not these"):
        make_arrays(dataset, checked_sizes(dataset), record, tmp_path, refuse)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_order_larger_than_memory_is_refused_before_it_is_made(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, record = plan(data)
    sizes = checked_sizes(dataset)
    doc_idx, sample_idx, shuffle_idx = orders.neox(SIZES, 8, 20, 7)
    # sample_idx has one row more than samples, which the estimate leaves out.
    needed = doc_idx.nbytes + sample_idx.nbytes - 8 + shuffle_idx.nbytes
    monkeypatch.setattr(arrays, "memory_bytes", lambda: needed)
    remake(dataset, record, sizes)
    monkeypatch.setattr(arrays, "memory_bytes", lambda: needed - 1)
    for make in (
        lambda: remake(dataset, record, sizes),
        lambda: make_arrays(dataset, sizes, record, tmp_path / "out", accept),
    ):
        with pytest.raises(ParameterError, match=r"document: 20 samples of 8 tokens .* ask for fewer steps"):
            make()


def test_a_disk_without_room_is_named_before_the_work(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(arrays, "require_space", lambda directory, size: asked.append(size))
    dataset, record = plan(data)
    made = make_arrays(dataset, checked_sizes(dataset), record, tmp_path, accept)
    make_arrays(dataset, checked_sizes(dataset), record, tmp_path, accept)
    assert asked[1] == 0  # all of them are there
    assert asked[0] <= sum(entry.bytes for entry in made.files)
    (tmp_path / made.files[0].name).unlink()
    make_arrays(dataset, checked_sizes(dataset), record, tmp_path, accept)
    assert asked[2] == np.load(tmp_path / made.files[0].name).nbytes


def test_an_array_of_another_order_is_not_replaced(data: Path, tmp_path: Path) -> None:
    dataset, record = plan(data)
    made = make_arrays(dataset, checked_sizes(dataset), record, tmp_path, accept)
    np.save(tmp_path / made.files[1].name, np.zeros((3, 2), np.int32))
    before = (tmp_path / made.files[1].name).read_bytes()
    with pytest.raises(PileToolsError, match="holds another array"):
        make_arrays(dataset, checked_sizes(dataset), record, tmp_path, accept)
    assert (tmp_path / made.files[1].name).read_bytes() == before


def test_a_sequential_order_is_of_whole_samples_and_has_no_files(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", random_documents(0, [9, 9, 9])).parent
    dataset, record = plan(data, recipe="sequential", num_samples=3, batch_size=1)
    sizes = checked_sizes(dataset)
    assert make_arrays(dataset, sizes, record, tmp_path / "out", accept) == record
    assert not (tmp_path / "out").exists()
    for change, message in [
        ({"seq_length": 0}, "seq_length 0 must be at least 1"),
        ({"seed": 2**32}, "seed 4294967296 must be from 0"),
        ({"split": "1"}, "it has no --split"),
        ({"seq_length": 9}, "sequence 0 has 9 tokens, not the 10 of a sample"),
        ({"num_samples": 4}, "3 sequences, but 4 samples are asked for"),
    ]:
        with pytest.raises(ParameterError, match=message):
            make_arrays(dataset, sizes, replace(record, **change), tmp_path / "out", accept)  # type: ignore[arg-type]
