"""Proof of the index maps of an order: maps of another dataset, of an earlier one, and damaged ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import DataError
from pile_tools.stages.order.order import make_order
from pile_tools.storage.manifest import Manifest
from tests.token_data import (
    SIZES,
    random_documents,
    write_dataset,
    write_ordered,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_ordered(tmp_path / "data")


def test_an_order_of_another_dataset_is_refused(data: Path, tmp_path: Path) -> None:
    same_sizes = write_dataset(tmp_path / "other", random_documents(1, SIZES)).parent
    for path in data.glob("*.npy"):
        shutil.copy(path, same_sizes)
    shutil.copy(data / "order.json", same_sizes)
    with pytest.raises(DataError, match="an order of another token dataset"):
        BatchViewer.open(same_sizes)
    with pytest.raises(DataError, match="an order of another token dataset"):
        BatchViewer.open(same_sizes, order=data)
    # Bare maps carry no identity, but they must fit the sizes of the documents.
    other_sizes = write_dataset(tmp_path / "third", random_documents(1, SIZES[::-1])).parent
    for path in data.glob("*.npy"):
        shutil.copy(path, other_sizes)
    with pytest.raises(DataError, match="damaged or of another dataset"):
        BatchViewer.open(other_sizes, batch_size=4)


def test_an_order_of_an_earlier_tokenization_is_refused(data: Path) -> None:
    Manifest("tokenize", {"version": 1}, [], []).write(data)
    BatchViewer.open(data)  # made before there was a manifest to name
    (data / "order.json").unlink()
    make_order(data, seq_length=8, batch_size=4, steps=10)
    Manifest("tokenize", {"version": 2}, [], []).write(data)
    with pytest.raises(DataError, match="an order of another token dataset"):
        BatchViewer.open(data)


def test_maps_damaged_after_they_were_opened_are_met_in_the_lookup(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pile_tools.stream.components.WHOLE_CHECK", 0)
    path = data / "document_train_0_indexmap_40ns_8sl_1234s_shuffle_idx.npy"
    shuffle = np.load(path)
    shuffle[5] = 4_000_000_000
    np.save(path, shuffle)
    with pytest.raises(DataError, match=r"holds 4000000000 at place 5.*no permutation"):
        BatchViewer.open(data).batch(0)
    viewer = BatchViewer.open(data, trust_files=True)
    viewer.batch(0)
    with pytest.raises(DataError, match=r"holds sample 4000000000.*damaged or of another dataset"):
        viewer.batch(1)
