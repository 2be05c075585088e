"""A checkpoint carries the manifests behind its data, and a fork those behind its checkpoint."""

import shutil
from pathlib import Path

from pile_tools import BatchViewer
from pile_tools.checks.training import verify_checkpoint
from pile_tools.lookups.lineage import lineage
from pile_tools.stages.order.order import make_order
from pile_tools.storage.manifest import Manifest
from pile_tools.train import train
from tests.train.small import BATCH_SIZE, SEQ_LENGTH, make_stream, write_config


def stages(directory: Path) -> list[tuple[str | None, int]]:
    return [(link.manifest and link.manifest.stage, link.depth) for link in lineage(directory)]


def test_lineage_of_a_run_and_its_fork(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_stream(data)
    for path in [*data.glob("*_train_0_*"), data / "order.json"]:
        path.unlink()
    dedup = Manifest("dedup", {}, [], [])
    (data / "parents" / dedup.identity).mkdir(parents=True)
    dedup.write(data / "parents" / dedup.identity)
    tokens = Manifest("tokenize", {}, [], [], parents=[dedup.identity])
    tokens.write(data)
    make_order(data, seq_length=SEQ_LENGTH, batch_size=BATCH_SIZE, steps=3)
    viewer = BatchViewer.open(data)
    model = str(write_config(tmp_path / "model"))
    train(viewer, tmp_path / "run", model=model, learning_rate=0.01, stop_at=1, device="cpu")
    made_of = [("train", 0), ("tokenize", 1), ("dedup", 2)]
    assert stages(tmp_path / "run" / "step1") == made_of
    assert Manifest.read(tmp_path / "run" / "step1").parents == [tokens.identity]
    train(viewer, tmp_path / "run", resume=True, device="cpu")
    assert stages(tmp_path / "run") == stages(tmp_path / "run" / "step3") == made_of

    other = make_stream(tmp_path / "other", seed=1, steps=3)
    train(other, tmp_path / "fork", source=tmp_path / "run" / "step1", device="cpu")
    shutil.rmtree(tmp_path / "run")
    shutil.rmtree(data)
    assert stages(tmp_path / "fork" / "step3") == [("train", 0), ("train", 1), ("tokenize", 2), ("dedup", 3)]
    assert verify_checkpoint(tmp_path / "fork" / "step3", [other]).unproved[0].last_step == 1
