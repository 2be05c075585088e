"""Orders of overlays: the arrays of the order that an overlay changes, under other names and lengths."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import ParameterError
from pile_tools.stages.order.order import make_order
from pile_tools.stages.overlay_order import OverlayOrder, make_overlay_order
from pile_tools.studies.intervene.intervene import Intervention, intervene
from tests.lookups.conftest import save_small_tokenizer
from tests.token_data import write_dataset


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """An overlay, from step 2 on, of an order of 12 steps of 2 samples of 6 tokens."""
    documents = [np.array([number % 12] * (number % 7 + 1), "<u2") for number in range(30)]
    directory = write_dataset(tmp_path / "data", documents).parent
    save_small_tokenizer(directory / "tokenizer.json")
    make_order(directory, seq_length=5, batch_size=2, steps=12)
    (tmp_path / "table.tsv").write_text("a\tb\n")
    intervene(directory, tmp_path / "overlay", Intervention(swap=str(tmp_path / "table.tsv")), from_step=2)
    return tmp_path / "overlay"


@pytest.mark.parametrize(
    ("changes", "shape"), [({}, (12, 2)), ({"batch_size": 3}, (8, 3)), ({"steps": 5}, (5, 2))]
)
def test_the_same_samples_at_another_shape(
    changes: dict[str, Any], shape: tuple[int, int], overlay: Path, tmp_path: Path
) -> None:
    samples = np.concatenate(list(BatchViewer.open(overlay).batches(0, 12)))
    made = make_overlay_order(overlay, output=tmp_path / "order", **changes)
    assert (made.record.steps, made.record.batch_size) == shape
    viewer = BatchViewer.open(overlay, order=tmp_path / "order")
    rows = np.concatenate(list(viewer.batches(0, viewer.steps)))
    assert np.array_equal(rows, samples[: len(rows)])
    assert len(rows) == shape[0] * shape[1]


def test_what_the_overlay_does_not_have(overlay: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="sequences of 5 tokens, not of 6"):
        make_overlay_order(overlay, seq_length=6)
    with pytest.raises(ParameterError, match="give other --steps"):
        make_overlay_order(overlay, steps=10**6)
    with pytest.raises(ParameterError, match="no overlay"):
        make_overlay_order(tmp_path / "data")


def test_the_order_that_an_overlay_changes(overlay: Path, tmp_path: Path) -> None:
    assert OverlayOrder.find(tmp_path / "data") is None
    found = OverlayOrder.find(overlay)
    assert found is not None
    record = BatchViewer.open(tmp_path / "data").order.record
    assert record is not None
    assert found.order.label == record.label
    assert (found.seq_length, found.n_samples) == (5, found.n_samples)
    assert found.is_made_by("neox", 1234, 5, 24)
    for other in (("neox", 1, 5, 24), ("neox", 1234, 5, 10**4), ("megatron-core", 1234, 5, 24)):
        assert not found.is_made_by(*other)
