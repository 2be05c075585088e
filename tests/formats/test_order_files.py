"""Order files: GPT-NeoX's names and bytes, `order.json`, and how an order is found."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.manifest import canonical_json, file_entry
from pile_tools.formats.order_files import (
    MapNames,
    OrderMaps,
    OrderPlace,
    OrderRecord,
    find_order,
    list_orders,
    read_array,
    write_array,
)
from tests.token_data import GOLDEN

LABEL = "document_train_0_indexmap_40ns_2048sl_1234s"
RECORD = OrderRecord(
    label=LABEL,
    recipe="neox",
    name="train_0",
    seed=1234,
    seq_length=2048,
    batch_size=4,
    num_samples=40,
    samples=40,
    steps=10,
    epochs=2,
    dataset="d" * 64,
    manifest=None,
    files=(),
)


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN / "neox" / "small_u16", tmp_path / "neox")
    return tmp_path / "neox" / "document"


def test_names_are_those_of_gpt_neox() -> None:
    names = MapNames("document_train_0", 40, 2048, 1234)
    assert names.label == LABEL
    assert MapNames.parse(LABEL) == names
    assert MapNames.parse("document_train_0") is None


@pytest.mark.parametrize("array", ["doc_idx", "sample_idx", "shuffle_idx"])
def test_arrays_are_written_as_gpt_neox_writes_them(array: str, tmp_path: Path) -> None:
    name = f"{LABEL}_{array}.npy"
    source = GOLDEN / "neox" / "small_u16" / name
    entry = write_array(tmp_path / name, np.load(source))
    assert (tmp_path / name).read_bytes() == source.read_bytes()
    assert entry == file_entry(source)
    # The same again is left alone, and another array is refused.
    assert write_array(tmp_path / name, np.load(source)) == entry
    with pytest.raises(DataError, match="holds another array"):
        write_array(tmp_path / name, np.load(source)[1:])


def test_orders_are_found(golden: Path) -> None:
    labels = [LABEL, "document_train_0_indexmap_900ns_128sl_1234s"]
    assert [place.label for place in list_orders(golden.parent, "document")] == labels
    with pytest.raises(ParameterError, match=f"name one .*{labels[0]}, {labels[1]}"):
        find_order(golden, None)
    with pytest.raises(ParameterError, match="several orders"):
        find_order(golden, "train_0")
    elsewhere = golden.parent.parent / "elsewhere"
    elsewhere.mkdir()
    for path in golden.parent.glob(f"{LABEL}*"):
        shutil.copy(path, elsewhere)
    for order in (LABEL, LABEL.removeprefix("document_"), golden.with_name(f"{LABEL}_doc_idx.npy")):
        assert find_order(golden, order) == OrderPlace(golden.parent, LABEL, None)
    for order in (elsewhere, elsewhere / LABEL):
        assert find_order(golden, str(order)) == OrderPlace(elsewhere, LABEL, None)
    for order in ("nothing", str(elsewhere / "nothing"), "no/such/place"):
        with pytest.raises(ParameterError, match=f"no order '{order}'; beside the dataset: {LABEL}"):
            find_order(golden, order)
    with pytest.raises(PileToolsError, match="pile-tools order"):
        find_order(golden.parent / "other", None)


def test_records_name_orders_too(golden: Path) -> None:
    first = replace(RECORD, name="mine")
    first.write(golden.parent / "order.json")
    second = replace(RECORD, label="document_b_indexmap_40ns_2048sl_1234s", name="b")
    second.write(golden.parent / f"{second.label}_order.json")
    assert find_order(golden, "mine") == OrderPlace(golden.parent, LABEL, first)
    assert find_order(golden, "b").record == second
    assert find_order(golden, golden.parent / "order.json").record == first
    assert len(list_orders(golden.parent, "document")) == 3


def test_the_record_comes_back(tmp_path: Path) -> None:
    record = replace(RECORD, manifest="m" * 64, files=(file_entry(GOLDEN / "neox" / "blend.json"),))
    record.write(tmp_path / "order.json")
    assert OrderRecord.read(tmp_path / "order.json") == record


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        RECORD.to_bytes() + b"\n",
        RECORD.to_bytes().replace(b'"steps": 10', b'"steps": 11'),
        RECORD.to_bytes().replace(b'"seq_length": 2048', b'"seq_length": 0'),
        RECORD.to_bytes().replace(b'"seq_length": 2048', b'"seq_length": "2"'),
        RECORD.to_bytes().replace(b'"samples": 40', b'"samples": 41'),
        RECORD.to_bytes().replace(b'"seed": 1234', b'"seed": 1234,\n  "sees": 1'),
        RECORD.to_bytes().replace(b"order 1", b"order 2"),
        canonical_json({"format": "pile-tools order 1"}),
    ],
)
def test_a_damaged_record_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "order.json").write_bytes(content)
    with pytest.raises(DataError, match=r"order\.json: .*"):
        OrderRecord.read(tmp_path / "order.json")


def open_maps(prefix: Path) -> OrderMaps:
    return OrderMaps.open(find_order(prefix, LABEL))


def test_maps_that_do_not_agree(golden: Path) -> None:
    assert open_maps(golden).n_samples == 51
    place = find_order(golden, LABEL)
    shuffle = np.load(place.path("shuffle_idx"))
    samples = np.load(place.path("sample_idx"))
    for array, value, message in [
        ("shuffle_idx", shuffle[:-1], "50 samples, but .* has 51"),
        ("shuffle_idx", shuffle.astype("i4"), "not uint32 or int64"),
        ("sample_idx", samples[:, :1], "shape"),
        ("sample_idx", np.asfortranarray(samples), "C order"),
        ("sample_idx", samples.reshape(-1), "2 dimension"),
        ("sample_idx", samples[:1], "shape"),
        ("doc_idx", samples.astype("f4"), "<f4 of shape"),
        ("doc_idx", np.load(place.path("doc_idx")).astype(">i4"), "not int32"),
    ]:
        kept = place.path(array).read_bytes()
        np.save(place.path(array), value)
        with pytest.raises(DataError, match=message):
            open_maps(golden)
        place.path(array).write_bytes(kept)
    replace(RECORD, files=(file_entry(place.path("shuffle_idx"), f"{LABEL}_doc_idx.npy"),)).write(
        golden.parent / "order.json"
    )
    with pytest.raises(DataError, match=r"not the file that order\.json describes"):
        open_maps(golden)
    (golden.parent / "order.json").unlink()
    place.path("sample_idx").unlink()
    with pytest.raises(UnfinishedError, match=r"sample_idx\.npy: missing"):
        open_maps(golden)


def test_pickled_truncated_and_extended_arrays_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"\|O of shape"):
        read_array(path, 1, ("int32",))
    np.save(path, np.arange(100, dtype="i4"))
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"\0", whole[:40], b"", b"PK\3\4", bytes(200)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npy"):
            read_array(path, 1, ("int32",))
