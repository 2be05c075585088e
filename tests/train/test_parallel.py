"""Which rows each process reads. What several processes do together is in test_distributed.py."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.errors import ParameterError
from pile_tools.train.parallel import join, micro_batches
from tests.token_data import GOLDEN


@pytest.mark.parametrize("case", json.loads((GOLDEN / "neox" / "ranks.json").read_text()))
def test_ranks_read_what_those_of_gpt_neox_read(case: dict[str, int | list[list[list[int]]]]) -> None:
    size, batch, expected = case["world_size"], case["global_batch"], case["first_three_batches_by_rank"]
    assert isinstance(size, int)
    assert isinstance(batch, int)
    assert isinstance(expected, list)
    for rank in range(size):
        parts = micro_batches(batch, batch // size, rank, size)
        found = [
            [step * batch + row for part in parts for row in range(part.start, part.stop)]
            for step in range(3)
        ]
        assert found == expected[rank]


def test_micro_batches_are_dealt_in_turn() -> None:
    """Samples k·B + g·m·D + r·m + [0, m): here B = 12, m = 2, D = 3."""
    for rank in range(3):
        expected = [slice(g * 6 + rank * 2, g * 6 + rank * 2 + 2) for g in range(2)]
        assert micro_batches(12, 2, rank, 3) == expected


@given(st.integers(1, 70), st.integers(1, 80), st.integers(1, 9))
def test_every_row_is_read_once(batch: int, micro: int, size: int) -> None:
    parts = [part for rank in range(size) for part in micro_batches(batch, micro, rank, size)]
    rows = [row for part in parts for row in range(part.start, part.stop)]
    assert sorted(rows) == list(range(batch))
    assert all(part.stop - part.start <= micro for part in parts)


def test_sizes_and_devices_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match="micro_batch_size 0"):
        micro_batches(8, 0, 0, 1)
    with pytest.raises(ParameterError, match="'tpu' is not here"), join("tpu"):
        pass
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ParameterError, match="'cuda' is not here"), join("cuda"):
        pass
    assert "WORLD_SIZE" not in os.environ
    with join("auto") as world:
        assert (world.rank, world.size, world.device.type) == (0, 1, "cpu")
