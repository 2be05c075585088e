"""The model card of a run says what its checkpoints say of themselves."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pile_tools_cli.main import run

from pile_tools import BatchViewer
from pile_tools.checks.training import verify_run
from pile_tools.errors import DataError, PileToolsError
from pile_tools.stages.card.croissant import Description
from pile_tools.storage.manifest import Manifest
from pile_tools.train import train
from pile_tools.train.card import is_training, write_model_card
from pile_tools.train.record import DataRecord
from tests.train.small import make_stream, write_config

PLAIN = Description("small", "Small.")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 4 steps, a fork of it on another stream, and a run that is not finished."""
    directory = tmp_path_factory.mktemp("card")
    model = str(write_config(directory / "model"))
    settings: dict[str, Any] = {"micro_batch_size": 6, "device": "cpu"}
    begin = settings | {"model": model, "steps": 4, "learning_rate": 0.01}
    viewer = make_stream(directory / "data")
    train(viewer, directory / "run", **begin)
    train(viewer, directory / "stopped", stop_at=2, **begin)
    other = make_stream(directory / "other", seed=1)
    train(other, directory / "fork", source=directory / "run/step2", **settings)
    return directory


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "home"))


def parts(directory: Path) -> tuple[dict[str, Any], str]:
    empty, header, body = (directory / "README.md").read_text().split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(header), body


def test_a_run_with_its_checkpoints(home: Path) -> None:
    viewer = BatchViewer.open(home / "data")
    given = Description("A | model", "Words.", license="Apache-2.0", languages=("en",), citation="@misc{a}")
    assert write_model_card(home / "run", given) == home / "run/README.md"
    header, body = parts(home / "run")
    assert header == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": "apache-2.0",
        "language": ["en"],
        "tags": ["pile-tools", "train", "gpt_neox"],
    }
    assert "# A | model\n\nWords.\n\n4 of 4 steps, 24 samples, 480 tokens.\n" in body
    assert f"| 0:4 | `{viewer.identity}` | {viewer.order.label} | 6 × 20 |" in body
    for step in (0, 1, 2, 4):
        digest = DataRecord.read(home / f"run/step{step}").digest
        assert f"| `step{step}` | {step} | {step * 120} | `{digest}` |" in body
    assert "| model: width | 32 |" in body
    assert "| learning_rate | 0.01 |" in body
    for entry in Manifest.read(home / "run").outputs:
        assert f"| `{entry.name}` | {entry.bytes:,} | `{entry.sha256}` |" in body
    assert body.endswith("## Citation\n\n```\n@misc{a}\n```\n")
    assert not (home / "run/croissant.json").exists()
    assert verify_run(home / "run", [viewer]).checkpoints


def test_a_checkpoint_of_a_fork(home: Path) -> None:
    write_model_card(home / "fork/step4", PLAIN)
    _, body = parts(home / "fork/step4")
    one, two = (BatchViewer.open(home / name).identity for name in ("data", "other"))
    assert f"| 0:2 | `{one}` |" in body
    assert f"| 2:4 | `{two}` |" in body
    assert f"`{Manifest.read(home / 'run/step2').identity}`" in body
    assert f"| `.` | 4 | 480 | `{DataRecord.read(home / 'fork/step4').digest}` |" in body
    assert f"| `model.safetensors` | {(home / 'fork/step4/model.safetensors').stat().st_size:,} |" in body


def test_a_checkpoint_that_the_run_does_not_list(home: Path) -> None:
    shutil.rmtree(home / "run/step4")
    shutil.copytree(home / "fork/step4", home / "run/step4")
    with pytest.raises(DataError, match=r"step4/manifest\.json: not the checkpoint"):
        write_model_card(home / "run", PLAIN)
    assert not (home / "run/README.md").exists()


def test_a_readme_of_the_users_own_stays(home: Path) -> None:
    (home / "run/README.md").write_text("# Mine\n")
    with pytest.raises(PileToolsError, match="not written by `pile-tools card`"):
        write_model_card(home / "run", PLAIN)
    write_model_card(home / "run", PLAIN, replace=True)
    first = (home / "run/README.md").read_bytes()
    assert b"# Mine" not in first
    write_model_card(home / "run", PLAIN)
    assert (home / "run/README.md").read_bytes() == first


def test_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["card", str(home / "run"), "--json"]) == 0
    written = {"written": [str(home / "run/README.md")], "missing": []}
    assert json.loads(capsys.readouterr().out) == written
    assert "# run\n\nMade by pile-tools; each checkpoint proves" in (home / "run/README.md").read_text()
    assert run(["card", str(home / "stopped")]) == 4
    assert "unfinished" in capsys.readouterr().err
    assert not is_training(home / "data")


def test_it_needs_no_torch(home: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pile_tools_cli.main import run\n"
        "sys.exit(run(['card', sys.argv[1]]))"
    )
    subprocess.run([sys.executable, "-c", code, str(home / "run")], check=True, capture_output=True)
