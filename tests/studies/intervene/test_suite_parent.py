"""Streams of suites as parents of overlays: the location that names them, and where it does not."""

import json
from pathlib import Path
from typing import Any

import pytest

from pile_tools import BatchViewer
from pile_tools.errors import ParameterError
from pile_tools.stages.order.order import make_order
from pile_tools.storage.block_cache import BlockCache
from pile_tools.stream.opening import OpenedStream, open_location
from pile_tools.studies.intervene import suite_parent
from pile_tools.studies.intervene.suite_parent import open_suite_parent
from tests.suites.test_suite import MINE
from tests.token_data import random_documents, write_dataset

UNKNOWN = dict.fromkeys(("shards", "shard_bytes", "last_shard_bytes", "dtype", "sequences"))


def write_suite(home: Path, **changes: Any) -> str:
    """Write a dataset of 24 samples of five tokens and its suite; return the path of the suite."""
    write_dataset(home / "data", random_documents(3, [5] * 24))
    dataset = MINE["dataset"] | UNKNOWN
    (home / "suite.json").write_text(json.dumps(MINE | {"dataset": dataset} | changes))
    return str(home / "suite.json")


def test_a_location_with_its_prefix_names_the_stream(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    location, stream = open_suite_parent(suite, tmp_path / "overlay", None, "mmap", None)
    assert location == str(tmp_path / "data/document")
    assert stream.identity() == open_location(location, "sequential", "mmap", None).identity()
    assert stream.batch_size == BatchViewer.from_suite(suite).batch_size == 2


def test_maps_elsewhere_are_named_with_the_way_to_them(tmp_path: Path) -> None:
    write_suite(tmp_path)
    maps = tmp_path / "maps/seed7"
    make_order(tmp_path / "data", seq_length=4, batch_size=2, num_samples=24, seed=7, output=maps)
    order = {
        "recipe": "neox",
        "location": str(tmp_path / "maps"),
        "name": "train_0",
        "num_samples": 24,
        "seeds": {"7": 7},
    }
    suite = write_suite(tmp_path, order=order)
    location, stream = open_suite_parent(suite, tmp_path / "overlay", None, "mmap", None)
    assert stream.identity() == open_location(location, maps, "mmap", None).identity()


def test_a_location_that_is_another_stream_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_dataset(tmp_path / "other", random_documents(4, [5] * 24))

    def open_other(location: str, order: str | None, io: Any, cache: BlockCache | None) -> OpenedStream:
        return open_location(other, order, io, cache)

    monkeypatch.setattr(suite_parent, "open_location", open_other)
    suite = write_suite(tmp_path)
    with pytest.raises(ParameterError, match=r"suite mine: .*/data/document alone does not name its stream"):
        open_suite_parent(suite, tmp_path / "overlay", None, "mmap", None)
    assert not (tmp_path / "overlay").exists()
