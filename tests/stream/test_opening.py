"""What a viewer opens: any recipe, by any way of reading, here or behind a URL, and what it refuses."""

import hashlib
import json
import math
import multiprocessing
import os
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pile_tools import BatchViewer
from pile_tools.algorithms.orders.blend import blend_indices, blend_sizes
from pile_tools.checks.checks import verify
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.stages.order.blend import make_blend
from pile_tools.stages.order.order import make_order
from pile_tools.storage import retry
from pile_tools.storage.block_cache import BlockCache
from pile_tools.storage.store import Io
from pile_tools.stream import components
from tests.hub_server import Hub, running_hub, use_as_hub
from tests.reference import orders
from tests.token_data import GOLDEN, random_documents, write_dataset
from tests.viewer.test_view import SIZES, add_provenance

MEGATRON = json.loads((GOLDEN / "megatron_core" / "expect.json").read_text())["orders"]


def everything(viewer: BatchViewer) -> list[Any]:
    """All that a viewer says of its first and its last step."""
    steps = [viewer.first_step, viewer.steps - 1]
    traces = [viewer.trace(step, row).to_pylist() for step in steps for row in range(viewer.batch_size)]
    return [viewer.batch(step).tolist() for step in steps] + traces


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = write_dataset(tmp_path / "data", random_documents(0, SIZES), shard_bytes=44).parent
    add_provenance(directory, 24)
    make_order(directory, seq_length=8, batch_size=4, steps=10)
    return directory


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as found:
        use_as_hub(monkeypatch, found)
        monkeypatch.setattr(retry, "sleep", lambda seconds: None)
        yield found


def publish(hub: Hub, directory: Path, repository: str = "owner/name") -> str:
    hub.repositories[repository] = {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }
    return f"hf://datasets/{repository}"


@pytest.mark.parametrize("case", MEGATRON, ids=lambda case: f"{case['seq_length']}-{case['num_samples']}")
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_sequences_are_those_of_megatron_core(
    case: dict[str, Any], recorded: bool, io: Io, tmp_path: Path
) -> None:
    data = shutil.copytree(GOLDEN / "megatron_core", tmp_path / "data")
    summary = make_order(
        data,
        recipe="megatron-core",
        seq_length=case["seq_length"],
        batch_size=1,
        num_samples=case["num_samples"],
        seed=case["seed"],
    )
    assert summary.samples_in_order == case["len"]
    viewer = BatchViewer.open(data, io=io)
    if not recorded:
        # As Megatron-Core saves them, in the place where it does.
        cache = data / "document" / "cache" / "GPTDataset_indices"
        cache.mkdir(parents=True)
        for entry in summary.record.files:
            array = entry.name.rpartition("_idx")[0].rpartition("_")[2].replace("doc", "document")
            (data / entry.name).rename(cache / f"0a-GPTDataset-train-{array}_index.npy")
        (data / "order.json").unlink()
        viewer = BatchViewer.open(data, batch_size=1, io=io)
        assert viewer.steps == case["len"]
    assert viewer.seq_length == case["seq_length"]
    rows = b"".join(viewer.batch(step).tobytes() for step in range(viewer.steps))
    size = 2 * (case["seq_length"] + 1)
    assert hashlib.sha256(rows[: case["sequences"] * size]).hexdigest() == case["sequences_sha256"]
    if not recorded:
        assert hashlib.sha256(rows).hexdigest() == case["all_sequences_sha256"]


def test_pread_says_the_same_as_mmap(data: Path) -> None:
    mapped, taken = BatchViewer.open(data), BatchViewer.open(data, io="pread")
    assert everything(mapped) == everything(taken)
    assert mapped.identity == taken.identity
    with pytest.raises(ParameterError, match="io 'read'"):
        BatchViewer.open(data, io="read")  # type: ignore[arg-type]


@pytest.mark.parametrize("file", ["*.bin", "document.idx", "*_shuffle_idx.npy", "*_doc_idx.npy"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_file_that_shrinks_is_an_error_with_pread(data: Path, file: str, elsewhere: bool) -> None:
    place = data
    if elsewhere:
        place = data.parent / "orders"
        place.mkdir()
        for path in [*data.glob("*.npy"), data / "order.json"]:
            shutil.move(path, place)
    viewer = BatchViewer.open(data, order=place if elsewhere else None, io="pread")
    viewer.batch(0)
    for path in [*data.glob(file), *place.glob(file)]:
        os.truncate(path, 5)
    with pytest.raises(DataError, match=r"ends before byte \d+, but had \d+ when it was opened"):
        everything(viewer)


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


def samples(n: int, length: int = 9) -> list[Any]:
    return random_documents(3, [length] * n)


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("shard_bytes", [None, 100])
def test_sequential_orders_read_sequence_after_sequence(
    tmp_path: Path, io: Io, shard_bytes: int | None
) -> None:
    documents = samples(24)
    directory = write_dataset(tmp_path / "data", documents, shard_bytes=shard_bytes).parent
    bare = BatchViewer.open(directory, order="sequential", batch_size=5, io=io)
    assert (bare.seq_length, bare.steps) == (8, 4)
    make_order(directory, recipe="sequential", seq_length=8, batch_size=4, steps=5)
    viewer = BatchViewer.open(directory, io=io)
    assert viewer.steps == 5
    assert not viewer.knows_documents
    for step in range(5):
        assert viewer.batch(step).tolist() == [document.tolist() for document in documents[4 * step :][:4]]
    assert viewer.rank_batch(1, rank=1, world_size=2).tolist() == viewer.batch(1)[2:].tolist()
    (piece,) = viewer.trace(2, 1).to_pylist()
    assert (piece["document"], piece["offset"], piece["n_tokens"]) == (None, None, 9)
    (view,) = viewer.pieces(2, 1)
    assert (view.document_tokens, view.last, view.is_begin, view.is_end) == (None, None, False, False)


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


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("recipe", ["neox", "megatron-core"])
def test_a_blend_draws_on_its_datasets_as_gpt_neox_does(tmp_path: Path, io: Io, recipe: str) -> None:
    parts = [
        write_dataset(tmp_path / "a", random_documents(0, SIZES)).parent,
        write_dataset(tmp_path / "b", random_documents(1, SIZES[::-1], "<i4"), prefix="text").parent,
    ]
    add_provenance(parts[0], 24)
    out = tmp_path / "blend"
    parameters: dict[str, Any] = {"seq_length": 8, "batch_size": 4, "steps": 10, "recipe": recipe}
    record = make_blend(parts, ["0.7", "0.3"], out, **parameters)
    assert make_blend(parts, ["0.7", "0.3"], out, **parameters) == record
    viewer = BatchViewer.open(out, io=io)
    assert (viewer.steps, viewer.dtype) == (10, np.int32)
    sizes = blend_sizes([0.7, 0.3], 40, recipe)
    streams = [
        BatchViewer.open(place, order=out / "orders" / part.order, batch_size=1)
        for place, part in zip(parts, record.parts, strict=True)
    ]
    assert [stream.steps for stream in streams] == sizes
    which, numbers = blend_indices([0.7, 0.3], 40, recipe)
    for step in range(10):
        batch = viewer.batch(step)
        for row in range(4):
            number = 4 * step + row
            expected = streams[which[number]].batch(int(numbers[number]))[0]
            np.testing.assert_array_equal(batch[row], expected)
            np.testing.assert_array_equal(viewer.sequence(step, row), expected)
            pieces = viewer.trace(step, row).to_pylist()
            assert {piece.pop("dataset") for piece in pieces} == {which[number]}
            assert pieces == streams[which[number]].trace(int(numbers[number]), 0).to_pylist()
            assert pieces[0]["shard"] == (None if which[number] else f"{pieces[0]['document'] // 6}.jsonl")
    assert viewer.identity == BatchViewer.open(out, batch_size=2).identity
    with pytest.raises(ParameterError, match="a blend of 2 datasets"):
        _ = viewer.dataset
    with pytest.raises(PileToolsError, match="another order"):
        make_blend(parts, ["0.6", "0.4"], out, **parameters)


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


def test_a_blend_finds_its_datasets_wherever_they_are(data: Path, hub: Hub, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", random_documents(1, SIZES)).parent
    parameters: dict[str, Any] = {"steps": 5, "batch_size": 2, "seq_length": 8}
    here = tmp_path / "blend"
    record = make_blend([data, other], ["1/3", "2/3"], here, **parameters)
    assert [part.weight for part in record.parts] == ["1/3", "2/3"]
    verify([here])
    batches = [BatchViewer.open(here).batch(step).tolist() for step in range(5)]
    with pytest.raises(ParameterError, match="a blend, whose order is blend_10ns_8sl_1234s, and not 'x'"):
        BatchViewer.open(here, order="x")
    # All in one repository, relative to each other: of one commit.
    there = publish(hub, tmp_path, "owner/all")
    remote = BatchViewer.open(f"{there}/blend")
    assert [remote.batch(step).tolist() for step in range(5)] == batches
    # Where a server lists no files, its orders are found by their labels, and not only the first.
    whole = write_dataset(tmp_path / "whole", random_documents(0, SIZES)).parent
    make_blend([whole, other], ["1/3", "2/3"], tmp_path / "unlisted", **parameters)
    publish(hub, tmp_path, "owner/all")
    plain = BatchViewer.open(f"{hub.url}/datasets/owner/all/resolve/main/unlisted")
    assert [plain.batch(step).tolist() for step in range(5)] == batches
    second = f"{hub.url}/datasets/owner/all/resolve/main/unlisted/orders/{record.parts[1].order}"
    lone = BatchViewer.open(other, order=second)
    assert (lone.batch_size, lone.record is not None) == (2, True)
    # A dataset behind a URL, its blend here.
    mixed = make_blend([f"{there}/data", other], ["1/3", "2/3"], tmp_path / "mixed", **parameters)
    assert mixed.parts[0].data == f"{there}/data/document"
    viewer = BatchViewer.open(tmp_path / "mixed")
    assert [viewer.batch(step).tolist() for step in range(5)] == batches
    verify([tmp_path / "mixed"])


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


def test_damaged_maps_are_met_by_both_ways_of_reading(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "WHOLE_CHECK", 0)
    generator = np.random.RandomState(0)
    for array in ("doc_idx", "sample_idx", "shuffle_idx"):
        (path,) = data.glob(f"*_{array}.npy")
        whole = np.load(path)
        for _ in range(25):
            wrong = whole.copy()
            flat = wrong.reshape(-1)
            flat[generator.randint(len(flat))] = generator.choice([0, 1, 23, 24, 70, 2**31 - 1])
            np.save(path, wrong)
            outcomes = []
            for io in ("mmap", "pread"):
                viewer = BatchViewer.open(data, io=io)
                found: list[Any] = []
                for step in range(10):
                    try:
                        found.append(viewer.batch(step).tolist())
                    except DataError:
                        found.append("error")
                outcomes.append(found)
            assert outcomes[0] == outcomes[1]
        np.save(path, whole)


def _digests(viewer: BatchViewer, steps: list[int]) -> list[str]:
    return [viewer.step_digest(step) for step in steps]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.slow
def test_processes_share_a_viewer(data: Path, method: str) -> None:
    viewer = BatchViewer.open(data)
    expected = _digests(viewer, list(range(10)))
    with multiprocessing.get_context(method).Pool(2) as pool:
        parts = pool.starmap(_digests, [(viewer, [0, 1, 2, 3, 4]), (viewer, [5, 6, 7, 8, 9])])
    assert parts[0] + parts[1] == expected


def test_another_process_finds_the_same_or_an_error(data: Path) -> None:
    sent = pickle.dumps(BatchViewer.open(data, batch_size=2, io="pread"))
    assert pickle.loads(sent).batch_size == 2
    shutil.rmtree(data)
    write_dataset(data, random_documents(5, SIZES))
    make_order(data, seq_length=8, batch_size=4, steps=10)
    with pytest.raises(DataError, match="changed since another process opened it"):
        pickle.loads(sent)


def test_threads_share_a_viewer(data: Path) -> None:
    for io in ("mmap", "pread"):
        viewer = BatchViewer.open(data, io=io)
        expected = everything(BatchViewer.open(data))
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(everything, [viewer] * 6)) == [expected] * 6


def test_a_read_only_directory_can_be_read(data: Path) -> None:
    paths = [data, *data.iterdir()]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        viewer = BatchViewer.open(data)
        assert everything(viewer)
        with pytest.raises(OutOfRangeError):
            viewer.batch(10)
    finally:
        for path in paths:
            path.chmod(0o755)
