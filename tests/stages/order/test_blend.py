"""Blends of orders: the orders that they ask of their datasets, and what cannot be blended."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pile_tools import BatchViewer
from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.stages.order.blend import make_blend
from tests.token_data import random_documents, write_dataset


@settings(max_examples=25)
@given(
    cents=st.lists(st.integers(1, 100), min_size=1, max_size=4),
    thousands=st.integers(1, 3),
)
@example(cents=[47, 535], thousands=1)  # one sample more or less is another number of epochs
def test_a_blend_asks_its_datasets_for_what_gpt_neox_asks(
    tmp_path_factory: pytest.TempPathFactory, cents: list[int], thousands: int
) -> None:
    directory = tmp_path_factory.mktemp("asked")
    data = write_dataset(directory / "data", random_documents(0, [4000])).parent
    texts = [f"0.{number:03d}" for number in cents]
    record = make_blend(
        [data] * len(texts), texts, directory / "blend", num_samples=1000 * thousands, seq_length=8
    )
    weights = [float(text) for text in texts]
    shares = [weight / sum(weights) for weight in weights]
    asked = [math.ceil(1000 * thousands * share * 1.005) for share in shares]
    labels = [part.order for part in record.parts]
    assert labels == [f"document_train_{n}_indexmap_{size}ns_8sl_1234s" for n, size in enumerate(asked)]


def test_blends_that_are_none(tmp_path: Path, data: Path) -> None:
    for weights, message in [
        (["1"], "2 datasets, but 1 weights"),
        (["1", "x"], "weight 'x' is not a number"),
        (["1", "-1"], "finite and not negative"),
        (["1", "0"], "weight 0 leaves a dataset without a sample"),
        (["0", "0"], "add up to nothing"),
    ]:
        with pytest.raises(ParameterError, match=message):
            make_blend([data, data], weights, tmp_path / "blend", steps=1)
    with pytest.raises(ParameterError, match="made by neox or megatron-core"):
        make_blend([data], ["1"], tmp_path / "blend", steps=1, recipe="sequential")
    make_blend([data, data], ["1", "1"], tmp_path / "blend", steps=3, batch_size=2, seq_length=8)
    (array,) = (tmp_path / "blend").glob("*_dataset_sample_index.npy")
    numbers = np.load(array)
    numbers[1] = 10**6
    np.save(array, numbers)
    with pytest.raises(DataError, match="sample 1 is number 1000000 of"):
        BatchViewer.open(tmp_path / "blend").batch(0)
    shutil.rmtree(tmp_path / "blend" / "orders")
    with pytest.raises(PileToolsError):
        BatchViewer.open(tmp_path / "blend")
