"""Checkpoints prove what they have read, and only that."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.manifest import Manifest, file_entry
from pile_tools.stages.order import make_order
from pile_tools.train import is_checkpoint, is_run, train, verify_checkpoint, verify_run
from pile_tools.train.record import DataRecord
from tests.train.small import BATCH_SIZE, SEQ_LENGTH, make_stream, write_config


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Streams ``data`` and ``other``, a run on the first and a fork of it on the second."""
    directory = tmp_path_factory.mktemp("verify")
    write_config(directory / "model")
    settings: dict[str, Any] = {"micro_batch_size": 6, "device": "cpu", "schedule": "0,3,5"}
    viewer = make_stream(directory / "data")
    train(viewer, directory / "run", model=str(directory / "model"), steps=7, learning_rate=0.01, **settings)
    other = make_stream(directory / "other", seed=1)
    train(other, directory / "fork", source=directory / "run" / "step3", **settings)
    return directory


@pytest.fixture
def data(home: Path) -> BatchViewer:
    return BatchViewer.open(home / "data")


@pytest.fixture
def other(home: Path) -> BatchViewer:
    return BatchViewer.open(home / "other")


def test_a_checkpoint_is_proved(home: Path, data: BatchViewer) -> None:
    compared: list[int] = []
    report = verify_checkpoint(home / "run" / "step5", [data], advance=compared.append)
    assert (report.steps, report.samples, report.unproved, len(compared)) == (5, 30, (), 5)
    record = DataRecord.read(home / "run" / "step5")
    assert report.digest == record.digest
    assert record.digests == b"".join(bytes.fromhex(data.digest(step)) for step in range(5))


def test_without_a_stream_only_files_are_checked(home: Path) -> None:
    report = verify_checkpoint(home / "run" / "step5")
    assert report.unproved == report.lineage


def test_another_stream_is_not_what_was_read(home: Path, other: BatchViewer) -> None:
    with pytest.raises(DataError, match=r"step5: its steps 0:5 are not of this stream: step 0 of .*dataset"):
        verify_checkpoint(home / "run" / "step5", [other])


def test_the_first_step_that_differs_is_named(home: Path, data: BatchViewer, tmp_path: Path) -> None:
    """One token of the data is changed: the steps that do not show it are still the same."""
    copy = shutil.copytree(home / "data", tmp_path / "data")
    (copy / "order.json").unlink()  # it would refuse the changed data; bare maps do not
    tokens = np.fromfile(copy / "document.bin", "<u2")
    for position in (100, 400, 900):
        changed = tokens.copy()
        changed[position] += 1
        changed.tofile(copy / "document.bin")
        viewer = BatchViewer.open(copy, batch_size=BATCH_SIZE)
        differ = [
            step for step in range(data.steps) if not np.array_equal(data.batch(step), viewer.batch(step))
        ]
        for checkpoint in (3, 5, 7):
            directory = home / "run" / f"step{checkpoint}"
            if differ and differ[0] < checkpoint:
                message = f"step {differ[0]} of .* has other bytes than were read .dataset"
                with pytest.raises(DataError, match=message):
                    verify_checkpoint(directory, [viewer])
            else:  # the bytes decide
                assert verify_checkpoint(directory, [viewer]).unproved == ()


def test_a_stream_that_is_too_short(home: Path, tmp_path: Path) -> None:
    """The same order at another batch size, and one that ends sooner."""
    viewer = BatchViewer.open(home / "data", batch_size=BATCH_SIZE * 3)
    assert viewer.steps == 4
    with pytest.raises(DataError, match=r"step 0 of .* has other bytes than were read .batch_size 6, now 18"):
        verify_checkpoint(home / "run" / "step5", [viewer])
    shorter = shutil.copytree(home / "data", tmp_path / "data")
    for path in shorter.glob("*_train_0_*"):
        path.unlink()
    (shorter / "order.json").unlink()
    make_order(shorter, seq_length=SEQ_LENGTH, num_samples=72, batch_size=BATCH_SIZE, steps=4)
    with pytest.raises(DataError, match=r"has no step 4"):
        verify_checkpoint(home / "run" / "step5", [BatchViewer.open(shorter)])


def test_a_fork_is_proved_by_both_streams(home: Path, data: BatchViewer, other: BatchViewer) -> None:
    report = verify_checkpoint(home / "fork" / "step7", [other, data])
    assert report.unproved == ()
    report = verify_checkpoint(home / "fork" / "step7", [other])
    assert [(part.first_step, part.last_step) for part in report.unproved] == [(0, 3)]
    report = verify_checkpoint(home / "fork" / "step7", [data])
    assert [(part.first_step, part.last_step) for part in report.unproved] == [(3, 7)]


def test_the_first_checkpoint_of_a_fork_has_read_what_it_began_from(
    home: Path, data: BatchViewer, other: BatchViewer
) -> None:
    """It has read no step of its own stream, which therefore proves nothing of it."""
    assert verify_checkpoint(home / "fork" / "step3", [data]).unproved == ()
    for streams in ([other], [BatchViewer.open(home / "data", batch_size=BATCH_SIZE // 2)]):
        with pytest.raises(DataError, match=r"step3: its steps 0:3 are not of this stream: step 0 of"):
            verify_checkpoint(home / "fork" / "step3", streams)


def test_a_run_and_checkpoints_with_the_same_weights(home: Path, data: BatchViewer, tmp_path: Path) -> None:
    compared: list[int] = []
    report = verify_run(home / "run", [data], advance=compared.append)
    assert [checkpoint.steps for checkpoint in report.checkpoints] == [0, 3, 5, 7]
    assert all(not checkpoint.unproved for checkpoint in report.checkpoints)
    assert report.identical == ()
    assert report.finished
    assert len(compared) == 7  # every step is read once
    copy = shutil.copytree(home / "run", tmp_path / "run")
    shutil.copy(copy / "step3" / "model.safetensors", copy / "step5" / "model.safetensors")
    relist(copy / "step5")
    assert verify_run(copy).identical == (("step3", "step5"),)


def test_an_unfinished_run_is_checked_all_the_same(home: Path, data: BatchViewer, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"micro_batch_size": 6, "device": "cpu", "learning_rate": 0.01, "steps": 7}
    train(data, tmp_path / "run", model=str(home / "model"), stop_at=3, **settings)
    report = verify_run(tmp_path / "run", [data])
    assert ([one.steps for one in report.checkpoints], report.finished) == ([0, 1, 2, 3], False)
    (tmp_path / "run" / "step2" / "generator.safetensors").unlink()
    with pytest.raises(DataError, match=r"generator\.safetensors: damaged or missing"):
        verify_run(tmp_path / "run")


def relist(checkpoint: Path) -> None:
    """Write a manifest that fits the files, as whoever changed them would."""
    old = Manifest.read(checkpoint)
    outputs = [file_entry(checkpoint / entry.name) for entry in old.outputs]
    Manifest(old.stage, old.parameters, [], outputs, old.counts, old.parents, old.versions).write(checkpoint)


def test_checkpoints_that_disagree(home: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(home / "run", tmp_path / "run")
    record = DataRecord.read(copy / "step3")
    forged = DataRecord(record.lineage, b"x" * len(record.digests))
    for name, content in forged.to_files().items():
        (copy / "step3" / name).write_bytes(content)
    with pytest.raises(DataError, match=r"data\.json: damaged or missing"):
        verify_checkpoint(copy / "step3")
    relist(copy / "step3")
    with pytest.raises(DataError, match="step3: has read other bytes than step7"):
        verify_run(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "digests.npy", "generator.safetensors"])
def test_damaged_files(home: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(home / "run" / "step3", tmp_path / "step3")
    content = (copy / name).read_bytes()
    for damage in (content[:-1], content + b"\0", content[:-1] + bytes([content[-1] ^ 1])):
        (copy / name).write_bytes(damage)
        with pytest.raises(DataError, match=f"{name}: damaged or missing"):
            verify_checkpoint(copy)
    (copy / name).unlink()
    with pytest.raises(DataError, match=f"{name}: damaged or missing"):
        verify_checkpoint(copy)


def test_renamed_and_other_directories(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "run" / "step3", tmp_path / "step4")
    with pytest.raises(DataError, match="step4: has read 3 steps"):
        verify_checkpoint(tmp_path / "step4")
    with pytest.raises(PileToolsError, match="no checkpoint of `pile-tools train`"):
        verify_checkpoint(home / "model")
    with pytest.raises(PileToolsError, match="no checkpoint"):
        verify_run(home / "model")
    manifest = home / "run" / "step3" / "manifest.json"
    (tmp_path / "step3").mkdir()
    for path in manifest.parent.iterdir():
        shutil.copy(path, tmp_path / "step3")
    value = json.loads(manifest.read_text()) | {"stage": "tokenize"}
    (tmp_path / "step3" / "manifest.json").write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
    with pytest.raises(DataError, match="written by 'tokenize'"):
        verify_checkpoint(tmp_path / "step3")
    assert is_checkpoint(home / "run" / "step3")
    assert not is_checkpoint(home / "run")
    assert is_run(home / "run")
    assert not is_run(home / "data")


def test_verifying_needs_no_torch(home: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pile_tools import BatchViewer\n"
        "from pile_tools.train import verify_run\n"
        "verify_run(Path(sys.argv[1]) / 'run', [BatchViewer.open(Path(sys.argv[1]) / 'data')])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(home)], check=True)


def test_without_torch_training_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pile_tools_cli.main import run\n"
        "sys.exit(run(['train', '--data', 'nowhere', '--model', '14m', '-o', 'RUN']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "pile-tools: torch is not installed, and training needs it; install the extra `train`: pip install "
        "'.[train]' in a clone of pile-tools, elsewhere pip install 'pile-tools[train]'\n"
    )
