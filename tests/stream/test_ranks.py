"""Rows of a batch by rank, as GPT-NeoX deals them out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import ParameterError
from tests.token_data import (
    GOLDEN,
)


@pytest.mark.parametrize("case", json.loads((GOLDEN / "neox" / "ranks.json").read_text()))
def test_ranks_read_what_gpt_neox_gives_them(case: dict[str, Any], data: Path) -> None:
    viewer = BatchViewer.open(data, batch_size=case["global_batch"])
    whole = BatchViewer.open(data, batch_size=1)
    for rank, batches in enumerate(case["first_three_batches_by_rank"]):
        for step, samples in enumerate(batches):
            if step < viewer.steps:
                rows = viewer.rank_batch(step, rank=rank, world_size=case["world_size"])
                assert rows.tolist() == [whole.batch(sample)[0].tolist() for sample in samples]


def test_micro_batches_interleave_the_ranks(data: Path) -> None:
    viewer = BatchViewer.open(data, batch_size=12)
    batch = viewer.batch(1)
    rows = viewer.rank_batch(1, rank=1, world_size=3, micro_batch_size=2)
    np.testing.assert_array_equal(rows, batch[[2, 3, 8, 9]])
    for parameters in (
        {"rank": 3, "world_size": 3},
        {"rank": -1, "world_size": 3},
        {"rank": 0, "world_size": 0},
        {"rank": 0, "world_size": 5},
        {"rank": 0, "world_size": 3, "micro_batch_size": 3},
        {"rank": 0, "world_size": 3, "micro_batch_size": 0},
        {"rank": 0, "world_size": 24},
    ):
        with pytest.raises(ParameterError, match="rank"):
            viewer.rank_batch(1, **parameters)
