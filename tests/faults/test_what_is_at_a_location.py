"""What is at a location is asked once, and what a suite claims is bounded before it is listed."""

import json
from pathlib import Path
from typing import Any

import pytest

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.stages.order.order import make_order
from pile_tools.stream import opening
from pile_tools.suites import Suite
from pile_tools.viewer import BatchViewer, common_batch_size, open_named
from tests.formats.test_mutations import SUITE
from tests.token_data import random_documents, write_dataset


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    directory = write_dataset(tmp_path / "tokens", random_documents(0, [9, 30, 4, 60, 17])).parent
    make_order(directory, seq_length=8, batch_size=4, steps=3)
    return directory


def test_a_dataset_is_opened_once_to_be_viewed(tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    original = opening.open_store
    monkeypatch.setattr(opening, "open_store", lambda *a, **k: opened.append(a) or original(*a, **k))
    BatchViewer.open(tokens)
    assert opened == [(str(tokens),)]


def test_a_damaged_record_is_not_taken_for_an_absent_stream(tokens: Path) -> None:
    (tokens / "order.json").write_bytes(b"[" * 1000)
    with pytest.raises(DataError, match=r"tokens/order\.json: not an order"):
        open_named(str(tokens), None)
    with pytest.raises(PileToolsError, match="no token dataset; if it is an order of one"):
        open_named(str(tokens / "nothing"), None)
    assert common_batch_size([str(tokens / "nothing")]) is None


def test_what_has_no_documents_of_its_own(tokens: Path) -> None:
    stream = opening.find_stream(tokens)
    assert (stream.prefix, stream.overlay, stream.blend) == ("document", None, None)
    with pytest.raises(ParameterError, match="a blend of several datasets"):
        opening.FoundStream(stream.store).open_dataset()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": {**SUITE["dataset"], "shards": 10**12}}, r"dataset\.shards is 1000000000000"),
        ({"steps": 10**15, "checkpoints": {"first": [0], "every": 1}}, "at least"),
    ],
)
def test_a_suite_of_more_than_can_be_listed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"mine\.json: not a suite .*{message}"):
        Suite.parse(json.dumps(SUITE | change).encode(), "mine.json")
