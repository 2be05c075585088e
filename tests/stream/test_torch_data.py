"""The stream in PyTorch's DataLoader: in order, with any workers, from any step."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pile_tools.errors import OutOfRangeError, ParameterError
from pile_tools.train import IterableStream
from tests.lookups.conftest import MakeStream
from tests.token_data import GOLDEN

DOCUMENTS = [[number % 11] * (number % 7 + 1) for number in range(60)]


@pytest.mark.parametrize("iterable", [False, True])
@pytest.mark.parametrize(("rank", "world_size", "size"), [(0, 1, None), (1, 2, 2), (2, 3, 1), (0, 1, 4)])
def test_micro_batches_are_those_of_the_rank(
    iterable: bool, rank: int, world_size: int, size: int | None, make_stream: MakeStream
) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=60, batch_size=12)
    dataset = viewer.torch_dataset(rank=rank, world_size=world_size, micro_batch_size=size)
    assert len(dataset) == 5 * dataset.micro_batches
    loader: Any = DataLoader(IterableStream(dataset) if iterable else dataset, batch_size=None)  # type: ignore[arg-type]
    found = list(loader)
    assert len(found) == len(dataset)
    assert all(tokens.dtype == torch.int64 for tokens in found)
    assert all(tokens.shape == (size or 12 // world_size, 6) for tokens in found)
    expected = [
        viewer.rank_batch(step, rank=rank, world_size=world_size, micro_batch_size=size) for step in range(5)
    ]
    np.testing.assert_array_equal(torch.cat(found).numpy(), np.concatenate(expected))
    np.testing.assert_array_equal(np.concatenate(list(dataset)), np.concatenate(expected))


@pytest.mark.parametrize("iterable", [False, True])
@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])
@pytest.mark.slow
def test_workers_keep_the_order(method: str, workers: int, iterable: bool, make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=60, batch_size=4, form="blend")
    dataset = viewer.torch_dataset(micro_batch_size=2, start_step=3)
    loader: Any = DataLoader(
        IterableStream(dataset) if iterable else dataset,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=method,
    )
    found = torch.cat(list(loader)).numpy()
    np.testing.assert_array_equal(found, np.concatenate(list(viewer.batches(3, viewer.steps))))


def test_resuming_goes_on_where_it_was(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=60, batch_size=4)
    whole = list(viewer.torch_dataset(micro_batch_size=2))
    for step in (0, 1, 7, 14):
        rest = list(viewer.torch_dataset(micro_batch_size=2, start_step=step))
        np.testing.assert_array_equal(np.array(rest), np.array(whole[2 * step :]).reshape(-1, 2, 6))
    some = viewer.torch_dataset(micro_batch_size=2, start_step=3, stop_step=5)
    np.testing.assert_array_equal(np.array(list(some)), np.array(whole[6:10]))
    assert len(viewer.torch_dataset(start_step=15)) == 0


@pytest.mark.parametrize("case", json.loads((GOLDEN / "neox" / "ranks.json").read_text()))
def test_ranks_of_gpt_neox(case: dict[str, Any], make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS * 3, num_samples=100, batch_size=case["global_batch"])
    single = [row for step in range(viewer.steps) for row in viewer.batch(step)]
    for rank, batches in enumerate(case["first_three_batches_by_rank"]):
        dataset = viewer.torch_dataset(rank=rank, world_size=case["world_size"])
        for step, samples in enumerate(batches[: viewer.steps]):
            np.testing.assert_array_equal(dataset[step], np.array([single[sample] for sample in samples]))


def test_what_is_not_there(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=60, batch_size=4)
    for start, stop in ((-1, None), (16, None), (3, 2), (0, 16)):
        with pytest.raises(OutOfRangeError, match="no steps"):
            viewer.torch_dataset(start_step=start, stop_step=stop)
    with pytest.raises(ParameterError, match="rank 1 is not one of 1 ranks"):
        viewer.torch_dataset(rank=1)
    with pytest.raises(ParameterError, match="does not divide"):
        viewer.torch_dataset(micro_batch_size=3)
    dataset = viewer.torch_dataset()
    for item in (15, -16, 10**9):
        with pytest.raises(OutOfRangeError, match=f"no micro-batch {item} of 15"):
            dataset[item]
    np.testing.assert_array_equal(dataset[-1], viewer.batch(14))
    with pytest.raises(OutOfRangeError, match="no row 4 in a batch of 4"):
        viewer.stream.take_rows(0, np.array([4]))
