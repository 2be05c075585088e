"""Streams of suites: the published layout in small, bytes counted, and what a suite must agree with."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.stages.order.order import make_order
from pile_tools.storage import retry
from pile_tools.storage.manifest import canonical_json
from pile_tools.stream.suite_stream import open_suite, open_suite_dataset
from pile_tools.suites import Suite, load_suite
from tests.hub_server import Hub, publish, running_hub, use_as_hub
from tests.stream.conftest import everything
from tests.suites.test_suite import MINE
from tests.token_data import SIZES, random_documents, write_dataset

# As published: every sequence of 2049 tokens, a batch of 32, shards that a batch straddles.
SEQUENCES, BATCH, ROW_BYTES = 32 * 12, 32, 2049 * 2
SHARD_BYTES = ROW_BYTES * 40 + 2


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as found:
        use_as_hub(monkeypatch, found)
        monkeypatch.setattr(retry, "sleep", lambda seconds: None)
        yield found


def suite_file(directory: Path, location: str, **changes: Any) -> Path:
    total = SEQUENCES * ROW_BYTES
    shards = -(-total // SHARD_BYTES)
    dataset = {
        "location": location,
        "prefix": "document",
        "shards": shards,
        "shard_bytes": SHARD_BYTES,
        "last_shard_bytes": total - (shards - 1) * SHARD_BYTES,
        "dtype": "uint16",
        "sequences": SEQUENCES,
        "sequence_tokens": 2049,
    }
    suite = MINE | {"seq_length": 2048, "batch_size": BATCH, "steps": 12, "dataset": dataset}
    path = directory / "suite.json"
    path.write_text(json.dumps(suite | changes))
    return path


@pytest.fixture
def local(tmp_path: Path) -> Path:
    documents = random_documents(0, [2049] * SEQUENCES)
    return write_dataset(tmp_path / "data", documents, shard_bytes=SHARD_BYTES).parent


@pytest.mark.parametrize("store", [True, False])
def test_a_step_costs_what_it_weighs(local: Path, tmp_path: Path, hub: Hub, store: bool) -> None:
    suite = suite_file(tmp_path, publish(hub, local))
    hub.store = store
    here = BatchViewer.open(local, order="sequential", batch_size=BATCH)
    for step in (0, 1, 2, 11):
        hub.sent.clear()
        hub.requests.clear()
        viewer = BatchViewer.from_suite(suite)
        np.testing.assert_array_equal(viewer.batch(step), here.batch(step))
        assert sum(hub.sent.values()) <= BATCH * ROW_BYTES * 1.02
        assert hub.sent["document.idx"] == 34
        # Each of .idx and of one or two shards: one question and one range.
        assert sum(hub.requests.values()) in (4, 6)
    hub.sent.clear()
    np.testing.assert_array_equal(viewer.sequence(3, 7), here.sequence(3, 7))
    assert sum(hub.sent.values()) == ROW_BYTES
    assert viewer.steps == 12
    with pytest.raises(OutOfRangeError, match="no step 12"):
        viewer.batch(12)
    assert BatchViewer.from_suite(suite, batch_size=64).batch(1).shape == (64, 2049)


def test_a_suite_and_its_dataset_must_agree(local: Path, tmp_path: Path, hub: Hub) -> None:
    publish(hub, local)
    path = suite_file(tmp_path, "hf://datasets/owner/name")
    suite = load_suite(path)

    def changed(**changes: Any) -> Suite:
        return replace(suite, dataset=replace(suite.dataset, **changes))

    for wrong, message in [
        (changed(dtype="int32"), "tokens are uint16, but suite mine says int32"),
        (changed(sequences=3), "number of sequences is 384, but suite mine says 3"),
        (changed(last_shard_bytes=2), "bytes of tokens, but document.idx describes"),
        (replace(suite, steps=13), "384 samples of 2048 tokens, but suite mine reads 416"),
    ]:
        with pytest.raises(DataError, match=message):
            open_suite(wrong)
    with pytest.raises(ParameterError, match="suite mine has one order, and no 'x'"):
        open_suite(suite, "x")
    files = hub.repositories["owner/name"]
    files["document-00001-of-00009.bin"] = files["document-00001-of-00009.bin"][:-1]
    viewer = BatchViewer.from_suite(path)
    viewer.batch(0)
    with pytest.raises(DataError, match=f"{SHARD_BYTES - 1} bytes, but {SHARD_BYTES} were expected"):
        viewer.batch(2)
    del files["document-00001-of-00009.bin"]
    with pytest.raises(PileToolsError, match=r"document-00001-of-00009\.bin: no such file in the repository"):
        BatchViewer.from_suite(path).batch(2)


def unshuffled(tmp_path: Path, hub: Hub, seeds: dict[str, int]) -> tuple[Path, Path]:
    """A suite of documents and the maps of its seeds in folders of another repository."""
    data = write_dataset(
        tmp_path / "plain", random_documents(0, SIZES), prefix="pile", shard_bytes=100
    ).parent
    maps = tmp_path / "maps"
    for name, seed in seeds.items():
        make_order(data, seq_length=8, batch_size=4, num_samples=48, seed=seed, output=maps / f"seed{name}")
        (maps / f"seed{name}" / "order.json").unlink()
    order = {
        "recipe": "neox",
        "location": publish(hub, maps, "owner/maps"),
        "name": "train_0",
        "num_samples": 48,
        "seeds": seeds,
    }
    unknown = {"prefix": None, "shards": 6, "shard_bytes": 100, "last_shard_bytes": None}
    dataset = {
        "location": publish(hub, data),
        **unknown,
        "dtype": None,
        "sequences": None,
        "sequence_tokens": None,
    }
    suite = MINE | {"seq_length": 8, "batch_size": 4, "steps": 10, "dataset": dataset, "order": order}
    path = tmp_path / "unshuffled.json"
    path.write_text(json.dumps(suite))
    return path, data


def test_unshuffled_suites_read_published_maps(tmp_path: Path, hub: Hub) -> None:
    suite, data = unshuffled(tmp_path, hub, {"0": 1234, "1": 1})
    with pytest.raises(ParameterError, match="several orders; name one with --order: seed0, seed1"):
        BatchViewer.from_suite(suite)
    for name in ("seed0", "seed1"):
        viewer = BatchViewer.from_suite(suite, order=name)
        here = BatchViewer.open(data, order=tmp_path / "maps" / name, batch_size=4)
        assert viewer.steps == 10
        assert viewer.batch(9).tolist() == here.batch(9).tolist()
        assert viewer.trace(3, 1).to_pylist() == here.trace(3, 1).to_pylist()


def test_other_maps_in_the_folder_of_a_seed(tmp_path: Path, hub: Hub) -> None:
    suite, data = unshuffled(tmp_path, hub, {"0": 1234, "1": 1})
    maps = tmp_path / "maps"
    for changes in (
        {"name": "valid_0"},
        {"name": "test_0", "num_samples": 16},
        {"num_samples": 60},
        {"seq_length": 4},
        {"seed": 7},
    ):
        values = {"seq_length": 8, "batch_size": 4, "num_samples": 48, "seed": 1} | changes
        make_order(data, output=maps / "seed1", **values)
    # The same maps once more in another folder: the folder of the seed's name is the one that is meant.
    make_order(data, seq_length=8, batch_size=4, num_samples=48, seed=1, output=maps / "copy")
    for record in maps.glob("*/*order.json"):
        record.unlink()
    publish(hub, maps, "owner/maps")
    viewer = BatchViewer.from_suite(suite, order="seed1")
    assert viewer.order.label == "pile_train_0_indexmap_48ns_8sl_1s"
    assert viewer.order.store.name.endswith("/seed1")


def test_maps_whose_names_say_another_seed_are_refused_whatever_their_folder(
    tmp_path: Path, hub: Hub
) -> None:
    suite, _ = unshuffled(tmp_path, hub, {"0": 1234, "1": 1})
    files = hub.repositories["owner/maps"]
    hub.repositories["owner/maps"] = {
        path.replace("seed0/", "seed1/"): content for path, content in files.items() if "seed0" in path
    }
    with pytest.raises(
        PileToolsError, match=r"found: no index maps of it among hf://.*/seed1/pile_train_0_.*_1234s; make"
    ):
        BatchViewer.from_suite(suite, order="seed1")


def test_the_folder_decides_of_maps_whose_names_say_nothing(tmp_path: Path, hub: Hub) -> None:
    suite, data = unshuffled(tmp_path, hub, {"0": 1234, "1": 1})
    here = BatchViewer.open(data, order=tmp_path / "maps" / "seed1", batch_size=4)
    files = hub.repositories["owner/maps"]
    hub.repositories["owner/maps"] = {
        path.replace("pile_train_0_indexmap_48ns_8sl_1s", "pile"): content for path, content in files.items()
    }
    viewer = BatchViewer.from_suite(suite, order="seed1")
    assert viewer.order.label == "pile"
    assert viewer.batch(9).tolist() == here.batch(9).tolist()


def test_a_suite_that_does_not_tell_num_samples_finds_what_order_made(tmp_path: Path, hub: Hub) -> None:
    path, data = unshuffled(tmp_path, hub, {"0": 1234})
    value = json.loads(path.read_bytes())
    value["order"]["num_samples"] = None
    made = tmp_path / "made"
    value["order"]["location"] = str(made)
    path.write_text(json.dumps(value))
    found = load_suite(path)
    make_order(open_suite_dataset(found), output=made, **found.order_parameters({"seed": 1234}))
    here = BatchViewer.open(data, order=tmp_path / "maps" / "seed0", batch_size=4)
    assert BatchViewer.from_suite(path).batch(9).tolist() == here.batch(9).tolist()
    # An order of another recipe under such names is none of the suite's.
    record = json.loads((made / "order.json").read_bytes()) | {"recipe": "megatron-core"}
    (made / "order.json").write_bytes(canonical_json(record))
    with pytest.raises(PileToolsError, match="found: no index maps of it among"):
        BatchViewer.from_suite(path)


def test_maps_that_are_not_published_can_be_made(tmp_path: Path, hub: Hub) -> None:
    suite, data = unshuffled(tmp_path, hub, {"0": 1234})
    hub.repositories["owner/maps"] = {"README.md": b""}
    with pytest.raises(
        PileToolsError, match="found: no index maps of it; make it with `pile-tools order --suite mine"
    ):
        BatchViewer.from_suite(suite)
    found = load_suite(suite)
    hub.sent.clear()
    made = make_order(
        open_suite_dataset(found), output=tmp_path / "made", **found.order_parameters({"seed": 1234})
    )
    assert not any(name.endswith(".bin") for name in hub.sent)
    assert (made.record.steps, made.record.num_samples) == (10, 48)
    viewer = BatchViewer.from_suite(suite, order=tmp_path / "made")
    (maps,) = (tmp_path / "maps").iterdir()
    here = BatchViewer.open(data, order=maps, batch_size=4)
    assert everything(viewer)[0] == here.batch(0).tolist()
    with pytest.raises(ParameterError, match="name the directory for the order with -o"):
        make_order(open_suite_dataset(found), **found.order_parameters({"seed": 1234}))
