"""What a viewer opens: any recipe, by any way of reading, here or behind a URL, and what it refuses."""

import shutil
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.stages.order.order import make_order
from pile_tools.storage.block_cache import BlockCache
from tests.hub_server import Hub, publish
from tests.stream.conftest import everything
from tests.token_data import SIZES, add_provenance, random_documents, write_dataset


def test_a_prefix_beside_the_directory_where_megatron_core_keeps_its_maps(data: Path) -> None:
    (data / "document" / "cache" / "GPTDataset_indices").mkdir(parents=True)
    for name in ("document", "document.idx", ""):
        assert BatchViewer.open(data / name).batch(0).shape == (4, 9)


def test_an_order_made_of_a_dataset_behind_a_url_is_that_of_a_copy(data: Path, hub: Hub) -> None:
    url = publish(hub, data)
    made = data.parent / "made"
    parameters: dict[str, Any] = {"seq_length": 8, "batch_size": 4, "steps": 10, "seed": 7, "output": made}
    record = make_order(url, **parameters).record
    assert (record.dataset, record.index) == (None, make_order(data, **parameters | {"seed": 8}).record.index)
    order = made / f"{record.label}_doc_idx.npy"
    assert everything(BatchViewer.open(data, order=order)) == everything(BatchViewer.open(url, order=order))
    # The same documents in another order have the same counts and bytes, and another index.
    other = write_dataset(data.parent / "turned", random_documents(0, SIZES)[::-1]).parent
    for place in (other, publish(hub, other, "owner/turned")):
        with pytest.raises(DataError, match="an order of another token dataset"):
            BatchViewer.open(place, order=order)


def test_sequences_of_several_sizes_are_no_samples_behind_a_url_either(data: Path, hub: Hub) -> None:
    odd = write_dataset(data.parent / "odd", random_documents(0, [5, 3, 7, 5, 4, 6])).parent
    for place in (odd, publish(hub, odd)):
        viewer = BatchViewer.open(place, order="sequential", batch_size=1)
        assert viewer.batch(0).shape == (1, 5)
        with pytest.raises(DataError, match="sequence 1 has 3 tokens at byte 10"):
            viewer.batch(1)


def test_bare_maps_and_shards_of_a_server_that_lists_nothing(data: Path, hub: Hub) -> None:
    (data / "order.json").unlink()
    expected = everything(BatchViewer.open(data, batch_size=4))
    publish(hub, data)
    http = f"{hub.url}/datasets/owner/name/resolve/main"
    with pytest.raises(PileToolsError, match="lists no files, shards are found only by"):
        BatchViewer.open(f"{http}/document", batch_size=4)
    whole = write_dataset(data.parent / "whole", random_documents(0, SIZES)).parent
    add_provenance(whole, 24)
    label = next(data.glob("*_doc_idx.npy")).name.removesuffix("_doc_idx.npy")
    hub.repositories["owner/name"] |= {"document.bin": (whole / "document.bin").read_bytes()}
    for order in (label, f"{http}/{label}_doc_idx.npy", f"{http}/{label}"):
        assert everything(BatchViewer.open(f"{http}/document", order=order, batch_size=4)) == expected
    with pytest.raises(ParameterError, match="no order"):
        BatchViewer.open(f"{http}/document", order="document_train_0_indexmap_1ns_8sl_1s", batch_size=4)


def test_the_tokenizer_beside_a_dataset_behind_a_url(data: Path, hub: Hub, demo_corpus: Path) -> None:
    shutil.copy(demo_corpus / "tokenizer.json", data)
    (data / "document.idx").unlink()
    for path in data.glob("*.bin"):
        path.unlink()
    write_dataset(data, [np.arange(size, dtype=np.uint16) for size in SIZES if size])
    for path in [*data.glob("*.npy"), data / "order.json", data / "documents.parquet"]:
        path.unlink()
    make_order(data, seq_length=8, batch_size=4, steps=5)
    remote = BatchViewer.open(publish(hub, data))
    assert remote.text(0, 0) == BatchViewer.open(data).text(0, 0)


@pytest.mark.parametrize("where", ["hub", "store", "http", "memory"])
def test_behind_a_url_all_is_as_it_is_here(data: Path, where: str, hub: Hub) -> None:
    url = publish(hub, data)
    hub.store = where == "store"
    if where == "http":
        url = f"{hub.url}/datasets/owner/name/resolve/main/"
        # The server lists no files: a manifest tells them, or the one .bin must be there.
        whole = write_dataset(data.parent / "whole", random_documents(0, SIZES)).parent
        add_provenance(whole, 24)
        make_order(whole, seq_length=8, batch_size=4, steps=10)
        publish(hub, whole)
        url += "document"
    elif where == "memory":
        url = "memory://opening-test"
        system = fsspec.filesystem("memory")
        for name, content in hub.repositories["owner/name"].items():
            system.pipe_file(f"/opening-test/{name}", content)
    remote = BatchViewer.open(url)
    assert everything(remote) == everything(BatchViewer.open(data))
    assert remote.identity != BatchViewer.open(data).identity
    assert remote.identity == BatchViewer.open(url).identity
    with pytest.raises(ParameterError, match="this needs a dataset of this machine"):
        _ = remote.dataset.directory


def test_an_order_here_reads_a_dataset_there(data: Path, hub: Hub) -> None:
    url = publish(hub, data)
    orders_here = data.parent / "orders"
    orders_here.mkdir()
    for path in [*data.glob("*.npy"), data / "order.json"]:
        shutil.move(path, orders_here)
    hub.repositories["owner/name"] = {
        name: content for name, content in hub.repositories["owner/name"].items() if "order" not in name
    }
    remote = BatchViewer.open(url, order=orders_here)
    assert everything(remote) == everything(BatchViewer.open(data, order=orders_here))
    there = publish(hub, orders_here, "owner/orders")
    assert everything(BatchViewer.open(url, order=there)) == everything(remote)
    longer = write_dataset(data.parent / "longer", random_documents(0, [*SIZES, 5])).parent
    with pytest.raises(DataError, match="an order of another token dataset"):
        BatchViewer.open(publish(hub, longer, "owner/longer"), order=there)


def test_a_cache_spares_the_network(data: Path, hub: Hub, tmp_path: Path) -> None:
    url = publish(hub, data)
    cache = BlockCache(tmp_path / "cache")
    first = everything(BatchViewer.open(url, cache=cache))
    hub.sent.clear()
    assert everything(BatchViewer.open(url, cache=cache)) == first
    assert sum(hub.sent[name] for name in hub.sent if name.endswith((".bin", ".npy", ".parquet"))) == 0


def test_a_remote_dataset_that_is_damaged(data: Path, hub: Hub) -> None:
    url = publish(hub, data)
    files = hub.repositories["owner/name"]
    (doc_idx,) = (name for name in files if name.endswith("_doc_idx.npy"))
    (sample_idx,) = (name for name in files if name.endswith("_sample_idx.npy"))
    for name, at, value, message in [
        (doc_idx, 128, 99, "holds document 99, but the dataset has 24"),
        (sample_idx, 128, 10**9, "puts sample 0 between places 1000000000"),
        ("document.idx", 34 + 24 * 4 + 8, 7, "points to byte"),
    ]:
        whole = files[name]
        content = bytearray(whole)
        content[at : at + 4] = value.to_bytes(4, "little")
        files[name] = bytes(content)
        with pytest.raises(DataError, match=message):
            list(BatchViewer.open(url).batches(0, 10))
        files[name] = whole
    files["document.idx"] = files["document.idx"][:-1]
    with pytest.raises(DataError, match="bytes, but its header"):
        BatchViewer.open(url)
    del files["document.idx"]
    with pytest.raises(PileToolsError, match=r"no \.idx file in it"):
        BatchViewer.open(url)
