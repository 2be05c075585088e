"""A blend as a stream: each sample from the dataset and the place that GPT-NeoX draws."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.algorithms.orders.blend import blend_indices, blend_sizes
from pile_tools.checks.checks import verify
from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.stages.order.blend import make_blend
from pile_tools.storage.store import Io
from tests.hub_server import Hub, publish
from tests.token_data import SIZES, add_provenance, random_documents, write_dataset


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
    assert (lone.batch_size, lone.stream.record is not None) == (2, True)
    # A dataset behind a URL, its blend here.
    mixed = make_blend([f"{there}/data", other], ["1/3", "2/3"], tmp_path / "mixed", **parameters)
    assert mixed.parts[0].data == f"{there}/data/document"
    viewer = BatchViewer.open(tmp_path / "mixed")
    assert [viewer.batch(step).tolist() for step in range(5)] == batches
    verify([tmp_path / "mixed"])
