"""Records of orders to be made: labels, the length of the stream, what a record says of its dataset."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.errors import ParameterError
from pile_tools.formats.index_maps import MapNames
from pile_tools.formats.order_json import parse_record
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.order.record import new_record, order_label, stream_length

COUNTS = st.integers(1, 10**9)


@given(steps=COUNTS, batch_size=COUNTS, num_samples=COUNTS)
def test_the_length_of_a_stream(steps: int, batch_size: int, num_samples: int) -> None:
    assert stream_length(steps, batch_size, None) == (steps * batch_size, steps * batch_size)
    assert stream_length(None, batch_size, num_samples) == (num_samples, num_samples)
    if steps * batch_size <= num_samples:
        assert stream_length(steps, batch_size, num_samples) == (num_samples, steps * batch_size)
    else:
        with pytest.raises(ParameterError, match=f"more than num_samples {num_samples}"):
            stream_length(steps, batch_size, num_samples)


@pytest.mark.parametrize(
    ("steps", "batch_size", "num_samples", "message"),
    [
        (None, 4, None, "give the number of steps"),
        (0, 4, None, "steps 0 must be at least 1"),
        (-1, 4, 10, "steps -1 must be at least 1"),
        (1, 0, None, "batch_size 0 must be at least 1"),
        (None, 4, 0, "num_samples 0 must be at least 1"),
    ],
)
def test_lengths_that_are_refused(
    steps: int | None, batch_size: int, num_samples: int | None, message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        stream_length(steps, batch_size, num_samples)


def test_a_label_is_what_the_map_files_of_gpt_neox_begin_with(data: Path) -> None:
    dataset = TokenDataset.open(data)
    label = order_label(dataset, "neox", "train_0", 40, 8, 7)
    assert label == "document_train_0_indexmap_40ns_8sl_7s"
    assert MapNames.parse(label) == MapNames("document_train_0", 40, 8, 7)
    later = order_label(dataset, "neox", "train_0", 40, 8, 7, "neox-2024")
    assert later == f"{label}_packedpi_ac"
    assert order_label(dataset, "sequential", "own", 3, 8, 7) == "document_own_sequential_3ns_8sl"


@pytest.mark.parametrize(
    ("recipe", "name", "names", "message"),
    [
        ("neox", "train_0", "megatron", "names 'megatron' is none of neox, neox-2024"),
        ("neox", "a/b", "neox", "cannot be named 'a/b'"),
        ("neox", "", "neox", "cannot be named ''"),
        ("neox", "..", "neox", r"cannot be named '\.\.'"),
        ("sequential", "train_0", "neox-2024", "a sequential order has no maps to name"),
        ("neox", "x" * 250, "neox", "an order called 'document_xxx"),
    ],
)
def test_names_that_no_order_can_have(data: Path, recipe: str, name: str, names: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        order_label(TokenDataset.open(data), recipe, name, 40, 8, 7, names)


def test_a_record_names_its_dataset_and_is_read_back(data: Path) -> None:
    dataset = TokenDataset.open(data)
    record = new_record(
        dataset,
        label="document_train_0_indexmap_23ns_8sl_7s",
        recipe="neox",
        name="train_0",
        seed=7,
        seq_length=8,
        batch_size=4,
        num_samples=23,
        samples=23,
        documents=(0, 24),
        split=None,
    )
    assert (record.steps, record.epochs, record.files, record.like) == (5, 1, (), None)
    assert (record.sequences, record.data_bytes) == (24, (data / "document.bin").stat().st_size)
    assert record.difference(dataset) is None
    assert parse_record(record.to_bytes(), "order.json") == record
