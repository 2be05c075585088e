"""Fixtures of the tests of streams."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pile_tools import BatchViewer
from pile_tools.stages.order.order import make_order
from pile_tools.storage import retry
from tests.hub_server import Hub, running_hub, use_as_hub
from tests.token_data import SIZES, add_provenance, random_documents, write_dataset


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
