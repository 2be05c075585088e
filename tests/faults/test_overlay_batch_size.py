"""Overlays that were named at another batch size than their parent's order records."""

import json
from pathlib import Path

import pytest
from pile_tools_cli.main import run

from pile_tools import BatchViewer
from pile_tools.formats.digests_npy import step_digest
from pile_tools.formats.overlay_json import OVERLAY_NAME
from pile_tools.stages.order.order import make_order
from pile_tools.studies.intervene.intervene import Intervention, intervene
from pile_tools.train import check_fork_batch_size
from pile_tools.train.record import DataRecord, Segment, Stream
from tests.token_data import random_documents, write_dataset

BATCH, NAMED_AT, FROM = 6, 2, 7


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """An overlay that leaves out what step 7 at batch size 2 begins with, of an order of batches of 6."""
    write_dataset(tmp_path / "data", random_documents(3, [11, 5, 17, 8, 23, 9, 14, 30, 6, 12] * 4))
    make_order(tmp_path / "data", seq_length=8, batch_size=BATCH, steps=8)
    document = (
        BatchViewer.open(tmp_path / "data", batch_size=NAMED_AT).trace(FROM, 0).to_pylist()[0]["document"]
    )
    change = Intervention(drop=[str(document)])
    intervene(tmp_path / "data", tmp_path / "overlay", change, from_step=FROM, batch_size=NAMED_AT)
    return tmp_path / "overlay"


def differing(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[int]:
    assert run(["diff", *arguments, "--json"]) == 0
    steps: list[int] = json.loads(capsys.readouterr().out)["differing_steps"]
    return steps


def test_it_is_read_and_compared_at_its_own(overlay: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parent = overlay.parent / "data"
    viewer, old = BatchViewer.open(overlay), BatchViewer.open(parent, batch_size=NAMED_AT)
    assert viewer.batch_size == NAMED_AT
    steps = [step for step in range(old.steps) if viewer.step_digest(step) != old.step_digest(step)]
    assert min(steps) == FROM
    assert differing(capsys, str(parent), str(overlay)) == steps
    assert differing(capsys, str(overlay), str(parent)) == steps
    wide, whole = BatchViewer.open(overlay, batch_size=BATCH), BatchViewer.open(parent)
    assert differing(capsys, str(parent), str(overlay), "--batch-size", str(BATCH)) == [
        step for step in range(wide.steps) if wide.step_digest(step) != whole.step_digest(step)
    ]


def test_also_of_maps_that_record_none(overlay: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (overlay.parent / "data" / "order.json").unlink()
    assert BatchViewer.open(overlay).batch_size == NAMED_AT
    assert min(differing(capsys, str(overlay.parent / "data"), str(overlay))) == FROM


def test_a_fork_takes_it_from_the_overlay(overlay: Path, tmp_path: Path) -> None:
    """The run has read the parent in steps of the overlay's size, so nothing needs to be said."""
    parent = BatchViewer.open(tmp_path / "data", batch_size=NAMED_AT)
    (tmp_path / "step3").mkdir()
    digests = b"".join(step_digest(parent.batch(step)) for step in range(3))
    record = DataRecord((Segment(Stream.of(parent), 0, 3),), digests)
    for name, content in record.to_files().items():
        (tmp_path / "step3" / name).write_bytes(content)
    check_fork_batch_size(tmp_path / "step3", BatchViewer.open(overlay))


def test_an_overlay_without_the_field_is_read_at_that_of_its_parent(overlay: Path) -> None:
    path = overlay / OVERLAY_NAME
    lines = [line for line in path.read_text().splitlines() if '"batch_size"' not in line]
    path.write_text("\n".join(lines) + "\n")
    assert BatchViewer.open(overlay).batch_size == BATCH
