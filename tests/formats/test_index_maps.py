"""Order files: GPT-NeoX's names and bytes, `order.json`, and how an order is found."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.index_maps import MapNames, OrderMaps, find_order, list_orders
from pile_tools.formats.order_json import BlendRecord, OrderRecord
from pile_tools.storage.manifest import file_entry
from pile_tools.storage.store import Io, LocalStore
from tests.formats.test_order_json import LABEL, RECORD
from tests.token_data import GOLDEN


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN / "neox" / "small_u16", tmp_path / "neox")
    return tmp_path / "neox"


def found(directory: Path, order: str | Path | None) -> tuple[str, str, OrderRecord | BlendRecord | None]:
    place = find_order(LocalStore(directory), "document", order)
    return place.store.name, place.label, place.record


def test_names_are_those_of_gpt_neox() -> None:
    names = MapNames("document_train_0", 40, 2048, 1234)
    assert names.label == LABEL
    assert MapNames.parse(LABEL) == names
    assert MapNames.parse("document_train_0") is None


def test_orders_are_found(golden: Path) -> None:
    labels = [LABEL, "document_train_0_indexmap_900ns_128sl_1234s"]
    assert [place.label for place in list_orders(LocalStore(golden), "document")] == labels
    with pytest.raises(ParameterError, match=f"name one .*{labels[0]}, {labels[1]}"):
        found(golden, None)
    with pytest.raises(ParameterError, match="several orders"):
        found(golden, "train_0")
    elsewhere = golden.parent / "elsewhere"
    elsewhere.mkdir()
    for path in golden.glob(f"{LABEL}*"):
        shutil.copy(path, elsewhere)
    for order in (LABEL, LABEL.removeprefix("document_"), golden / f"{LABEL}_doc_idx.npy"):
        assert found(golden, order) == (str(golden), LABEL, None)
    for order in (elsewhere, elsewhere / LABEL, f"{elsewhere}/"):
        assert found(golden, order) == (str(elsewhere), LABEL, None)
    for order in ("nothing", str(elsewhere / "nothing"), "no/such/place"):
        with pytest.raises(ParameterError, match=f"no order '{order}'; beside the dataset: {LABEL}"):
            found(golden, order)
    with pytest.raises(PileToolsError, match="pile-tools order"):
        found(GOLDEN, None)


def test_records_name_orders_too(golden: Path) -> None:
    first = replace(RECORD, name="mine")
    first.write(golden / "order.json")
    second = replace(RECORD, label="document_b_indexmap_40ns_2048sl_1234s", name="b")
    second.write(golden / f"{second.label}_order.json")
    assert found(golden, "mine") == (str(golden), LABEL, first)
    assert found(golden, "b")[2] == second
    assert found(golden, golden / "order.json")[2] == first
    assert len(list_orders(LocalStore(golden), "document")) == 3


def test_maps_of_megatron_core_are_found(golden: Path, tmp_path: Path) -> None:
    for folder in (golden, tmp_path / "neox" / "document" / "cache" / "GPTDataset_indices"):
        folder.mkdir(parents=True, exist_ok=True)
        for array in ("doc", "sample", "shuffle"):
            source = golden / f"{LABEL}_{array}_idx.npy"
            name = "document" if array == "doc" else array
            shutil.copy(source, folder / f"0a1b-GPTDataset-train-{name}_index.npy")
        place = find_order(LocalStore(golden), "document", "0a1b-GPTDataset-train")
        assert OrderMaps.open(place).n_samples == 51
        assert place.told() == (None, None)
        description = folder / "0a1b-GPTDataset-train-description.txt"
        description.write_text('{"class": "GPTDataset", "num_samples": 40, "sequence_length": 2048}')
        assert place.told() == (2048, 40)
        description.write_text("{")
        with pytest.raises(DataError, match="does not tell the sequence length"):
            place.told()
        for path in folder.glob("0a1b*"):
            path.unlink()


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_maps_that_do_not_agree(golden: Path, io: Io) -> None:
    def open_maps(directory: Path) -> OrderMaps:
        return OrderMaps.open(find_order(LocalStore(directory, io), "document", LABEL))

    assert open_maps(golden).n_samples == 51
    paths = {array: golden / f"{LABEL}_{array}.npy" for array in ("doc_idx", "sample_idx", "shuffle_idx")}
    shuffle = np.load(paths["shuffle_idx"])
    samples = np.load(paths["sample_idx"])
    for array, value, message in [
        ("shuffle_idx", shuffle[:-1], "50 samples, but .* has 51"),
        ("shuffle_idx", shuffle.astype("i4"), "not uint32 or int64"),
        ("sample_idx", samples[:, :1], "shape"),
        ("sample_idx", np.asfortranarray(samples), "C order"),
        ("sample_idx", samples.reshape(-1), "2 dimension"),
        ("sample_idx", samples[:1], "shape"),
        ("doc_idx", samples.astype("f4"), "<f4 of shape"),
        ("doc_idx", np.load(paths["doc_idx"]).astype(">i4"), "not int32"),
    ]:
        kept = paths[array].read_bytes()
        np.save(paths[array], value)
        with pytest.raises(DataError, match=message):
            open_maps(golden)
        paths[array].write_bytes(kept)
    entries = [file_entry(path) for path in paths.values()]
    for wrong, message in [
        (replace(entries[0], bytes=1), r"doc_idx\.npy: 2568 bytes, but 1 were expected"),
        (replace(entries[0], name="x"), "its record lists x, not document_train_0"),
    ]:
        replace(RECORD, files=(wrong, *entries[1:])).write(golden / "order.json")
        with pytest.raises(DataError, match=message):
            open_maps(golden)
    (golden / "order.json").unlink()
    paths["sample_idx"].unlink()
    with pytest.raises(UnfinishedError, match=r"sample_idx\.npy: missing"):
        open_maps(golden)
