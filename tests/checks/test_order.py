"""An order is what its recipe and seed make, or is said not to be."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pile_tools.checks.checks import verify
from pile_tools.checks.order import verify_recipe
from pile_tools.errors import DataError
from pile_tools.formats.index_maps import OrderPlace, list_orders
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.order.blend import make_blend
from pile_tools.stages.order.order import make_order
from pile_tools.stages.tokenize.tokenize import tokenize
from pile_tools.storage.manifest import canonical_json, file_entry
from pile_tools.storage.store import LocalStore
from tests.token_data import GOLDEN, random_documents, write_dataset

SIZES = [9, 0, 40, 3, 17, 1] * 4


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    write_dataset(directory, random_documents(0, SIZES))
    return directory


def only_order(directory: Path) -> OrderPlace:
    (place,) = list_orders(LocalStore(directory), None)
    return place


def replace_array(directory: Path, name: str, number: int, array: npt.NDArray[Any]) -> None:
    """Put another array into the order in ``directory``, and its hash into the record."""
    path = directory / name
    np.save(path, array)
    record = json.loads((directory / "order.json").read_text())
    record["files"][number] = file_entry(path).to_json()
    (directory / "order.json").write_bytes(canonical_json(record))


@pytest.mark.parametrize("recipe", ["neox", "megatron-core"])
@pytest.mark.parametrize("split", [None, "2,1,1"])
def test_what_the_recipe_makes(recipe: str, split: str | None, data: Path) -> None:
    make_order(data, seq_length=8, batch_size=4, num_samples=30, seed=7, recipe=recipe, split=split)
    said = verify_recipe(only_order(data), TokenDataset.open(data))
    assert said == f"as the recipe {recipe} makes it with seed 7"
    assert said in verify([data])[-1].message


def test_a_sound_order_of_another_seed(data: Path) -> None:
    """A permutation that fits the sizes, and is not the one of its seed."""
    make_order(data, seq_length=8, batch_size=4, num_samples=30, seed=7)
    place = only_order(data)
    shuffled = np.load(data / place.file_names()[2])
    replace_array(data, place.file_names()[2], 2, shuffled[::-1].copy())
    with pytest.raises(DataError, match=r"shuffle_idx.npy: not what the recipe neox makes with seed 7"):
        verify([data])


def test_maps_without_a_record(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "neox" / "small_i32", tmp_path / "data")
    (finding,) = [found for found in verify([tmp_path / "data"]) if found.check == "orders"]
    assert finding.message.endswith("150ns_256sl_1234s (as the recipe neox makes it with seed 1234)")
    for path in (tmp_path / "data").glob("*_1234s_*.npy"):
        path.rename(path.with_name(path.name.replace("1234s", "1235s")))
    (finding,) = [found for found in verify([tmp_path / "data"]) if found.check == "orders"]
    assert "not what the recipe neox makes with seed 1235 of all documents" in finding.message


def test_a_sequential_order(tmp_path: Path) -> None:
    write_dataset(tmp_path, random_documents(0, [9] * 6))
    make_order(tmp_path, seq_length=8, batch_size=2, num_samples=6, recipe="sequential")
    assert verify([tmp_path])[-1].message.endswith("(sequential)")


def test_a_blend(tmp_path: Path) -> None:
    for name in "ab":
        write_dataset(tmp_path / name, random_documents(ord(name), SIZES))
    blend = tmp_path / "blend"
    record = make_blend(
        [tmp_path / "a", tmp_path / "b"], ["0.7", "0.3"], blend, seq_length=8, batch_size=4, num_samples=40
    )
    assert "a blend of 2, as its weights and the recipe neox make it" in verify([blend])[0].message
    path = blend / record.files[0].name
    array = np.load(path)
    replace_array(blend, path.name, 0, array[::-1].copy())
    with pytest.raises(DataError, match="not what the weights make"):
        verify([blend])
    replace_array(blend, path.name, 0, array)
    (blend / "orders" / "order.json").unlink()
    for path in (blend / "orders").glob("*_idx.npy"):
        path.unlink()
    with pytest.raises(DataError, match="is missing; make the blend again"):
        verify([blend])


def test_an_order_of_another_dataset(made: Path, tmp_path: Path, demo_corpus: Path) -> None:
    tokenize([made / "in/0.jsonl"], tmp_path / "other", tokenizer=str(demo_corpus))
    for path in [*(made / "tokens").glob("*.npy"), made / "tokens/order.json"]:
        shutil.copy(path, tmp_path / "other")
    with pytest.raises(DataError, match="an order of another token dataset"):
        verify([tmp_path / "other"])
    # Alone in a directory it is still checked for being the files that were written.
    (tmp_path / "alone").mkdir()
    for path in [*(made / "tokens").glob("*.npy"), made / "tokens/order.json"]:
        shutil.copy(path, tmp_path / "alone")
    assert [finding.check for finding in verify([tmp_path / "alone"])] == ["orders"]


def test_maps_that_are_no_permutation(made: Path) -> None:
    path = next((made / "tokens").glob("*_shuffle_idx.npy"))
    order = json.loads((made / "tokens/order.json").read_text())
    shuffle = np.load(path)
    shuffle[0] = shuffle[1]
    np.save(path, shuffle)
    with pytest.raises(DataError, match=r"shuffle_idx\.npy: SHA-256"):
        verify([made / "tokens"])
    entry = file_entry(path)
    order["files"][2] = entry.to_json()
    text = json.dumps(order, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (made / "tokens/order.json").write_text(text)
    with pytest.raises(DataError, match=r"shuffle_idx"):
        verify([made / "tokens"])
